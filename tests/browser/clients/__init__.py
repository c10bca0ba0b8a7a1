"""Tests of popular upload libraries from npm in a real browser, with our signatures and the local OSS."""
