"""Signing: a browser gets what it may upload as a form with a policy or as a URL, signed by V1 or V4."""
