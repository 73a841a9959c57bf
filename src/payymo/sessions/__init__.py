"""Sessions: login, refresh, logout; and what must no longer be accepted."""
