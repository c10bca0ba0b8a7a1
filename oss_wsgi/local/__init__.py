"""A stand-in for OSS on this machine, for development and tests; needs the extra `oss-wsgi[local]`."""

from .application import LocalOSS
from .cors import CORSRule
from .server import LocalOSSServer

__all__ = ["CORSRule", "LocalOSS", "LocalOSSServer"]
