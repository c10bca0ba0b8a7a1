"""Storage of buckets and objects: an index and their contents."""
