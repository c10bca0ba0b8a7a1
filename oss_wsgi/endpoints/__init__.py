"""WSGI applications that answer requests; each serves its own root only."""
