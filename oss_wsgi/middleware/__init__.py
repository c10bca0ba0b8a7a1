"""WSGI middleware: each takes an application and can be used alone."""
