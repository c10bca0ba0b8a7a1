"""WSGI middleware: each class wraps an application and can be used alone."""
