"""What all WSGI applications here share: environ, responses, observers, diagnosis, and what a server asks."""
