"""The application of the soak: it writes each upload that it is told of into a table, as a new row."""

from __future__ import annotations

import os
import random
import socket
import sqlite3
import threading
import time
from contextlib import closing
from typing import Any

from oss_wsgi import DirectUpload, Grant, Settings
from oss_wsgi.cli.process import drain_on_signals
from oss_wsgi.endpoints.callback import CallbackEndpoint
from oss_wsgi.serving import make_server

TABLE = os.environ["SOAK_TABLE"]
SLOW_SECONDS = float(os.environ.get("SOAK_SLOW_SECONDS", "0"))


def save(upload: Any) -> None:
    chance = random.random()
    if chance < 0.05:
        raise RuntimeError("the handler fails before it has done anything")
    if chance < 0.10:
        time.sleep(SLOW_SECONDS)  # longer than OSS waits
    with closing(sqlite3.connect(TABLE, timeout=60)) as connection, connection:
        connection.execute("INSERT INTO uploads VALUES (?, ?)", (upload.object, upload.recovered))


def view(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


settings = Settings.from_environ({name: value for name, value in os.environ.items() if name.startswith("OSS_")})
application = DirectUpload(view, settings, authorize=lambda request: Grant(user="eric", dir="u/"), on_upload=save)

if os.environ.get("SOAK_BREAK"):  # recovery that does not ask the ledger: the soak must find it
    application._delivery._app = CallbackEndpoint(save)


class Counted:
    """Counts the calls that go on, so that none is cut off when OSS has hung up and the server is drained."""

    def __init__(self) -> None:
        self.active = 0
        self._changed = threading.Condition()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        with self._changed:
            self.active += 1
        try:
            return application(environ, start_response)
        finally:
            with self._changed:
                self.active -= 1
                self._changed.notify_all()

    def wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self.active, 30)


if __name__ == "__main__":
    counted = Counted()
    with socket.create_server(("127.0.0.1", int(os.environ["SOAK_PORT"])), backlog=128) as listener:
        server = make_server(counted, [listener], application.is_nonblocking, threads=8)
        drain_on_signals(server, 10, 0)
        print("ready", flush=True)
        server.run()
        counted.wait()
