"""Tenants: who shares this deployment without seeing one another."""
