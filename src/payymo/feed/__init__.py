"""The revocation feed: what must no longer be accepted, in an order in which nobody misses anything."""
