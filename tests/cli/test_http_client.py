"""One request: redirects are not followed, and each failure is one sentence."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from oss_wsgi.cli.http_client import (
    MAX_BYTES,
    Response,
    TooSlowError,
    UnreachableError,
    is_json,
    request,
)

from ..support.waiting import end_time_limits_at


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        yield bound


@contextlib.contextmanager
def answering(
    listener: socket.socket, response: bytes, then: Callable[[socket.socket], None] = lambda connection: None
) -> Iterator[threading.Thread]:
    """Answer one request with these bytes, in the thread that is yielded."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):  # the client hangs up after its limit
            connection.recv(65536)
            connection.sendall(response)
            then(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()


def get(listener: socket.socket, response: bytes) -> Response:
    with answering(listener, response):
        return request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/")


@pytest.mark.slow
def test_a_redirect_is_not_followed(listener: socket.socket) -> None:
    response = get(listener, b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    assert (response.status, response.headers["Location"]) == (302, "http://127.0.0.1:1/")


@pytest.mark.slow
def test_an_endless_response_is_cut(listener: socket.socket) -> None:
    assert len(get(listener, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BYTES + 9)).body) == MAX_BYTES


@pytest.mark.slow
def test_a_response_that_is_not_http_is_an_error(listener: socket.socket) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        get(listener, b"nonsense\r\n\r\n")


@pytest.mark.parametrize("url", ["http://[", "http://", "file:///etc/passwd", "http://127.0.0.1/\r\nA: b"])
def test_an_address_that_is_not_a_url_is_an_error(url: str) -> None:
    with pytest.raises(UnreachableError):
        request("GET", url)


@pytest.mark.slow
def test_a_timeout_names_the_server_without_a_password(listener: socket.socket) -> None:
    url = f"http://me:swordfish@127.0.0.1:{listener.getsockname()[1]}/"
    with pytest.raises(UnreachableError, match=r"did not answer within 0\.05 s") as error:
        request("GET", url, timeout=0.05)
    assert "swordfish" not in str(error.value)


@pytest.mark.slow
def test_a_tls_failure_is_an_error(listener: socket.socket) -> None:
    with answering(listener, b"HTTP/1.1 400 Bad Request\r\n\r\n"):
        with pytest.raises(UnreachableError, match="TLS failed"):
            request("GET", f"https://127.0.0.1:{listener.getsockname()[1]}/")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rest", "complete"),
    [
        (b"Content-Length: 2\r\n\r\n{}", True),
        (b"Content-Length: 9\r\n\r\n{}", False),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", False),
    ],
)
def test_a_body_that_breaks_off_is_incomplete(rest: bytes, complete: bool, listener: socket.socket) -> None:
    response = get(listener, b"HTTP/1.1 200 OK\r\n" + rest)
    assert (response.body, response.complete) == (b"{}", complete)


@pytest.mark.slow
@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_the_deadline_ends_a_slow_response(
    close: bytes, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, over = threading.Event(), threading.Event()
    end_time_limits_at(sending, monkeypatch)

    def drip(connection: socket.socket) -> None:
        while not over.wait(0.02):
            connection.sendall(b"x")
            sending.set()

    with answering(listener, b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: 9999\r\n\r\n", drip):
        with pytest.raises(TooSlowError, match=r"did not answer within 50 s"):
            request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=60.0, deadline=50.0)
        over.set()


@pytest.mark.slow
def test_an_early_refusal_of_a_large_body_is_read(listener: socket.socket) -> None:
    def body() -> Iterator[bytes]:
        yield b"x"
        thread.join()
        for _ in range(200):
            yield b"x" * 65536
            time.sleep(0.001)

    headers = {"Content-Length": str(200 * 65536 + 1)}
    refusal = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
    with answering(listener, refusal) as thread:
        response = request("POST", f"http://127.0.0.1:{listener.getsockname()[1]}/", headers, body())
    assert (response.status, response.body) == (400, b"no")


@pytest.mark.parametrize(
    ("body", "valid"),
    [
        *((body, True) for body in (b"1", b' {"a": null}\n')),
        *((body, False) for body in (b"", b"\xef\xbb\xbf{}", b"\xff", b"NaN", b"[" * 100_000)),
    ],
)
def test_json_as_oss_accepts_it(body: bytes, valid: bool) -> None:
    assert is_json(body) == valid
