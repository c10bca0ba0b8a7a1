"""The commands of `oss-wsgi`, one module each, and what they share."""
