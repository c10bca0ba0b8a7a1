"""Fill the disk of a local OSS, and see what it answers and what it keeps. Needs a small disk of its own:

    unshare -rm sh -c 'mount -t tmpfs -o size=4m tmpfs FOLDER && python -m tests.local_oss.full_disk FOLDER'

Prints one line of JSON for each kind of request.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from webtest import TestApp

from local_oss import LocalOSS

from ..support.server_threads import serving_oss
from . import form_client
from .form_client import NOW
from .signed_client import SignedClient

LARGE = bytes(6_000_000)
SMALL = b"small"


def files(folder: Path) -> list[str]:
    """Return the files that are content: of objects, of parts, or left behind."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((".index", ".owner", "filler"))
    )


def fill(folder: Path) -> Path:
    """Take all the room that is left, to the last byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            while True:
                try:
                    if not file.write(bytes(size)):
                        break
                except OSError:
                    break
    return filler


def form(oss: LocalOSS, key: str, content: bytes) -> bytes:
    fields = form_client.sign_v4(oss, ["eq", "$key", key])
    return form_client.form({"key": key, **fields}, content)


def main(folder: Path) -> None:
    with ExitStack() as stack:
        oss = stack.enter_context(LocalOSS(directory=folder, clock=lambda: NOW))
        stack.enter_context(serving_oss(oss))
        signed, app = SignedClient(oss), TestApp(oss)
        bucket = oss.storage.bucket(oss.bucket)

        def put(content: bytes, key: str = "put") -> tuple[int, str | None]:
            return answer(signed("PUT", oss.bucket, key=key, body=content, status="*"))

        def post(content: bytes) -> tuple[int, str | None]:
            return answer(form_client.post(app, form(oss, "form", content)))

        def post_by_http(content: bytes) -> tuple[int, str | None]:
            connection = http.client.HTTPConnection(urlsplit(oss.url).netloc, timeout=60)
            headers = {"Content-Type": f"multipart/form-data; boundary={form_client.BOUNDARY}"}
            connection.request("POST", f"/{oss.bucket}", form(oss, "form by http", content), headers)
            response = connection.getresponse()
            body = response.read().decode()
            connection.close()
            code = body.partition("<Code>")[2].partition("</Code>")[0] or None
            return response.status, code

        upload = bucket.begin("parts", "text/plain", {}, now=NOW)

        def part(content: bytes) -> tuple[int, str | None]:
            query = f"partNumber=1&uploadId={upload.id}"
            return answer(signed("PUT", oss.bucket, query, key="parts", body=content, status="*"))

        put(b"old", "put")
        for name, send in {"put": put, "form": post, "form by http": post_by_http, "part": part}.items():
            before = files(folder)
            too_large = send(LARGE)
            left_by_large = [path for path in files(folder) if path not in before]
            filler = fill(folder)
            answers = [send(bytes(400_000)) for _ in range(3)]
            left = [path for path in files(folder) if path not in before]
            old = answer_body(signed("GET", oss.bucket, key="put", status="*"))
            filler.unlink()
            later = send(SMALL)
            print(json.dumps({"kind": name, "too_large": too_large, "answers": answers, "left": left_by_large + left,
                              "old": old, "later": later}), flush=True)  # fmt: skip
        # The index is full: nothing more is small enough.
        filler, before = fill(folder), files(folder)
        answers, number = [], 0
        while number < 2000 and (not answers or answers[-1][0] == 200):
            number += 1
            answers.append(put(b"", f"{number:04}" + "n" * 900))
        filler.unlink()
        listed, _ = bucket.page(prefix="0")
        print(json.dumps({"kind": "index", "too_large": answers[-1], "answers": [answers[-1]],
                          "left": [len(listed) - (number - 1), len(files(folder)) - len(before) - (number - 1)],
                          "old": answer_body(signed("GET", oss.bucket, key="put", status="*")),
                          "later": put(SMALL, "later")}), flush=True)  # fmt: skip
        assert [key for key in ("put", "form", "form by http") if bucket.get(key) is None] == []
    with LocalOSS(directory=folder) as oss:
        contents = {}
        for entry in oss.storage.bucket(oss.bucket).page()[0]:
            opened = oss.storage.bucket(oss.bucket).open(entry.key)  # type: ignore[union-attr]
            assert opened is not None, entry
            with opened[1] as file:
                contents[opened[0].key] = len(file.read()) == opened[0].size
        whole = all(contents.values())
        print(json.dumps({"kind": "restart", "whole": whole, "objects": len(contents) > 3}), flush=True)


def answer(response: object) -> tuple[int, str | None]:
    return response.status_int, response.xml.findtext("Code") if response.status_int > 299 else None  # type: ignore[attr-defined]


def answer_body(response: object) -> str:
    return str(response.body[:20].decode("latin-1"))  # type: ignore[attr-defined]


if __name__ == "__main__":
    os.environ["TMPDIR"] = sys.argv[1]
    main(Path(sys.argv[1]))
