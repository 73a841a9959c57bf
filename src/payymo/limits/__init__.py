"""Rate limits: how often an address may ask, and how often an account may be tried."""
