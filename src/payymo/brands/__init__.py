"""Brands: what a tenant's pages and mails look like."""
