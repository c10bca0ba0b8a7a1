"""The application of the soak: it writes each upload into its own table, and each call of its handler into another.

A call that a SIGKILL cut short may be repeated, because the handler's table is not in the ledger's transaction. So the
uploads have a key, as docs/never-lost.md tells applications, and the calls have none.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from oss_wsgi import DirectUpload, OncePerUpload, Settings, Upload
from oss_wsgi.endpoints.callback import CallbackEndpoint
from oss_wsgi.recovery.delivery import Delivered

from .tables import BREAK, DATABASE, SLOW_SECONDS, connect

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


def save(upload: Upload) -> dict[str, Any]:
    identity = upload.object, upload.etag
    chance = random.random()
    if chance < 0.05:
        raise RuntimeError("the handler fails before it has done anything")
    if chance < 0.1:
        time.sleep(float(os.environ[SLOW_SECONDS]))  # longer than OSS waits
    with closing(connect(os.environ[DATABASE])) as connection, connection:
        connection.execute("INSERT INTO calls VALUES (?, ?, ?)", (*identity, os.getpid()))
        connection.execute("INSERT OR IGNORE INTO uploads VALUES (?, ?, ?)", (*identity, upload.size))
    return {"saved": upload.object}


def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"a shop"]


if os.environ.get(BREAK):
    OncePerUpload.deliver = (  # type: ignore[method-assign]
        lambda once, upload, asked=None: Delivered(CallbackEndpoint(save).handle(upload))
    )

application = DirectUpload(page, Settings.from_environ(os.environ), on_upload=save)
