"""The loop and its connections: no busy loop, responses from the loop, everything else as stock waitress does it."""

from __future__ import annotations

import http.client
import os
import re
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from waitress.server import create_server

from oss_wsgi.serving import connection as connections
from oss_wsgi.serving import make_server
from oss_wsgi.wsgi.questions import HOLD_KEY
from oss_wsgi.wsgi.responses import SECURITY_HEADERS

from ..support.server_thread import Wrapped, polls_of, running
from ..support.waiting import wait_until

pytestmark = pytest.mark.slow

STOCK = "stock"
THREADS = "threads"
LOOP = "loop"
OURS = dict(SECURITY_HEADERS)


class Site:
    """An application whose path chooses its behaviour; it records the kind of thread of each call."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.spin: Callable[[Any], None] = lambda channel: None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.threads.append(threading.current_thread().name.partition("-")[0])
        path, size = environ["PATH_INFO"], int(environ["QUERY_STRING"] or 5)
        if path == "/broken":
            raise ValueError("broken")
        if path == "/stream":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return (b"%d," % number for number in range(size))
        if path == "/nothing":
            start_response("204 No Content", [])
            return []
        if path == "/spin":
            self.spin(environ["waitress.client_disconnected"].__self__)
        body = environ["wsgi.input"].read() or b"x" * size
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body[:3], body[3:]]


def wrap_sockets(monkeypatch: pytest.MonkeyPatch, wrapper: Callable[[Any], Any]) -> None:
    original = connections.Connection.__init__

    def wrapping(connection: Any, listener: Any, client: Any, *others: Any) -> None:
        original(connection, listener, wrapper(client), *others)

    monkeypatch.setattr(connections.Connection, "__init__", wrapping)


@contextmanager
def serve(site: Site, kind: str, **further: Any) -> Iterator[Any]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    options: dict[str, Any] = {"threads": 4, "ident": None, "connection_limit": 2000, **further}
    if kind == STOCK:
        server = create_server(site, sockets=[listener], **options)
    else:
        is_nonblocking = (lambda method, path, headers: path != "/spin") if kind == LOOP else None
        server = make_server(site, listener, is_nonblocking, **options)
    thread = threading.Thread(target=server.run, name="loop")
    thread.start()
    try:
        yield server
    finally:
        if kind == STOCK:
            server.task_dispatcher.shutdown()
            with server.trigger.lock:  # or the loop, awake for another reason, closes the trigger before it is pulled
                server.trigger.thunks.append(lambda: _close(server))
                server.trigger._physical_pull()
        else:
            server.drain(0)
        thread.join(60)
    assert not thread.is_alive()


def _close(server: Any) -> None:
    for connection in list(server.active_channels.values()):
        connection.handle_close()
    server.asyncore.close_all(server._map, ignore_all=True)


@contextmanager
def connect(server: Any) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.effective_port, timeout=60)) as connection:
        yield connection


@pytest.mark.parametrize("hangs_up", [False, True])
@pytest.mark.parametrize("kind", [THREADS, LOOP])
def test_the_loop_rests_while_a_thread_answers(kind: str, hangs_up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the client does meanwhile: what it sends waits, and a reset is not reported for ever."""
    site = Site()
    begun, rested = threading.Event(), threading.Event()

    def rest(connection: Any) -> None:
        begun.set()
        rested.wait(60)

    site.spin = rest
    with serve(site, kind) as server:
        with socket.create_connection(("127.0.0.1", server.effective_port), 60) as client:
            client.sendall(b"GET /spin HTTP/1.1\r\nHost: a\r\n\r\n")
            begun.wait(60)
            polls = polls_of(server)
            if hangs_up:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            else:
                client.sendall(b"GET /?7 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            with connect(server) as other:  # the loop has seen the client's deed when it has answered this
                for _ in range(3):
                    other.request("GET", "/")
                    other.getresponse().read()
            polls.clear()
            rested.wait(0.2)
            assert sum(timeout < 0.9 for timeout in polls) < 50  # sweeps are due once a second
            rested.set()
            if not hangs_up:
                with client.makefile("rb") as answers:
                    assert re.findall(rb"\r\n\r\n(x+)", answers.read()) == [b"xxxxx", b"xxxxxxx"]


@pytest.mark.parametrize("ident", [None, "", "example"])
@pytest.mark.parametrize("kind", [THREADS, LOOP])
def test_responses_equal_those_of_stock_waitress(kind: str, ident: str | None) -> None:
    """Status, headers (but for the date) and body are the same."""
    seen = []
    for each in (STOCK, kind):
        with serve(Site(), each, ident=ident) as server, connect(server) as connection:
            answers = []
            for method, target, body in (
                ("GET", "/?7", None),
                ("HEAD", "/?7", None),
                ("POST", "/", b"hello " * 5000),
                ("GET", "/?70000", None),
                ("GET", "/nothing", None),
                ("GET", "/stream?40", None),
                ("GET", "/broken", None),
            ):
                connection.request(method, target, body)
                response = connection.getresponse()
                headers = {name: value for name, value in response.getheaders() if name not in ("Date", *OURS)}
                if response.status == 500 and each != STOCK:
                    assert {name: response.getheader(name) for name in OURS} == OURS, "as on all our refusals"
                assert response.getheader("Date", "").endswith(" GMT")
                if response.status == 204 and each == STOCK:
                    assert headers.pop("Connection") == "close", "ours keeps the connection"
                answers.append((response.status, headers, response.read()))
            seen.append(answers)
    assert seen[0] == seen[1]
    assert seen[0][5][2].endswith(b"38,39,")


def test_the_loop_answers_nonblocking_requests_and_threads_the_others() -> None:
    """Each of two pipelined requests by itself."""
    site = Site()
    with serve(site, LOOP) as server, socket.create_connection(("127.0.0.1", server.effective_port), 60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /spin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while client.recv(4096):
            pass
    assert site.threads == ["loop", "request"]


@pytest.mark.parametrize("kind", [THREADS, LOOP])
def test_pipelined_requests_are_answered_in_order(kind: str) -> None:
    """More of them than a buffer holds."""
    targets = [f"/?{number}" if number % 3 else f"/spin?{number}" for number in range(1, 1001)]
    with serve(Site(), kind) as server, socket.create_connection(("127.0.0.1", server.effective_port), 60) as client:
        requests = [f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for target in targets]
        client.sendall(b"".join([*requests, b"no request\r\n\r\n"]))
        with client.makefile("rb") as answers:
            for number in range(1, 1001):
                assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                headers = dict(line.split(b": ") for line in iter(answers.readline, b"\r\n"))
                assert headers[b"Content-Length"].strip() == b"%d" % number
                assert answers.read(number) == b"x" * number
            assert answers.readline() == b"HTTP/1.0 400 Bad Request\r\n"


@pytest.mark.parametrize("kind", [THREADS, LOOP])
def test_a_slow_reader_gets_everything_and_delays_nobody(kind: str) -> None:
    size = 8_000_000
    with serve(Site(), kind) as server, socket.create_connection(("127.0.0.1", server.effective_port), 60) as slow:
        slow.sendall(f"GET /?{size} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 3)
        with connect(server) as quick:
            for _ in range(20):
                quick.request("GET", "/")
                assert quick.getresponse().read() == b"xxxxx"
        got = 0
        while got < 3 * size:
            got += len(slow.recv(1 << 20))


@pytest.mark.parametrize("kind", [THREADS, LOOP])
def test_requests_in_pieces_and_broken_off_requests(kind: str) -> None:
    with serve(Site(), kind) as server:
        port = server.effective_port
        for piece in (b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"):
            with socket.create_connection(("127.0.0.1", port), 60) as gone:
                gone.sendall(piece)
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            for byte in b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello":
                client.sendall(bytes([byte]))
            with client.makefile("rb") as answer:
                assert answer.read().endswith(b"\r\n\r\nhello")
        with socket.create_connection(("127.0.0.1", port), 60) as wrong:
            wrong.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n")
            with wrong.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 400")


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip(f"this machine allows {hard} file descriptors, and the test needs 3,000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("kind", [THREADS, LOOP])
def test_another_client_is_served_beside_a_thousand_idle_connections(kind: str) -> None:
    # The clock stands: on a busy machine so many connections may take longer than the first of them has.
    with serve(Site(), kind, clock=lambda: 0.0) as server:
        idle = [socket.create_connection(("127.0.0.1", server.effective_port), 60) for _ in range(1000)]
        with connect(server) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"xxxxx"
        idle[0].sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle[0].recv(4096).startswith(b"HTTP/1.1 200")
        for client in idle:
            client.close()


def test_a_small_response_is_one_send(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []

    class CountingSocket(Wrapped):
        def send(self, data: bytes, flags: int) -> int:
            sent.append(len(data))
            return int(self.wrapped.send(data, flags))

    wrap_sockets(monkeypatch, CountingSocket)
    with serve(Site(), LOOP) as server, connect(server) as connection:
        connection.request("GET", "/nothing")
        connection.getresponse().read()
        connection.request("POST", "/?3")
        assert connection.getresponse().read() == b"xxx"
    assert len(sent) == 2


@pytest.mark.parametrize("kind", [THREADS, LOOP])
def test_the_applications_date_is_kept_and_ours_is_current(kind: str) -> None:
    def dated(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [("Content-Length", "0")]
        start_response("200 OK", [*headers, ("date", "today")] if environ["PATH_INFO"] == "/own" else headers)
        return []

    with serve(dated, kind) as server, connect(server) as connection:  # type: ignore[arg-type]
        for path in ("/own", "/"):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            dates = response.headers.get_all("Date")
            assert dates == ["today"] or abs(_seconds(dates) - time.time()) < 600


def _seconds(dates: Any) -> float:
    (date,) = dates
    return parsedate_to_datetime(date).timestamp()


def test_the_loop_answers_one_pipelined_request_a_turn() -> None:
    """A client that pipelines must not delay the others."""
    site = Site()
    seen: list[int] = []
    with serve(site, LOOP) as server, socket.create_connection(("127.0.0.1", server.effective_port), 60) as client:
        polls = polls_of(server)
        server.application = lambda environ, start: seen.append(len(polls)) or site(environ, start)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        with client.makefile("rb") as answers:
            for _ in range(20):
                assert answers.readline().startswith(b"HTTP/1.1 200")
                while answers.readline() != b"\r\n":
                    pass
                answers.read(5)
    assert set(site.threads) == {"loop"}
    assert len(seen) == len(set(seen)) == 20


@pytest.mark.usefixtures("many_descriptors")
def test_a_descriptor_over_1023_is_served() -> None:
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with serve(Site(), LOOP) as server, connect(server) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"xxxxx"
    finally:
        for descriptor in held:
            os.close(descriptor)


@pytest.mark.parametrize("kind", [STOCK, THREADS, LOOP])
def test_100_continue_follows_the_response_before_it(kind: str) -> None:
    first = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    waiting = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    with serve(Site(), kind) as server, socket.create_connection(("127.0.0.1", server.effective_port), 60) as client:
        client.sendall(first + waiting)
        came = b""
        while b" 100 Continue" not in came:
            came += client.recv(4096)
        for letter in (b"h", b"i"):
            client.sendall(letter)
            time.sleep(0.02)  # so that they come one by one
        while piece := client.recv(4096):
            came += piece
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"200", b"100", b"200"]


def test_expect_without_a_body_is_answered_directly() -> None:
    with serve(Site(), LOOP) as server, socket.create_connection(("127.0.0.1", server.effective_port), 60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        came = b""
        while piece := client.recv(4096):
            came += piece
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"200", b"200"]


def test_a_response_sent_in_pieces_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class SmallSocket(Wrapped):
        def send(self, data: bytes, flags: int) -> int:
            return int(self.wrapped.send(data[:7], flags))

    wrap_sockets(monkeypatch, SmallSocket)
    with serve(Site(), LOOP) as server, connect(server) as connection:
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"xxxxx"


def test_an_error_of_one_connection_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = connections.Connection.answer

    def failing(connection: Any) -> None:
        if connection.request.path == "/unlucky":
            raise TimeoutError("the network is gone")
        answer(connection)

    monkeypatch.setattr(connections.Connection, "answer", failing)
    with serve(Site(), LOOP) as server:
        with connect(server) as unlucky:
            unlucky.request("GET", "/unlucky")
            with pytest.raises(ConnectionResetError):
                unlucky.getresponse()
        with connect(server) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"xxxxx"


@pytest.mark.parametrize("kind", [STOCK, THREADS, LOOP])
def test_a_response_shorter_than_its_length_ends_the_connection(kind: str) -> None:
    def short(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "10")])
        return [b"short"]

    with (
        serve(short, kind) as server,  # type: ignore[arg-type]
        socket.create_connection(("127.0.0.1", server.effective_port), 60) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with client.makefile("rb") as answers:
            assert answers.read().endswith(b"\r\n\r\nshort")


@pytest.mark.parametrize("kind", [THREADS, LOOP])
@pytest.mark.parametrize(
    ("version", "lines", "stays"),
    [
        ("1.1", b"Connection: TE, close\r\n", False),
        ("1.0", b"Connection: TE, Keep-Alive\r\n", True),
    ],
)
def test_connection_is_a_list_of_options(kind: str, version: str, lines: bytes, stays: bool) -> None:
    with (
        serve(Site(), kind) as server,
        socket.create_connection(("127.0.0.1", server.effective_port), 60) as client,
        client.makefile("rb") as answers,
    ):
        client.sendall(b"GET /?3 HTTP/%s\r\nHost: a\r\n%s\r\n" % (version.encode(), lines))
        for line in iter(answers.readline, b"\r\n"):
            assert not stays or line != b"Connection: close\r\n"
        assert answers.read(3) == b"xxx"
        if stays:
            client.sendall(b"GET /?5 HTTP/1.0\r\n\r\n")
        assert answers.read().endswith(b"xxxxx" if stays else b"")


def test_a_request_without_one_valid_host_is_400() -> None:
    for lines in (b"", b"Host: a\r\nHost: a\r\n", b"Host: a b\r\n"):
        with (
            serve(Site(), LOOP) as server,
            socket.create_connection(("127.0.0.1", server.effective_port), 60) as client,
            client.makefile("rb") as answers,
        ):
            client.sendall(b"GET / HTTP/1.1\r\n%s\r\n" % lines)
            assert answers.read().partition(b"\r\n")[0].endswith(b" 400 Bad Request")


@pytest.mark.parametrize("options", [{}, {"url_prefix": "/app"}, {"url_scheme": "https", "ident": "me"}])
def test_the_environ_equals_that_of_stock_waitress(options: dict[str, Any]) -> None:
    def noting(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append({**environ, "wsgi.input": environ["wsgi.input"].read()})
        start_response("200 OK", [("Content-Length", "0")])
        return []

    requests = [
        b"GET //a%20b/?c=d HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\nRequest-Method: X\r\nX_Y: z\r\n\r\n",
        b"POST /app/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\nhello",
        b"GET /app HTTP/1.1\r\nCookie: a=b\r\nHost: a\r\nX: a\r\nX: b\r\n\r\n",
        b"GET / HTTP/1.0\r\nAuthorization: c\r\n\r\n",
    ]
    found = []
    for kind in (STOCK, LOOP):
        seen: list[dict[str, Any]] = []
        with (
            serve(noting, kind, **options) as server,  # type: ignore[arg-type]
            socket.create_connection(("127.0.0.1", server.effective_port), 60) as client,
        ):
            for request in requests:
                client.sendall(request)
                assert b" 200 OK\r\n" in client.recv(65536)
                assert seen[-1]["REMOTE_PORT"] == str(client.getsockname()[1])
        own = ("REMOTE_PORT", "SERVER_PORT", "waitress.client_disconnected")
        ours = (*own, HOLD_KEY)
        found.append([{name: value for name, value in each.items() if name not in ours} for each in seen])
        assert all(set(own) <= each.keys() for each in seen)
    assert found[0] == found[1]


def test_a_peer_that_goes_before_100_continue_leaves_a_closed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its whole request has come, and is not handled; the connection is not forgotten twice."""
    seen: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ["PATH_INFO"])
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    class Gone(Wrapped):
        def send(self, *arguments: Any) -> int:
            raise ConnectionResetError

    wrap_sockets(monkeypatch, Gone)
    with running(application) as server, socket.create_connection(("127.0.0.1", server.effective_port), 60) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        assert client.recv(100) == b""
        wait_until(lambda: not server.connections)
    assert seen == []
