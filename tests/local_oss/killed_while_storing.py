"""Store objects in processes that are killed, each one step later than the one before.

    python -m tests.local_oss.killed_while_storing FOLDER started|running

A step is a statement of SQLite, or a file opened, moved or removed. For each process the program prints one line of
JSON: the step, the states that another storage finds afterwards, the files that belong to no object, and those of a
person that are gone. The other storage is opened after the kill ("started"), or was already open on the same folder
("running"). The program ends with the first process that is not killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from local_oss.storage.storage import Bucket, Storage

from ..support.sqlite_statements import Statements
from .stored import NOW, content, put

#: Files of a person beside those of the local OSS, with names that look like its own.
OF_A_PERSON = ("dist/app-0123456789abcdef.js", "examplebucket/a-0123456789abcdef", ".parts/-0123456789abcdef")

AUDITED = {"os.rename", "os.remove", "open"}


class Steps:
    """Kills this process at its last step, and writes that step to a log."""

    def __init__(self, last: int, log: Path) -> None:
        self._remaining = last
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT)

    def __call__(self, name: str) -> None:
        self._remaining -= 1
        if not self._remaining:
            os.write(self._log, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: Any) -> None:
        if event in AUDITED:
            self(f"{event} {arguments[0]}")


def prepare(directory: Path) -> Storage:
    storage = Storage(directory)
    storage.create_bucket("examplebucket", now=NOW)
    bucket = storage.bucket("examplebucket")
    put(bucket, "a", b"old")
    put(bucket, "b", b"old")
    put_part(bucket, bucket.begin("c", "text/plain", {}, now=NOW).id, b"old")
    for name in OF_A_PERSON:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).touch()
    return storage


def put_part(bucket: Bucket, upload_id: str, piece: bytes) -> None:
    with bucket.incoming() as incoming:
        incoming.write(piece)
        incoming.commit_part(bucket.upload("c", upload_id), 1, now=NOW)


def work(directory: Path, step: Steps) -> None:
    statements = Statements(pytest.MonkeyPatch())
    storage = Storage(directory)
    statements.before = step
    sys.addaudithook(step.audit)
    bucket = storage.bucket("examplebucket")
    put(bucket, "a", b"new")
    bucket.delete("b")
    (upload,) = bucket.uploads()
    put_part(bucket, upload.id, b"new")
    bucket.complete(upload, bucket.parts(upload)[0], now=NOW)


def state(storage: Storage) -> list[str | None]:
    """Return the content of each key; "parts" for an upload in progress, whose part must be whole."""
    bucket = storage.bucket("examplebucket")
    contents = [content(bucket, key).decode() if bucket.get(key) else None for key in "abc"]
    for upload in bucket.uploads():
        ((part,), _) = bucket.parts(upload)
        file = storage.blobs.open(".parts", part.file)
        assert file is not None
        with file:
            assert hashlib.md5(file.read()).hexdigest() == part.md5
        assert contents[2] is None
        contents[2] = "parts"
    return contents


def garbage(storage: Storage, directory: Path) -> list[str]:
    """Return the files that the index does not name, or that are not published."""
    bucket = storage.bucket("examplebucket")
    known = {stored.file for stored in bucket.page()[0]}
    known |= {part.file for upload in bucket.uploads() for part in bucket.parts(upload)[0]}
    others = (".index.", ".owner")
    kept = [directory / name for name in OF_A_PERSON]
    paths = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(others)]
    paths = [path for path in paths if path not in kept]
    assert {path.name for path in paths} >= known
    return [path.name for path in paths if path.name not in known or ".incoming" in path.parts]


def main(folder: Path, running: bool) -> None:
    status = -signal.SIGKILL
    last = 0
    while status == -signal.SIGKILL:
        last += 1
        directory = folder / str(last)
        before = prepare(directory)
        if not running:
            before.close()
        child = os.fork()
        if not child:
            work(directory, Steps(last, folder / f"{last}.log"))
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        states = []
        if running:
            # What the index names can be read before another process clears the dead one's folder.
            states.append(state(before))
            before.close()
        after = Storage(directory)
        states.append(state(after))
        files = garbage(after, directory)
        after.close()
        files += os.listdir(directory / ".incoming")
        step = (folder / f"{last}.log").read_text()
        lost = [name for name in OF_A_PERSON if not (directory / name).exists()]
        report = {"step": step, "status": status, "states": states, "garbage": files, "lost": lost}
        print(json.dumps(report), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "running")
