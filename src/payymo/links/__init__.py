"""One-time links: what a user is sent to prove that a mailbox is theirs."""
