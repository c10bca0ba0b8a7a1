"""A server for WSGI applications: `make_server` on waitress's parser, limits, drain, several processes, signals.

`make_server` runs waitress's parser and tasks under our own loop and threads, `supervisor` runs several processes of
one command line, and `until_stopped` ends a program by signals. The options are in `cli/`, which calls this.

docs/serving.md says why there is a loop of our own, what it gains, and what to check when waitress makes a release.
"""

from __future__ import annotations

import dataclasses
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from waitress.adjustments import Adjustments
from waitress.proxy_headers import proxy_headers_middleware

from ..wsgi.questions import BodyLimit, CallbackTest, NonBlockingTest
from .bounds import (
    MEMORY_BODY_BYTES,
    Limits,
    allowed_connection_limit,
    default_connection_limit,
    default_file_bytes,
)
from .server import Server
from .sharing import Share
from .threads import Threads

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


_LIMITS = tuple(field.name for field in dataclasses.fields(Limits))


def make_server(
    app: WSGIApplication,
    listener: socket.socket | Sequence[socket.socket],
    is_nonblocking: NonBlockingTest | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    owns_listeners: bool = False,
    shares_listeners: bool = False,
    share: Share | None = None,
    body_limit: BodyLimit | None = None,
    is_callback: CallbackTest | None = None,
    **options: Any,
) -> Any:
    """Return a server for one listening socket or several.

    It has waitress's interface: ``run()`` serves until the process ends, ``close()`` closes the listeners. Its
    ``drain(seconds, delay=0)`` ends it in order, so that ``run()`` returns; a signal's handler may call ``drain``.

    :param is_nonblocking: ``(method, path, headers) -> bool``: which requests ``app`` answers without waiting for a
        disk, a lock or another host. The I/O loop answers these itself; threads answer all others. ``path`` is decoded
        as PATH_INFO is; header names have the form ``X_OSS_PUB_KEY_URL``. None: threads answer everything.
    :param clock: gives seconds that never go back.
    :param owns_listeners: no other process has these sockets. Then ``drain`` refuses new connections a moment before
        it closes the sockets, so that no handshake ends between the last accept and the close and is reset (Linux).
    :param shares_listeners: other processes accept from these sockets at the same time. Then this process takes a few
        new connections in a turn, and the next connections wake another process.
    :param share: what these processes know of each other, so that each gets its share of the connections.
    :param body_limit: ``(method, path) -> int | None``: how many bytes the body of a request to ``app`` may have, up to
        1 MiB, or ``max_request_body_size`` if that is more. None: ``max_request_body_size``. By default the
        ``body_limit`` of ``app``, if it has one, as DirectUpload has. ``app`` itself bounds a body that comes with its
        header.
    :param is_callback: ``(method, path, headers) -> bool``, as for ``is_nonblocking``: which requests are callbacks of
        OSS. A quarter as many threads as ``threads`` says, at least one, are added for callbacks alone, except to a
        single thread; so callbacks do not wait for other requests. By default the ``is_callback`` of ``app``, if it has
        one, as DirectUpload has.
    :param options: the fields of `bounds.Limits` (``header_timeout``, ``body_timeout``, ``idle_timeout``,
        ``write_timeout``, ``connections_per_address``, ``buffered_bytes``, ``file_bytes``), and waitress's own. By
        default ``connection_limit`` is what the descriptors (RLIMIT_NOFILE, which is not raised here) and the memory
        allow; a limit above what the descriptors allow is lowered, and the log says so. ``channel_timeout`` means
        ``idle_timeout``.
    """
    listeners = [listener] if isinstance(listener, socket.socket) else list(listener)
    if not listeners:
        raise ValueError("listener must be one or more listening sockets; there is none.")
    own = {name: options.pop(name) for name in _LIMITS if name in options}
    body_limit = body_limit or getattr(app, "body_limit", None)
    is_callback = is_callback or getattr(app, "is_callback", None)
    for each in listeners:  # one by one: our loop serves Internet and Unix sockets together
        Adjustments.check_sockets([each])
    adj = Adjustments(sockets=listeners[:1], **{"inbuf_overflow": MEMORY_BODY_BYTES, **options})
    if "channel_timeout" in options:
        own.setdefault("idle_timeout", adj.channel_timeout)
    limits = Limits(**own)
    if adj.trusted_proxy or adj.clear_untrusted_proxy_headers:
        app = proxy_headers_middleware(
            app,
            trusted_proxy=adj.trusted_proxy,
            trusted_proxy_count=adj.trusted_proxy_count,
            trusted_proxy_headers=adj.trusted_proxy_headers,
            clear_untrusted=adj.clear_untrusted_proxy_headers,
            log_untrusted=adj.log_untrusted_proxy_headers,
            logger=logging.getLogger("waitress"),
        )
    # Large bodies go to temporary files, and so do large responses.
    spills = adj.max_request_body_size > adj.inbuf_overflow
    if "connection_limit" not in options:
        limit = default_connection_limit(1 + spills)
    elif adj.connection_limit < 1:
        raise ValueError(f"connection_limit must be at least 1, not {adj.connection_limit!r}.")
    else:
        limit = allowed_connection_limit(adj.connection_limit, 1 + spills)
    file_bytes = limits.file_bytes or (default_file_bytes() if spills else limits.buffered_bytes)
    # Unread responses of all threads may fill at most half of `file_bytes`.
    watermark = max(file_bytes // 2 // adj.threads, adj.outbuf_overflow)
    adj.outbuf_high_watermark = min(adj.outbuf_high_watermark, watermark)
    return Server(
        app,
        listeners,
        adj,
        limits,
        file_bytes=file_bytes,
        connection_limit=limit,
        threads=Threads(adj.threads, has_callbacks=is_callback is not None),
        is_nonblocking=is_nonblocking,
        body_limit=body_limit,
        is_callback=is_callback,
        clock=clock,
        owns_listeners=owns_listeners,
        shares_listeners=shares_listeners or share is not None,
        share=share,
    )
