"""One request: no redirect is followed, and whatever goes wrong is one sentence without a password."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from oss_wsgi.cli.http_client import MAX_BYTES, Answer, TooSlowError, UnreachableError, request


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        yield bound


def asked(listener: socket.socket, answer: bytes) -> Answer:
    """Answer one request with these bytes."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            with contextlib.suppress(OSError):  # who has read enough hangs up
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        return request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/")
    finally:
        thread.join()


def test_a_redirect_is_an_answer(listener: socket.socket) -> None:
    answer = asked(listener, b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    assert (answer.status, answer.headers["Location"]) == (302, "http://127.0.0.1:1/")


def test_an_endless_answer_is_cut(listener: socket.socket) -> None:
    assert len(asked(listener, b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BYTES + 9)).body) == MAX_BYTES


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n"])
def test_what_is_no_http_is_said(answer: bytes, listener: socket.socket) -> None:
    with pytest.raises(UnreachableError, match="cannot be reached"):
        asked(listener, answer)


@pytest.mark.parametrize(
    "url", ["http://[", "http://", "file:///etc/passwd", "x", "http://127.0.0.1:99999/", "http://127.0.0.1/\r\nA: b"]
)
def test_what_is_no_url_is_said(url: str) -> None:
    with pytest.raises(UnreachableError):
        request("GET", url)


def test_who_does_not_answer_is_named_without_a_password(listener: socket.socket) -> None:
    url = f"http://me:swordfish@127.0.0.1:{listener.getsockname()[1]}/"
    with pytest.raises(UnreachableError, match=r"did not answer within 0\.05 s") as error:
        request("GET", url, timeout=0.05)
    assert "swordfish" not in str(error.value)


def test_tls_that_fails_is_said(listener: socket.socket) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(UnreachableError, match="TLS failed"):
        request("GET", f"https://127.0.0.1:{listener.getsockname()[1]}/")
    thread.join()


def test_a_body_that_is_shorter_than_announced_is_not_complete(listener: socket.socket) -> None:
    answer = asked(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")
    assert (answer.body, answer.complete) == (b"{}", False)


def test_chunks_that_break_off_are_not_complete(listener: socket.socket) -> None:
    answer = asked(listener, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
    assert (answer.body, answer.complete) == (b"{}", False)


def test_a_body_of_its_length_is_complete(listener: socket.socket) -> None:
    assert asked(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").complete


@pytest.mark.parametrize("close", [b"", b"Connection: close\r\n"])
def test_an_answer_that_drips_in_is_ended_by_the_deadline(close: bytes, listener: socket.socket) -> None:
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + close + b"Content-Length: 9999\r\n\r\n")
            while not over.wait(0.02):
                connection.sendall(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(TooSlowError, match=r"did not answer within 0\.3 s"):
        request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/", deadline=0.3)
    over.set()
    thread.join()


def test_a_refusal_that_comes_before_the_body_is_sent_is_read(listener: socket.socket) -> None:
    """The connection is reset under a body that nobody reads."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")

    def body() -> Iterator[bytes]:
        yield b"x"
        thread.join()
        for _ in range(200):
            yield b"x" * 65536
            time.sleep(0.001)

    thread = threading.Thread(target=serve)
    thread.start()
    headers = {"Content-Length": str(200 * 65536 + 1)}
    answer = request("POST", f"http://127.0.0.1:{listener.getsockname()[1]}/", headers, body())
    assert (answer.status, answer.body) == (400, b"no")
