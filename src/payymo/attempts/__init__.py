"""Guessing: how often passwords are tried in vain, and who has to wait for it."""
