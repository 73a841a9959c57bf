"""Pages for people, made by the server. They use the services, and add no rules of their own."""
