"""Upload libraries that people use, as npm has them, in a real browser against our signatures and the local OSS."""
