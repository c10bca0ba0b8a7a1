"""Applications that break off or break the rules: 500 or a close, a log line, and the server goes on."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from waitress.channel import ClientDisconnected

from ..support.server_thread import REQUEST, connect, read_all, read_response, running, small
from ..support.waiting import wait_until

pytestmark = pytest.mark.slow

OK = "200 OK", [("Content-Length", "2")]


class Body:
    """Yields ``count`` letters, then raises; its close may raise too."""

    def __init__(self, count: int, error: BaseException, close_error: BaseException | None = None) -> None:
        self.count, self.error, self.close_error = count, error, close_error

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self.count:
            raise self.error
        self.count -= 1
        return b"x"

    def close(self) -> None:
        if self.close_error:
            raise self.close_error


class UnprintableError(BaseException):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


def raises(error: BaseException) -> Callable[[Any], Any]:
    def application(start_response: Any) -> Any:
        raise error

    return application


def raises_after_start(start_response: Any) -> Any:
    start_response(*OK)
    raise SystemExit


def starts(status: Any, *headers: tuple[Any, Any]) -> Callable[[Any], Any]:
    def application(start_response: Any) -> Any:
        start_response(status, [("Content-Length", "2"), *headers])
        return [b"ok"]

    return application


def answers(body: Any) -> Callable[[Any], Any]:
    def application(start_response: Any) -> Any:
        start_response(*OK)
        return body

    return application


def starts_twice(start_response: Any) -> Any:
    start_response(*OK)
    start_response(*OK)
    return [b"ok"]


ANSWERED_500: dict[str, Callable[[Any], Any]] = {
    **{
        type(error).__name__: raises(error)
        for error in (SystemExit(0), KeyboardInterrupt(), GeneratorExit(), MemoryError(), OSError("x"))
    },
    "an error that cannot be printed": raises(UnprintableError()),
    "after start_response": raises_after_start,
    "start_response twice": starts_twice,
    "no start_response": lambda start_response: [b"ok"],
    "no body": answers(None),
    "a body of text": answers(["ok"]),
    "while iterating": answers(Body(0, SystemExit())),
    "while iterating and closing": answers(Body(0, KeyboardInterrupt(), SystemExit())),
    "a status that is a number": starts(200),
    "a line break in the status": starts("200 OK\r\nX: y"),
    "a line break in a name": starts("200 OK", ("X\r\nY", "1")),
    "a line break in a value": starts("200 OK", ("X", "1\nY: 1")),
    "a carriage return in a value": starts("200 OK", ("X", "1\rY: 1")),
    "a value that is a number": starts("200 OK", ("X", 1)),
    "a header that HTTP lacks letters for": starts("200 OK", ("X", "\u4e00")),
    "a hop-by-hop header": starts("200 OK", ("Connection", "keep-alive")),
    "a transfer coding": starts("200 OK", ("Transfer-Encoding", "chunked")),
    "a length that is no number": starts("200 OK", ("Content-Length", "x")),
}


def answer_of(application: Callable[[Any], Any], in_loop: bool) -> bytes:
    """Return what a client reads to the end; afterwards the only thread, and the loop, must serve another client."""
    chosen = [application]

    def choose(environ: dict[str, Any], start_response: Any) -> Any:
        return chosen.pop()(start_response) if chosen else small(environ, start_response)

    with running(choose, in_loop=in_loop, threads=1) as server:
        with connect(server) as client:
            client.sendall(REQUEST)
            answer = read_all(client)
        wait_until(lambda: not server.connections)
        with connect(server) as client:
            client.sendall(REQUEST)
            read_response(client)
    return answer


@pytest.mark.parametrize(
    ("kind", "in_loop"),
    [*((kind, False) for kind in ANSWERED_500), *((kind, True) for kind in ("SystemExit", *list(ANSWERED_500)[5:]))],
)
def test_what_breaks_before_the_response_is_answered_500(
    kind: str, in_loop: bool, caplog: pytest.LogCaptureFixture
) -> None:
    answer = answer_of(ANSWERED_500[kind], in_loop)
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert "Exception while serving /" in caplog.text


@pytest.mark.parametrize("error", [ClientDisconnected(), ValueError()], ids=["gone", "broken"])
def test_no_line_shows_the_id_of_an_upload(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Nor a line break of the client's."""
    caplog.set_level(logging.INFO)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        raise error

    sealed = "aZ9_-" * 60
    for target in (f"/oss/s3/multipart/{sealed}/complete", f"/oss/s3/multipart/{sealed}%0AINFO:forged"):
        with running(application) as server, connect(server) as client:
            client.sendall(f"POST {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            read_all(client)
    lines = [record.getMessage() for record in caplog.records if " while serving " in record.getMessage()]
    assert [line.partition(" while serving ")[2] for line in lines] == [
        "/oss/s3/multipart/***/complete",
        "/oss/s3/multipart/***\\nINFO:forged",
    ]
    assert sealed not in caplog.text


@pytest.mark.parametrize("in_loop", [True, False], ids=["loop", "thread"])
@pytest.mark.parametrize("error", [StopIteration(), ValueError()], ids=["read", "broken"])
def test_a_body_is_closed(error: Exception, in_loop: bool) -> None:
    closed: list[bool] = []

    class Closed(Body):
        def close(self) -> None:
            closed.append(True)

    answer_of(answers(Closed(1, error)), in_loop)  # one byte less than announced, so that the connection ends
    assert closed == [True]


@pytest.mark.parametrize(
    "body",
    [Body(1, SystemExit()), Body(1, GeneratorExit(), KeyboardInterrupt()), Body(2, StopIteration(), SystemExit())],
    ids=["iterating", "both", "closing"],
)
def test_what_breaks_within_the_response_of_a_thread_ends_the_connection(
    body: Body, caplog: pytest.LogCaptureFixture
) -> None:
    count = body.count
    answer = answer_of(answers(body), in_loop=False)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n" + count * b"x")
    assert "Exception while serving /" in caplog.text


@pytest.mark.parametrize("in_loop", [True, False], ids=["loop", "thread"])
def test_exc_info_replaces_what_was_not_sent_and_ends_what_was(in_loop: bool) -> None:
    def application(start_response: Any, *, writes: bool) -> Any:
        write = start_response("200 OK", [("X-First", "1")])
        if writes:
            write(b"begun")
        try:
            raise ValueError
        except ValueError:
            start_response("400 Bad Request", [("Content-Length", "4"), ("X-Second", "1")], sys.exc_info())
        return Body(4, StopIteration())

    answer = answer_of(lambda start_response: closing(application, start_response, writes=False), in_loop)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"X-Second" in answer
    assert b"X-First" not in answer
    assert b"xxxx" not in answer_of(lambda start_response: application(start_response, writes=True), in_loop)


def closing(application: Any, start_response: Any, **options: Any) -> Any:
    """Call an application, and leave out one byte of its response, so that the connection must end."""
    body = application(start_response, **options)
    body.count -= 1
    return body


def test_is_nonblocking_that_exits_leaves_the_request_to_a_thread(caplog: pytest.LogCaptureFixture) -> None:
    threads: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        threads.append(threading.current_thread().name)
        return small(environ, start_response)

    with running(application, in_loop=lambda method, path, headers: sys.exit(3)) as server, connect(server) as client:
        client.sendall(REQUEST)
        read_response(client)
    assert "is_nonblocking failed" in caplog.text
    assert threads != ["loop"]


@pytest.mark.parametrize("in_loop", [True, False], ids=["loop", "thread"])
def test_a_body_in_response_to_head_is_not_sent(in_loop: bool) -> None:
    """The client would take it for the start of the next response (RFC 9110 section 9.3.2)."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/file" and "wsgi.file_wrapper" in environ:
            start_response("200 OK", [("Content-Length", "6")])
            return environ["wsgi.file_wrapper"](io.BytesIO(b"a body"))
        write = start_response("200 OK", [] if path == "/chunks" else [("Content-Length", "6")])
        if path == "/write":
            write(b"a bo")
            return [b"dy"]
        return iter([b"a bo", b"dy"]) if path in ("/pieces", "/chunks") else [b"a body"]

    with running(application, in_loop=in_loop) as server:
        for path in (b"/", b"/pieces", b"/write", b"/file"):
            head = b"HEAD " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n"
            with connect(server) as client:
                client.sendall(head * 2 + REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: Close\r\n\r\n"))
                first, second, third, body = read_all(client).split(b"\r\n\r\n")
            assert first.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Content-Length: 6" in first
            assert second.startswith(b"HTTP/1.1 200 OK\r\n")
            assert third.startswith(b"HTTP/1.1 200 OK\r\n")
            assert body == b"a body"
        with connect(server) as client:
            client.sendall(b"HEAD /chunks HTTP/1.1\r\nHost: a\r\n\r\n")
            assert read_all(client).endswith(b"\r\n\r\n")


@pytest.mark.parametrize("in_loop", [True, False], ids=["loop", "thread"])
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_response_that_never_has_a_body_keeps_the_connection(status: str, in_loop: bool) -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/":
            return small(environ, start_response)
        start_response(status, [("ETag", '"a"'), ("Content-Length", "0")])
        return []

    empty = b"OPTIONS /empty HTTP/1.1\r\nHost: a\r\n"
    with running(application, in_loop=in_loop) as server:
        with connect(server) as client:
            client.sendall(2 * (empty + b"\r\n") + REQUEST)
            first, second, third, _ = read_response(client).split(b"\r\n\r\n")
        assert third.startswith(b"HTTP/1.1 200 OK\r\n")
        for head in (first, second):
            assert head.startswith(b"HTTP/1.1 " + status.encode() + b"\r\n")
            assert not re.search(rb"(?i)\n(connection|content-length|transfer-encoding):", head)
        for version, close in ((b"1.1", b"Connection: Close\r\n"), (b"1.0", b"")):
            with connect(server) as client:
                client.sendall(empty.replace(b"1.1", version) + close + b"\r\n")
                assert b"Connection: close" in read_all(client)
