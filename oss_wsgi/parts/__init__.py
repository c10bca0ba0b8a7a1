"""Uploads in parts: this server begins and completes them, and the browser sends the parts to OSS."""
