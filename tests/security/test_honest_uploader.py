"""An honest uploader has odd file names, clicks twice and is slow: each upload is reported once, as it is stored.

tests/integration/test_sample_clients.py has the official samples' clients, tests/browser has real browsers.
"""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oss_wsgi import Upload
from oss_wsgi.testing import FrozenClock, multipart

from ..support.callbacks import without_signed_id
from ..support.linted_client import LintedClient
from .attacks import legacy, stored

NAMES = [
    "a.txt",
    "图 片.png",
    "🦄.gif",
    "a+b&c=d;e%20f.txt",
    "quo\"te's.txt",
    "C:\\fake\\path.txt",
    "x" * 200 + ".png",
    "noend",
]


class Honest:
    """A client and an application whose handler counts the uploads."""

    def __init__(self, **options: Any) -> None:
        self.uploads: list[Upload] = []

        def save(upload: Upload) -> dict[str, Any]:
            self.uploads.append(upload)
            return {"number": len(self.uploads)}

        self.client = LintedClient(legacy, {"upload_names": "original"}, on_upload=save, **options)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "prefix"])
def test_any_file_name_is_reported_as_it_is_stored(exact: bool) -> None:
    honest = Honest()
    with honest.client as client:
        for name in NAMES:
            assert client.upload(name, b"hello", content_type="text/plain", exact=exact).json["Status"] == "Ok", name
        assert sorted(str(upload.object) for upload in honest.uploads) == sorted(stored(client))
        assert len(honest.uploads) == len(NAMES)


def test_a_double_click_stores_one_object() -> None:
    honest = Honest()
    with honest.client as client:
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda _: client.upload("a.txt", b"hello").status_int, range(4)))
        assert sorted(statuses) == [200, 409, 409, 409]
        assert len(honest.uploads) == len(stored(client)) == 1


class Slow(io.BytesIO):
    """A body whose second half arrives long after the policy has expired."""

    def __init__(self, body: bytes, clock: FrozenClock) -> None:
        super().__init__(body)
        self._clock = clock
        self._half = len(body) // 2

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._half:
            self._clock.advance(11 * 3600)
            self._half = len(self.getvalue()) + 1
        return super().read(size)


def test_an_upload_of_eleven_hours_is_reported() -> None:
    clock = FrozenClock()
    honest = Honest(clock=clock)
    with honest.client as client:
        data = b"x" * 3_000_000
        content_type, body = multipart(client.sign("a.bin", size=len(data)).json["fields"], "a.bin", data)
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/examplebucket",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8081",
            "HTTP_HOST": "127.0.0.1:8081",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": Slow(body, clock),
        }
        statuses: list[str] = []
        response = b"".join(client.local_oss(environ, lambda status, headers, exc_info=None: statuses.append(status)))
        assert statuses == ["200 OK"]
        assert without_signed_id(json.loads(response)) == {"Status": "Ok", "number": 1}
        assert clock() == FrozenClock()() + 11 * 3600
