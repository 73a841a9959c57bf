"""Who follows the revocation feed, and with what proof."""
