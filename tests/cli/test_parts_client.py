"""What `upload --resume` asks a server: tried again where that may help, and each refusal with its code."""

from __future__ import annotations

import threading
from email.message import Message
from typing import Any

import pytest

from oss_wsgi.cli import parts_client
from oss_wsgi.cli.http_client import Response, UnreachableError
from oss_wsgi.cli.parts_client import TRIES, AppRefusedError, PartsClient, StoppedError, StoredPart

ENDPOINT = "https://app.example.com/oss/signature?tenant=1"


def response(status: int, body: bytes = b"{}", **headers: str) -> Response:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Response(status, message, body, 0.0)


class Stop(threading.Event):
    """Records the waits, and waits not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        return self.is_set()


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests; the answers are taken from the end of `sent[0]`."""
    requests: list[Any] = [[]]

    def request(method: str, url: str, headers: Any = None, body: Any = None, **options: Any) -> Response:
        requests.append((method, url, dict(headers or {}), body))
        answer = requests[0].pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Response)
        return answer

    monkeypatch.setattr(parts_client, "request", request)
    return requests


@pytest.fixture
def client(stop: Stop) -> PartsClient:
    return PartsClient(ENDPOINT, {"Cookie": "s=1"}, 10.0, stop)


def test_requests_go_beside_the_signature_and_keep_its_query(client: PartsClient, sent: list[Any]) -> None:
    sent[0] += [response(200), response(200), response(200, b"[]"), response(200, b'{"url": "https://oss/"}')]
    client.limits()
    client.begin("a.bin", None, 5, 4)
    client.list_parts("ID_-", "user/a b&c")
    client.sign_part("ID_-", "user/a b&c", 3)
    base = "https://app.example.com/oss"
    assert [(method, url) for method, url, *_ in sent[1:]] == [
        ("GET", f"{base}/limits?tenant=1"),
        ("POST", f"{base}/s3/multipart?tenant=1"),
        ("GET", f"{base}/s3/multipart/ID_-?tenant=1&key=user%2Fa+b%26c"),
        ("GET", f"{base}/s3/multipart/ID_-/3?tenant=1&key=user%2Fa+b%26c"),
    ]
    assert all(headers["Cookie"] == "s=1" for _, _, headers, _ in sent[1:])
    assert sent[2][3] == b'{"filename": "a.bin", "type": "", "metadata": {}, "size": 5, "part_size": 4}'


def test_oss_gets_no_header_for_the_server(client: PartsClient, sent: list[Any]) -> None:
    sent[0].append(response(200))
    client.put("https://oss/", {"Content-Length": "1"}, [b"x"])
    assert sent[1] == ("PUT", "https://oss/", {"Content-Length": "1"}, [b"x"])


def test_what_fails_for_a_while_is_tried_again_ever_later(client: PartsClient, stop: Stop) -> None:
    answers = iter([UnreachableError("no"), response(503), response(429), response(500), response(200)])

    def send() -> Response:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert client.retried(send).status == 200
    assert len(stop.waits) == 4
    for wait, longest in zip(stop.waits, (0.5, 1.0, 2.0, 4.0), strict=True):
        assert longest / 2 <= wait <= longest


@pytest.mark.parametrize(("header", "least"), [("7", 7.0), ("999", 30.0), ("soon", 0.0)])
def test_retry_after_is_kept_within_reason(client: PartsClient, stop: Stop, header: str, least: float) -> None:
    answers = iter([response(503, Retry_After=header), response(200)])
    client.retried(lambda: next(answers))
    assert stop.waits[0] >= least
    assert stop.waits[0] <= max(least, 0.5)


def test_the_last_failure_is_returned_or_raised(client: PartsClient) -> None:
    calls: list[int] = []

    def fail() -> Response:
        calls.append(1)
        raise UnreachableError("no")

    with pytest.raises(UnreachableError):
        client.retried(fail)
    assert len(calls) == TRIES
    assert client.retried(lambda: response(503)).status == 503


def test_a_refusal_is_not_tried_again(client: PartsClient, stop: Stop, sent: list[Any]) -> None:
    sent[0].append(response(404, b'{"error": {"code": "upload_gone", "message": "gone\\u001b"}, "message": "gone"}'))
    with pytest.raises(AppRefusedError, match=r"^404 gone\\x1b$") as caught:
        client.list_parts("ID", "a")
    assert (caught.value.status, caught.value.code, stop.waits) == (404, "upload_gone", [])


def test_a_stop_ends_the_waiting(client: PartsClient, stop: Stop) -> None:
    stop.set()
    with pytest.raises(StoppedError):
        client.retried(lambda: response(503))
    with pytest.raises(StoppedError):
        client.limits()


def test_parts_are_read(client: PartsClient, sent: list[Any]) -> None:
    sent[0].append(response(200, b'[{"PartNumber": 2, "Size": 5, "ETag": "\\"abc\\""}]'))
    assert client.list_parts("ID", "a") == [StoredPart(2, 5, "ABC")]


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b"{}", b'[{"PartNumber": "x", "Size": 1, "ETag": ""}]', b"null"])
def test_another_answer_is_a_refusal(client: PartsClient, sent: list[Any], body: bytes) -> None:
    sent[0].append(response(200, body))
    with pytest.raises(AppRefusedError):
        client.list_parts("ID", "a")
    sent[0].append(response(200, body))
    with pytest.raises(AppRefusedError):
        client.sign_part("ID", "a", 1)
