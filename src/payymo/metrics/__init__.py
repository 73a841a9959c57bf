"""What a node counts and measures, and where Prometheus reads it. The only package that knows of Prometheus."""
