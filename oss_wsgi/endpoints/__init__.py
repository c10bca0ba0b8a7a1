"""WSGI applications that serve their own root only."""
