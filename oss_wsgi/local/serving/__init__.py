"""The HTTP server of the local OSS, on waitress."""
