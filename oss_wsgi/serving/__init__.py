"""waitress for many connections: `make_server`."""

from .channel import make_server as make_server
