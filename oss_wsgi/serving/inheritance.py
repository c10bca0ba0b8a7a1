"""The listening sockets and the chosen values that a serving process gets from its parent."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field

#: The environment variable that tells a process that it is a child, and what it inherits.
CHILD_VARIABLE = "_OSS_WSGI_SERVE_CHILD"

_SOCKETS = ("listeners", "metrics_listeners")


@dataclass
class Inheritance:
    """The sockets and values that a child gets from its parent.

    ``greeting``: the lines to print once the application is there. ``callback_url``: the URL that the parent has filled
    in. ``is_local``: whether a local OSS takes the files. ``owns_listeners``: no other process has the sockets, so that
    the end may refuse new connections on them. ``has_metrics``: whether metrics have a port. ``processes``: how many
    serve side by side. Of several, ``number`` is this process's number, from 1 up, and ``lifeline`` is the descriptor
    of a socket to the parent, which serves the metrics of all. ``share``: the descriptors of a `serving.sharing.Share`.
    """

    listeners: list[socket.socket]
    metrics_listeners: list[socket.socket]
    greeting: list[str] = field(default_factory=list)
    callback_url: str | None = None
    is_local: bool = False
    owns_listeners: bool = False
    has_metrics: bool = False
    lifeline: int = -1
    processes: int = 1
    number: int = 0
    share: Sequence[int] = ()

    def to_environ(self, environ: MutableMapping[str, str]) -> None:
        """Store these values in an environment, from which `inheritance` takes them in the child."""
        members = {**vars(self), **{name: [one.fileno() for one in getattr(self, name)] for name in _SOCKETS}}
        environ[CHILD_VARIABLE] = json.dumps(members)


def inheritance(environ: MutableMapping[str, str]) -> Inheritance | None:
    """Take the parent's values for this process from the environment; None if this process is no child."""
    text = environ.pop(CHILD_VARIABLE, None)
    if text is None:
        return None
    values = json.loads(text)
    for name in _SOCKETS:
        values[name] = [socket.socket(fileno=descriptor) for descriptor in values[name]]
    child = Inheritance(**{**values, "owns_listeners": False})
    inherited = [listener.fileno() for listener in (*child.listeners, *child.metrics_listeners)]
    for descriptor in (child.lifeline, *inherited, *child.share):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    return child
