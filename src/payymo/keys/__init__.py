"""The key ring: what signs tokens, and what the world verifies them with."""
