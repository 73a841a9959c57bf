"""Whether time tells anything: statistics, a way to gather samples, and a verdict. Knows nothing of the service."""
