"""The local OSS's HTTP server, on waitress."""
