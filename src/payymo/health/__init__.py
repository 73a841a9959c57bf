"""Whether this process can serve, and what to look at: found in one place for load balancers, Prometheus, people."""
