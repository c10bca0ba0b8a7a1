"""The sub-commands of `oss-wsgi`, one file each, and what they share."""
