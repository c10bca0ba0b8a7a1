"""The operations of the local OSS: one function for each, from a request to a response."""
