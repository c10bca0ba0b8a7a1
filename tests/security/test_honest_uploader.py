"""An honest uploader retries, repeats and is slow: no upload is lost, and none is handled twice.

tests/integration/test_sample_clients.py has the official samples' clients, tests/browser has real browsers.
"""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oss_wsgi import Grant, Upload
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.testing import FrozenClock, callback_body, multipart

from ..support.linted_client import LintedClient
from .attacks import Site, legacy, post_form, stored

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


@pytest.fixture(params=["v1", "v4"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Honest:
    """A client and an application whose handler counts the uploads."""

    def __init__(self, version: str, grant: Grant | None = None, **options: Any) -> None:
        self.uploads: list[Upload] = []

        def save(upload: Upload) -> dict[str, Any]:
            self.uploads.append(upload)
            return {"number": len(self.uploads)}

        grant = grant or Grant(user="eric", dir="users/eric")
        values = {"signature_version": version, "upload_names": "original"}
        self.client = LintedClient(legacy, values, authorize=lambda request: grant, **{"on_upload": save, **options})


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "prefix"])
def test_any_file_name_is_reported_as_it_is_stored(version: str, exact: bool) -> None:
    honest = Honest(version)
    with honest.client as client:
        for name in NAMES:
            assert client.upload(name, b"hello", content_type="text/plain", exact=exact).json["Status"] == "Ok", name
        assert sorted(str(upload.object) for upload in honest.uploads) == sorted(stored(client))
        assert len(honest.uploads) == len(NAMES)


def test_a_double_click_stores_one_object(version: str) -> None:
    honest = Honest(version)
    with honest.client as client:
        with ThreadPoolExecutor(4) as pool:
            statuses = list(pool.map(lambda _: client.upload("a.txt", b"hello").status_int, range(4)))
        assert sorted(statuses) == [200, 409, 409, 409]
        assert len(honest.uploads) == len(stored(client)) == 1


def test_a_form_posted_twice_is_handled_once(version: str) -> None:
    honest = Honest(version)
    with honest.client as client:
        fields = client.sign().json["fields"]
        answers = [post_form(client, fields.items()).json for _ in range(3)]
        assert answers == [{"Status": "Ok", "number": 1}] * 3
        assert post_form(client, fields.items(), b"edited").json == {"Status": "Ok", "number": 2}


def test_a_retry_with_overwriting_gets_the_same_response(version: str) -> None:
    honest = Honest(version, Grant(user="eric", dir="users/eric", forbid_overwrite=False))
    with honest.client as client:
        fields = client.sign("a.txt").json["fields"]
        assert [post_form(client, fields.items()).json["number"] for _ in range(3)] == [1, 1, 1]


def test_a_failed_handler_runs_again_at_the_next_upload(version: str) -> None:
    calls: list[Upload] = []

    def save(upload: Upload) -> None:
        calls.append(upload)
        if len(calls) == 1:
            raise OSError("the database is away")

    honest = Honest(version, on_upload=save)
    with honest.client as client:
        fields = client.sign().json["fields"]
        assert [post_form(client, fields.items()).status_int for _ in range(3)] == [203, 200, 200]
        assert len(calls) == 2


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


def test_an_upload_of_eleven_hours_is_reported(version: str) -> None:
    clock = FrozenClock()
    honest = Honest(version, clock=clock)
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
        assert (statuses, response) == (["200 OK"], b'{"Status": "Ok", "number": 1}')
        assert clock() == FrozenClock()() + 11 * 3600


def test_simultaneous_files_with_their_own_signatures_succeed(version: str) -> None:
    honest = Honest(version)
    with honest.client as client:
        with ThreadPoolExecutor(8) as pool:
            names = [f"{number}.txt" for number in range(24)]
            statuses = set(
                pool.map(lambda name: client.upload(name, name.encode(), exact=len(name) < 6).status_int, names)
            )
        assert statuses == {200}
        assert sorted(str(upload.object) for upload in honest.uploads) == stored(client)


def test_several_files_with_one_signature_are_all_reported(version: str) -> None:
    """The samples' pages reuse a form. The same file once more is the same upload."""
    honest = Honest(version)
    with honest.client as client:
        fields = client.sign().json["fields"]
        answers = [post_form(client, fields.items(), filename=name) for name in ("a.txt", "b.txt", "a.txt")]
        assert [answer.status_int for answer in answers] == [200, 200, 200]
        assert [upload.object for upload in honest.uploads] == ["users/eric/a.txt", "users/eric/b.txt"]


def test_only_reports_of_the_same_ticket_wait_for_a_handler() -> None:
    entered, go_on = threading.Event(), threading.Event()
    calls: list[str] = []

    def save(upload: Upload) -> dict[str, int]:
        calls.append(str(upload.object))
        if len(calls) == 1:
            entered.set()
            assert go_on.wait(60)
        return {"number": len(calls)}

    clock = FrozenClock()  # the tickets' clock: a later one would forget each answer at once
    site = Site(on_upload=save, clock=clock, ledger=MemoryLedger(clock=clock, wait_timeout=60))
    slow, quick = (callback_body(site.sign(filename="a.txt"), size=6) for _ in range(2))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(site.report, slow)
        assert entered.wait(60)
        again = pool.submit(site.report, slow)
        assert site.report(quick).json["number"] == 2
        go_on.set()
        assert first.result().json == again.result().json
    assert len(calls) == 2
