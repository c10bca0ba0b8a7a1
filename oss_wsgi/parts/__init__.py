"""Uploads in parts: begun and completed by this server, while the browser sends the parts to OSS itself."""
