"""The audit log: every change of state and every security decision, in an order that can't be rewritten unnoticed."""
