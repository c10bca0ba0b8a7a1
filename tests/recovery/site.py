"""An application whose uploads are reported or lost, at times that the test chooses."""

from __future__ import annotations

from typing import Any

from oss_wsgi import Upload
from oss_wsgi.recovery.sweep import Reconciliation
from oss_wsgi.testing import FrozenClock, UploadClient
from oss_wsgi.testing.local_oss import InProcessBucket

NOW = 1733227932.5


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"legacy"]


class Site:
    """An application whose uploads are reported or lost, at times that the test chooses."""

    def __init__(self, settings: dict[str, Any] | None = None, app: Any = legacy, **options: Any) -> None:
        self.clock = FrozenClock(NOW)
        self.uploads: list[Upload] = []
        self.failing: set[str | None] = set()
        if not options.get("forward_callback"):
            options = {"on_upload": self.save, **options}
        self.client = UploadClient(app, settings, clock=self.clock, **options)
        self.application = self.client.direct_upload
        assert isinstance(self.client.bucket, InProcessBucket)
        self.bucket = self.client.bucket

    def close(self) -> None:
        self.client.close()

    def save(self, upload: Upload) -> None:
        if upload.object in self.failing:
            raise RuntimeError("not now")
        self.uploads.append(upload)

    def upload(self, *, lost: bool = True, exact: bool = True, name: str = "a.png", data: bytes = b"hello") -> str:
        """Upload a file now, with its report lost or not, and return the object's name."""
        fields: dict[str, str] = {}
        if lost:
            self.client.local_oss.fail_next("callback_refused")
        answer = self.client.upload(name, data, content_type="image/png", exact=exact, change=fields.update)
        assert answer.status_int == (203 if lost else 200)
        return fields["key"].replace("${filename}", name)

    def put(self, key: str, data: bytes = b"x", headers: dict[str, str] | None = None) -> None:
        """Store an object, as another program with its own keys does."""
        oss = self.client.local_oss
        with oss.storage.bucket(oss.bucket).incoming() as incoming:
            incoming.write(data)
            incoming.commit(key, "image/png", headers or {}, now=self.clock())

    def reconcile(self, **options: Any) -> Reconciliation:
        return self.application.reconcile(**{"until": 0, **options})

    def heads(self) -> list[str]:
        return [name for method, name in self.bucket.requests if method == "head"]
