"""Endpoints: WSGI applications, each of which answers requests for its own root only."""
