"""What travels between the services: one module a service, for its server and its clients."""
