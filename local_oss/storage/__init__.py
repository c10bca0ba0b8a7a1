"""Buckets in a folder: an index in SQLite, and the files with the content that it names."""
