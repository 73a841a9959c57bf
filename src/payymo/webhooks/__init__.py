"""Signed webhooks: events of a log, sent to whom they concern."""
