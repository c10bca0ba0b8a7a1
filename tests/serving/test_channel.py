"""The waitress server: no busy loop, answers at once where it may, and everything else as waitress has it."""

from __future__ import annotations

import http.client
import importlib.metadata
import os
import re
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from waitress.server import create_server

from oss_wsgi.serving import channel
from oss_wsgi.serving.channel import make_server
from oss_wsgi.wsgi.responses import SECURITY_HEADERS

from ..absent import skip_or_fail

STOCK = "stock"
THREADS = "threads"
AT_ONCE = "at once"
TURNS = 500
OURS = dict(SECURITY_HEADERS)


class Site:
    """An application of many moods; it notes the threads that called it."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.spin: Callable[[Any], None] = lambda channel: None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        self.threads.add(threading.current_thread().name)
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


@contextmanager
def serve(site: Site, kind: str, **further: Any) -> Iterator[Any]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    options: dict[str, Any] = {"threads": 4, "ident": None, "connection_limit": 2000, **further}
    if kind == STOCK:
        server = create_server(site, sockets=[listener], **options)
    else:
        at_once = (lambda method, path, headers: path != "/spin") if kind == AT_ONCE else None
        server = make_server(site, listener, at_once, **options)
    thread = threading.Thread(target=server.run, name="loop")
    thread.start()
    try:
        yield server
    finally:
        server.task_dispatcher.shutdown()
        with server.trigger.lock:  # or the loop, awake for another reason, closes the trigger before it is pulled
            server.trigger.thunks.append(lambda: _close(server))
            server.trigger._physical_pull()
        thread.join(10)
    assert not thread.is_alive()


def _close(server: Any) -> None:
    for connection in list(server.active_channels.values()):
        connection.handle_close()
    server.asyncore.close_all(server._map, ignore_all=True)


@contextmanager
def connect(server: Any) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.effective_port, timeout=10)) as connection:
        yield connection


def turns_while_locked(kind: str) -> int:
    """Count the loop's turns while a thread, for a while, is adding to what it will send."""
    site = Site()
    with serve(site, kind) as server:
        turns = 0
        enough = threading.Event()
        readable = server.readable

        def counting() -> bool:
            nonlocal turns
            turns += 1
            if turns >= TURNS:
                enough.set()
            return bool(readable())

        def spin(channel: Any) -> None:
            nonlocal turns
            with channel.outbuf_lock:
                channel.total_outbufs_len += 1
                server.trigger.pull_trigger()
                turns = 0
                enough.clear()
                enough.wait(20 if kind == STOCK else 0.1)
                channel.total_outbufs_len -= 1

        server.readable, site.spin = counting, spin
        with connect(server) as connection:
            connection.request("GET", "/spin")
            assert connection.getresponse().read() == b"xxxxx"
        return turns


def test_the_loop_waits_for_a_thread_that_is_sending_where_waitress_spins() -> None:
    assert turns_while_locked(STOCK) >= TURNS
    # A turn takes a millisecond at least while it waits, and it waits for a tenth of a second.
    assert turns_while_locked(THREADS) < TURNS / 2
    assert turns_while_locked(AT_ONCE) < TURNS / 2


@pytest.mark.parametrize("ident", [None, "", "example"])
@pytest.mark.parametrize("kind", [THREADS, AT_ONCE])
def test_answers_are_waitresss_own(kind: str, ident: str | None) -> None:
    """Every answer has the same status, headers (but for the date) and body as from waitress as it is."""
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
                answers.append((response.status, headers, response.read()))
            seen.append(answers)
    assert seen[0] == seen[1]
    assert seen[0][5][2].endswith(b"38,39,")


def test_what_may_be_answered_at_once_is_answered_by_the_loop_and_all_else_by_a_thread() -> None:
    site = Site()
    with serve(site, AT_ONCE) as server, connect(server) as connection:
        for path, names in (("/", {"loop"}), ("/spin", {"waitress"})):
            site.threads.clear()
            connection.request("GET", path)
            connection.getresponse().read()
            assert {name.partition("-")[0] for name in site.threads} == names


@pytest.mark.parametrize("kind", [THREADS, AT_ONCE])
def test_pipelined_requests_are_answered_in_order(kind: str) -> None:
    targets = [f"/?{number}" if number % 3 else f"/spin?{number}" for number in range(1, 41)]
    with serve(Site(), kind) as server, socket.create_connection(("127.0.0.1", server.effective_port), 10) as client:
        client.sendall(b"".join(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for target in targets))
        with client.makefile("rb") as answers:
            for number in range(1, 41):
                assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
                headers = dict(line.split(b": ") for line in iter(answers.readline, b"\r\n"))
                assert headers[b"Content-Length"].strip() == b"%d" % number
                assert answers.read(number) == b"x" * number


@pytest.mark.parametrize("kind", [THREADS, AT_ONCE])
def test_a_client_that_reads_slowly_gets_all_and_keeps_nobody_waiting(kind: str) -> None:
    size = 8_000_000
    with serve(Site(), kind) as server, socket.create_connection(("127.0.0.1", server.effective_port), 10) as slow:
        slow.sendall(f"GET /?{size} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 3)
        with connect(server) as quick:
            for _ in range(20):
                quick.request("GET", "/")
                assert quick.getresponse().read() == b"xxxxx"
        got = 0
        while got < 3 * size:
            got += len(slow.recv(1 << 20))


@pytest.mark.parametrize("kind", [THREADS, AT_ONCE])
def test_a_request_that_comes_in_pieces_and_one_that_breaks_off(kind: str) -> None:
    with serve(Site(), kind) as server:
        port = server.effective_port
        for piece in (b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"):
            with socket.create_connection(("127.0.0.1", port), 10) as gone:
                gone.sendall(piece)
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            for byte in b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello":
                client.sendall(bytes([byte]))
            with client.makefile("rb") as answer:
                assert answer.read().endswith(b"\r\n\r\nhello")
        with socket.create_connection(("127.0.0.1", port), 10) as wrong:
            wrong.sendall(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n")
            with wrong.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 400")


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        skip_or_fail("3,000 file descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("kind", [THREADS, AT_ONCE])
def test_a_thousand_idle_connections_are_kept_and_one_more_is_served(kind: str) -> None:
    with serve(Site(), kind) as server:
        idle = [socket.create_connection(("127.0.0.1", server.effective_port), 10) for _ in range(1000)]
        with connect(server) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"xxxxx"
        idle[0].sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle[0].recv(4096).startswith(b"HTTP/1.1 200")
        for client in idle:
            client.close()


def test_a_small_answer_is_one_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send = channel._Channel.send

    def counting(channel: Any, data: bytes, do_close: bool = True) -> int:
        sent.append(len(data))
        return int(send(channel, data, do_close=do_close))

    monkeypatch.setattr(channel._Channel, "send", counting)
    with serve(Site(), AT_ONCE) as server, connect(server) as connection:
        connection.request("GET", "/nothing")
        connection.getresponse().read()
        connection.request("POST", "/?3")
        assert connection.getresponse().read() == b"xxx"
    assert len(sent) == 2


def test_an_answers_own_date_is_kept_and_ours_is_of_the_second() -> None:
    def dated(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        headers = [("Content-Length", "0")]
        start_response("200 OK", [*headers, ("date", "today")] if environ["PATH_INFO"] == "/own" else headers)
        return []

    with serve(dated, THREADS) as server, connect(server) as connection:  # type: ignore[arg-type]
        for path in ("/own", "/"):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            dates = response.headers.get_all("Date")
            assert dates == ["today"] or abs(_seconds(dates) - time.time()) < 60


def _seconds(dates: Any) -> float:
    (date,) = dates
    return parsedate_to_datetime(date).timestamp()


def test_the_version_of_waitress_is_the_installed_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = importlib.metadata.version("waitress")
    assert channel.waitress_version() == installed
    monkeypatch.setattr(channel.waitress, "__file__", str(tmp_path / "waitress" / "__init__.py"))
    assert channel.waitress_version() == installed


def test_an_unknown_waitress_serves_as_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(channel, "waitress_version", lambda: "4.0.0")
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = make_server(Site(), listener, lambda method, path, headers: True)
        assert not isinstance(server.channel_class, channel._Channel)
        assert server.channel_class is not channel._Channel
        server.task_dispatcher.shutdown()
        server.close()
    assert "4.0.0" in caplog.text


def test_of_many_requests_at_once_the_loop_answers_one_and_leaves_the_rest_to_threads() -> None:
    """Whoever pipelines would keep all other connections waiting."""
    site = Site()
    with serve(site, AT_ONCE) as server, socket.create_connection(("127.0.0.1", server.effective_port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        with client.makefile("rb") as answers:
            for _ in range(20):
                assert answers.readline().startswith(b"HTTP/1.1 200")
                while answers.readline() != b"\r\n":
                    pass
                answers.read(5)
        assert {name.partition("-")[0] for name in site.threads} == {"loop", "waitress"}


@pytest.mark.usefixtures("many_descriptors")
def test_a_descriptor_over_1023_is_served() -> None:
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with serve(Site(), AT_ONCE) as server, connect(server) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"xxxxx"
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_a_thread_makes_no_task_of_the_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next of two pipelined requests goes to a thread while the loop still is at the first."""
    made: list[tuple[str, str]] = []
    make = channel._Channel.task_class

    def noting(channel: Any, served: Any, request: Any) -> Any:
        task = make(channel, served, request)
        made.append((request.path, type(task).__name__))
        return task

    monkeypatch.setattr(channel._Channel, "task_class", noting)
    add_task = channel.ThreadedTaskDispatcher.add_task
    begun = threading.Event()

    def lingering(threads: Any, task: Any) -> None:
        add_task(threads, task)
        begun.wait(0.2)  # so that the thread is first

    monkeypatch.setattr(channel.ThreadedTaskDispatcher, "add_task", lingering)
    with serve(Site(), AT_ONCE) as server, socket.create_connection(("127.0.0.1", server.effective_port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /spin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while client.recv(4096):
            pass
    assert made == [("/", "LoopTask"), ("/spin", "_Task")]


class Noting:
    """A connection that notes what the loop does with it, and fails at one of the two."""

    def __init__(self, name: str, notes: list[str], fails: str = "", error: type[BaseException] = OSError) -> None:
        self.name, self.notes, self.fails, self.error = name, notes, fails, error

    def note(self, done: str) -> None:
        self.notes.append(f"{self.name} {done}")
        if done == self.fails:
            raise self.error

    def service(self) -> None:
        self.note("made")

    def send_answer(self) -> None:
        self.note("sent")

    def handle_error(self) -> None:
        self.note("failed")


MADE = ["one made", "two made", "three made"]
SENT = ["one sent", "two sent", "three sent"]


@pytest.mark.parametrize(
    ("fails", "error", "expected"),
    [
        ("", OSError, [*MADE, *SENT]),
        ("made", OSError, [*MADE[:2], "two failed", MADE[2], *SENT]),
        ("sent", OSError, [*MADE, *SENT[:2], "two failed", SENT[2]]),
        ("made", SystemExit, [*MADE[:2], *SENT]),
        ("sent", SystemExit, [*MADE, *SENT]),
        ("sent", KeyboardInterrupt, [*MADE, *SENT]),
    ],
)
def test_all_answers_are_made_before_the_first_is_sent_and_what_is_made_is_sent(
    fails: str, error: type[BaseException], expected: list[str]
) -> None:
    notes: list[str] = []
    channels: Any = [Noting("one", notes), Noting("two", notes, fails, error), Noting("three", notes)]
    with nullcontext() if issubclass(error, Exception) else pytest.raises(error):
        channel._answer(channels)
    assert notes == expected


@pytest.mark.parametrize("kind", [STOCK, THREADS, AT_ONCE])
def test_who_waits_with_a_body_hears_of_it_after_the_answer_before(kind: str) -> None:
    first = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    waiting = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    with serve(Site(), kind) as server, socket.create_connection(("127.0.0.1", server.effective_port), 10) as client:
        client.sendall(first + waiting)
        came = b""
        while b" 100 Continue" not in came:
            came += client.recv(4096)
        client.sendall(b"hi")
        while piece := client.recv(4096):
            came += piece
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"200", b"100", b"200"]


def test_who_waits_without_a_body_is_answered() -> None:
    with serve(Site(), AT_ONCE) as server, socket.create_connection(("127.0.0.1", server.effective_port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        came = b""
        while piece := client.recv(4096):
            came += piece
    assert re.findall(rb"HTTP/1.1 (\d+)", came) == [b"200", b"200"]


def test_an_answer_that_the_client_takes_in_pieces_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    send = channel._Channel.send
    monkeypatch.setattr(channel._Channel, "send", lambda channel, data, **how: send(channel, data[:7], **how))
    with serve(Site(), AT_ONCE) as server, connect(server) as connection:
        for _ in range(3):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"xxxxx"


def test_what_goes_wrong_with_one_connection_in_the_loop_ends_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    service = channel._Channel.service

    def failing(channel: Any) -> None:
        if channel.requests[0].path == "/unlucky":
            raise TimeoutError("the network is gone")
        service(channel)

    monkeypatch.setattr(channel._Channel, "service", failing)
    with serve(Site(), AT_ONCE) as server:
        with connect(server) as unlucky:
            unlucky.request("GET", "/unlucky")
            with pytest.raises(http.client.RemoteDisconnected):
                unlucky.getresponse()
        with connect(server) as connection:
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"xxxxx"


@pytest.mark.parametrize("kind", [STOCK, THREADS, AT_ONCE])
def test_an_answer_shorter_than_its_length_ends_the_connection(kind: str) -> None:
    def short(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "10")])
        return [b"short"]

    with (
        serve(short, kind) as server,  # type: ignore[arg-type]
        socket.create_connection(("127.0.0.1", server.effective_port), 10) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with client.makefile("rb") as answers:
            assert answers.read().endswith(b"\r\n\r\nshort")


@pytest.mark.parametrize("options", [{}, {"url_prefix": "/app"}, {"url_scheme": "https", "ident": "me"}])
def test_the_environ_is_waitresss_own(options: dict[str, Any]) -> None:
    def noting(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append({**environ, "wsgi.input": environ["wsgi.input"].read()})
        start_response("200 OK", [("Content-Length", "0")])
        return []

    requests = [
        b"GET //a%20b/?c=d HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\nRequest-Method: X\r\nX_Y: z\r\n\r\n",
        b"POST /app/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\nhello",
        b"GET /app HTTP/1.1\r\nCookie: a=b\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.0\r\nAuthorization: c\r\n\r\n",
    ]
    found = []
    for kind in (STOCK, AT_ONCE):
        seen: list[dict[str, Any]] = []
        with (
            serve(noting, kind, **options) as server,  # type: ignore[arg-type]
            socket.create_connection(("127.0.0.1", server.effective_port), 10) as client,
        ):
            for number, request in enumerate(requests, start=1):
                client.sendall(request)
                while len(seen) < number:
                    time.sleep(0.001)
        own = ("REMOTE_PORT", "SERVER_PORT", "waitress.client_disconnected")
        found.append([{name: value for name, value in each.items() if name not in own} for each in seen])
        assert all(set(own) <= each.keys() for each in seen)
    assert found[0] == found[1]
