"""What a tenant's own programs prove themselves with: API keys, and the access tokens that they are exchanged for."""
