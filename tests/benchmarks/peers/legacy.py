"""A legacy application of 3 kB a page, alone or wrapped, on waitress as it comes or as we start it.

python legacy.py alone|wrapped|ours PORT
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterable
from typing import Any

import waitress

from oss_wsgi import DirectUpload, Settings
from oss_wsgi.serving import make_server

PAGE = b"<!doctype html><title>2005</title>" + b"<p>hello</p>" * 250


def legacy(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))])
    return [PAGE]


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    logging.disable()
    wrapped = DirectUpload(legacy, Settings.from_environ(os.environ))
    if kind == "ours":
        listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        make_server(wrapped, listener, wrapped.is_nonblocking).run()
    else:
        app = wrapped if kind == "wrapped" else legacy
        waitress.serve(app, host="127.0.0.1", port=port, _quiet=True)
