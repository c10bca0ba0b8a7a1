"""The operations on objects and buckets, and the routes to them."""
