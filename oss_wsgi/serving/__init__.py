"""`make_server`: waitress, fast with more connections than threads."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import waitress
from waitress.server import create_server

from .channel import Channel, Loop, LoopTrigger, TaskRouter

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from .channel import NonBlockingTest

# The releases whose internals our parts fit.
_KNOWN = ("3.0.",)

log = logging.getLogger(__name__)


def make_server(
    app: WSGIApplication, listener: socket.socket, is_nonblocking: NonBlockingTest | None = None, **options: Any
) -> Any:
    """Return a waitress server for a listening socket; ``options`` are waitress's own.

    The server has waitress's interface: ``run()`` serves until the process ends, ``close()`` closes the listener.
    An unknown release of waitress serves without our parts, and the log says so.

    :param is_nonblocking: ``(method, path, headers) -> bool``: which requests ``app`` answers without waiting for a
        disk, a lock or another host. The I/O loop answers these itself; threads answer all others. ``path`` is decoded
        as PATH_INFO is; header names have the form ``X_OSS_PUB_KEY_URL``. None: threads answer everything.
    """
    # select() fails with descriptors above 1,023; poll() does not.
    server = create_server(app, sockets=[listener], asyncore_use_poll=True, **options)
    version = waitress_version()
    if not version.startswith(_KNOWN):
        log.info("waitress %s is unknown here and serves as it is: it may be slow with many connections", version)
        return server
    server.channel_class = Channel
    server.asyncore = Loop()
    server.pull_trigger = LoopTrigger(server.trigger.pull_trigger)
    if is_nonblocking is not None:
        server.add_task = TaskRouter(server.task_dispatcher, is_nonblocking)
    return server


def waitress_version() -> str:
    """Return waitress's version, from the name of the folder beside it: importlib.metadata costs 4 MiB for the same."""
    for metadata in Path(waitress.__file__).parent.parent.glob("waitress-*.dist-info"):
        return metadata.name.removeprefix("waitress-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version("waitress")
