"""Payymo: a self-hosted, multi-tenant authentication and token service."""

__version__ = "0.1.0"
