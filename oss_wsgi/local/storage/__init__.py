"""Storage of buckets and objects: an index in SQLite and the content that it names."""
