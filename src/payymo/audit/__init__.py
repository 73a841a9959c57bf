"""The audit log: what happened, in an order and a wording that nobody can change unnoticed."""
