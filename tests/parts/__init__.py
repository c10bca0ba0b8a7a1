"""Uploads in parts, against the local OSS."""
