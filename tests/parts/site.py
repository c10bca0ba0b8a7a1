"""An application with uploads in parts, a local OSS, and a client that asks as Uppy does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import webob

from local_oss import LocalOSS
from oss_wsgi import DirectUpload, Grant, PublicKeyStore, SDKBucket, Settings, Upload
from oss_wsgi.bucket import BucketClient
from oss_wsgi.testing import FrozenClock
from oss_wsgi.testing.clients import get_response
from oss_wsgi.testing.local_oss import InProcessBucket

from ..support.server_threads import serving_oss

NOW = 1733227932.5
KB = 1024
#: OSS joins no smaller parts.
PART = 100 * KB
CONTENT = bytes(range(256)) * 1000  # 2.5 parts
SECRET = "a ticket secret of at least 32 characters"
ORIGIN = "https://app.example.com"


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"legacy"]


@dataclass
class File:
    """An upload that has begun, and the ETags of its parts that were sent."""

    id: str
    key: str
    answer: dict[str, Any]
    etags: dict[int, str] = field(default_factory=dict)

    @property
    def parts(self) -> list[dict[str, Any]]:
        return [{"PartNumber": number, "ETag": etag} for number, etag in sorted(self.etags.items())]


class Site:
    """An application and its client; with ``sdk`` it asks the bucket by the official SDK, over HTTP."""

    def __init__(self, settings: Mapping[str, Any] | None = None, *, sdk: bool = False, **options: Any) -> None:
        self.clock = FrozenClock(NOW)
        self.uploads: list[Upload] = []
        self.errors: list[Exception] = []
        self.waits: list[float] = []
        self._stack = contextlib.ExitStack()
        clock: Callable[[], float] = self.clock
        if sdk:
            import time

            clock = time.time
        self.oss = self._stack.enter_context(LocalOSS(key_bits=512, clock=clock, allow_public=True))
        if sdk:
            self._stack.enter_context(serving_oss(self.oss))
        self.settings = Settings(
            **{
                "bucket": self.oss.bucket,
                "region": self.oss.region,
                "host": self.oss.host,
                "access_key_id": self.oss.access_key_id,
                "access_key_secret": self.oss.access_key_secret,
                "callback_url": f"{ORIGIN}/oss/callback",
                "ticket_secret": (SECRET,),
                "allow_anonymous": True,
                "multipart": True,
                **(settings or {}),
            }
        )
        self.bucket: BucketClient = options.pop("bucket_client", None) or (
            self._stack.enter_context(contextlib.closing(SDKBucket(self.settings, clock=clock, timeout=60.0)))
            if sdk
            else InProcessBucket(self.oss)
        )
        self.options = {
            "on_upload": self.save,
            "clock": clock,
            "public_keys": PublicKeyStore({self.oss.public_key_url: self.oss.public_key_pem}),
            **options,
        }
        self.application = self.start()

    def start(self) -> DirectUpload:
        """Return the application as a new process makes it."""
        return DirectUpload(legacy, self.settings, bucket_client=self.bucket, **self.options)

    def save(self, upload: Upload) -> dict[str, Any]:
        if self.errors:
            raise self.errors.pop()
        self.uploads.append(upload)
        return {"number": len(self.uploads)}

    def ask(self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None) -> webob.Response:
        request = webob.Request.blank(f"/oss{path}", method=method, base_url=ORIGIN, headers=headers or {})
        if body is not None:
            request.content_type = "application/json"
            request.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return get_response(request, self.application)

    def begin(self, filename: str = "film.mp4", content_type: str = "video/mp4", **members: Any) -> File:
        body = {"filename": filename, "type": content_type, "metadata": {"name": filename}, **members}
        response = self.ask("POST", "/s3/multipart", body)
        assert response.status_int == 200, response.text
        answer = response.json
        return File(answer["uploadId"], answer["key"], answer)

    def sign(self, file: File, number: int, **options: Any) -> webob.Response:
        return self.ask("GET", f"/s3/multipart/{file.id}/{number}?key={quote(file.key, safe='')}", **options)

    def put(self, url: str, data: bytes, headers: dict[str, str] | None = None) -> webob.Response:
        request = webob.Request.blank(url, method="PUT", body=data, headers=headers or {})
        return get_response(request, self.oss)

    def send(self, file: File, number: int, data: bytes) -> webob.Response:
        response = self.put(self.sign(file, number).json["url"], data)
        if response.status_int == 200:
            file.etags[number] = response.headers["ETag"]
        return response

    def list(self, file: File) -> webob.Response:
        return self.ask("GET", f"/s3/multipart/{file.id}?key={quote(file.key, safe='')}")

    def complete(self, file: File, parts: Any = None, **options: Any) -> webob.Response:
        body = {"parts": file.parts if parts is None else parts}
        return self.ask("POST", f"/s3/multipart/{file.id}/complete?key={quote(file.key, safe='')}", body, **options)

    def abort(self, file: File) -> webob.Response:
        return self.ask("DELETE", f"/s3/multipart/{file.id}?key={quote(file.key, safe='')}")

    def upload(self, content: bytes = CONTENT, part: int = PART, **members: Any) -> File:
        """Begin an upload and send all its parts."""
        file = self.begin(**members)
        for number in range(1, max(1, -(-len(content) // part)) + 1):
            assert self.send(file, number, content[(number - 1) * part : number * part]).status_int == 200
        return file

    @property
    def stored(self) -> list[str]:
        entries, _ = self.oss.storage.bucket(self.oss.bucket).page()
        return [entry.key for entry in sorted(entries, key=lambda entry: entry.last_modified, reverse=True)]

    @property
    def unfinished(self) -> int:
        uploads = self.oss.storage.bucket(self.oss.bucket).uploads()
        return len(uploads)

    def content(self, key: str) -> bytes:
        opened = self.oss.storage.bucket(self.oss.bucket).open(key)
        assert opened is not None
        with opened[1] as file:
            return file.read()

    def close(self) -> None:
        self._stack.close()


def granting(**members: Any) -> Callable[[webob.Request], Grant]:
    return lambda request: Grant(**{"user": "eric", "dir": "u/", **members})
