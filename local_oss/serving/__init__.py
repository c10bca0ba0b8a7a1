"""The server of the local OSS, on waitress: HTTP, or HTTPS with a certificate of its own."""
