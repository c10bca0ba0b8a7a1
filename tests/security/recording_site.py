"""A site whose handler records each upload durably, for tests that attack it, kill it and fill its disk.

    python -m tests.security.recording_site FOLDER

FOLDER has key.pem (OSS's key in these tests). The site adds ledger.db and handled/, with one file for each run of the
handler. If there is a file ``die``, the next run of the handler kills the process when its work is done, once. The
application behind DirectUpload limits the size of this process's files: /limit/BYTES, or /limit/none.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import secrets
import signal
import sys
import time
from pathlib import Path
from typing import Any

import waitress

from oss_wsgi import DirectUpload, Settings, Upload
from oss_wsgi.callback.public_keys import PublicKeyStore
from oss_wsgi.testing import KEY_URL

from .attacks import VALUES


class Handler:
    """Writes one file for each completed run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handled = folder / "handled"
        self.handled.mkdir(exist_ok=True)
        (folder / "die").unlink(missing_ok=True)

    def __call__(self, upload: Upload) -> dict[str, Any]:
        run = secrets.token_hex(8)
        part = self.folder / f"{run}.part"
        with part.open("w") as file:
            json.dump({"object": upload.object, "user": upload.user}, file)
            file.flush()
            os.fsync(file.fileno())
        part.rename(self.handled / run)
        if (self.folder / "die").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return {"run": run}


def control(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Limit the size of files that this process may write, as a full disk would."""
    _, limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = environ["PATH_INFO"].removeprefix("/limit/")
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit if size == "none" else int(size), limit))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def slow_key_host(url: str) -> bytes:
    time.sleep(0.5)
    raise OSError("the key host is away")


def main(folder: Path) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stdout)
    keys = PublicKeyStore({KEY_URL: (folder / "key.pem").read_text()}, fetcher=slow_key_host, clock=time.monotonic)
    settings = Settings(**{**VALUES, "ledger": str(folder / "ledger.db")})
    application = DirectUpload(control, settings, on_upload=Handler(folder), public_keys=keys)
    server = waitress.create_server(application, host="127.0.0.1", port=0, threads=8)
    print(f"port {server.effective_port}", flush=True)
    server.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
