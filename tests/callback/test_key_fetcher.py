"""HTTPSFetcher with a TLS server on loopback: only a 200, no redirect, limits of size and of the whole time."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oss_wsgi.callback.key_fetcher import HTTPSFetcher
from oss_wsgi.exceptions import FetchError

from ..support.certificate import certificate
from ..support.waiting import end_time_limits_at, wait_until

pytestmark = pytest.mark.slow

LONG = 60.0  # never reached
SHORT = 0.3
DEADLINE = 60.0

Answer = Callable[["Server", ssl.SSLSocket], None]


class Server:
    """Accepts one connection after another, reads the head of the request, and lets ``answer`` send the rest."""

    def __init__(self, context: ssl.SSLContext, answer: Answer) -> None:
        self._context = context
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/key.pem"
        self.requests: list[bytes] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(DEADLINE)
                with self._context.wrap_socket(connection, server_side=True) as secure:
                    self.requests.append(self._head(secure))
                    self._answer(self, secure)

    def _head(self, secure: ssl.SSLSocket) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += secure.recv(1) or b"\r\n\r\n"
        return head

    def close(self) -> None:
        self.stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.thread.join(DEADLINE)


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def trusting(own_certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(own_certificate))


@pytest.fixture
def serve(own_certificate: Path) -> Iterator[Callable[[Answer], Server]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_certificate)
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(context, answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def sends(data: bytes) -> Answer:
    return lambda server, secure: secure.sendall(data)


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def drip(head: bytes) -> Answer:
    """Send the head, then byte by byte until the other side hangs up."""

    def answer(server: Server, secure: ssl.SSLSocket) -> None:
        secure.sendall(head)
        while not server.stop.wait(0.02):
            secure.sendall(b"x")

    return answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (ok(b"PEM"), b"PEM"),
        (ok(b""), b""),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
    ],
    ids=["length", "empty", "until-close"],
)
def test_the_body_of_a_200_is_returned(
    answer: bytes, expected: bytes, serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    server = serve(sends(answer))
    assert HTTPSFetcher(context=trusting, timeout=LONG)(server.url) == expected


@pytest.mark.parametrize(
    ("end", "target"), [("/key.pem?a=%20#fragment", "/key.pem?a=%20"), ("/key.pem", "/key.pem"), ("", "/")]
)
def test_the_request_is_a_bare_get_with_path_and_query(
    end: str, target: str, serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    server = serve(sends(ok(b"PEM")))
    HTTPSFetcher(context=trusting, timeout=LONG)(server.url.replace("/key.pem", end))
    first, *headers = server.requests[0].decode().lower().split("\r\n")
    assert first == f"get {target} http/1.1"
    assert sorted(headers)[2:] == [
        "accept-encoding: identity",
        "accept: */*",
        f"host: {server.url[8:].removesuffix('/key.pem')}",
    ]


@pytest.mark.parametrize("status", ["204 No Content", "302 Found", "404 X"])
def test_any_other_status_is_an_error_and_no_redirect_is_followed(
    status: str, serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    head = f"HTTP/1.1 {status}\r\nLocation: /other.pem\r\n"
    length = "\r\n" if status.startswith("204") else "Content-Length: 3\r\n\r\nPEM"
    server = serve(sends((head + length).encode()))
    with pytest.raises(FetchError, match=f"answered {status[:3]}, not 200") as raised:
        HTTPSFetcher(context=trusting, timeout=LONG)(server.url)
    assert raised.value.status == int(status[:3])
    server.close()
    assert len(server.requests) == 1


def test_a_body_may_have_max_bytes_and_no_more(serve: Callable[[Answer], Server], trusting: ssl.SSLContext) -> None:
    server = serve(sends(ok(b"x" * 100)))
    assert HTTPSFetcher(context=trusting, timeout=LONG, max_bytes=100)(server.url) == b"x" * 100
    with pytest.raises(FetchError, match="more than 99 bytes"):
        HTTPSFetcher(context=trusting, timeout=LONG, max_bytes=99)(server.url)


def test_a_large_body_is_not_read_beyond_the_limit(serve: Callable[[Answer], Server], trusting: ssl.SSLContext) -> None:
    sent_all = threading.Event()

    def answer(server: Server, secure: ssl.SSLSocket) -> None:
        secure.sendall(ok(b"x" * 10_000_000))
        sent_all.set()

    server = serve(answer)
    with pytest.raises(FetchError, match="more than 8192 bytes") as raised:
        HTTPSFetcher(context=trusting, timeout=LONG)(server.url)
    assert raised.value.status is None
    server.close()
    assert not sent_all.is_set(), "somebody read ten megabytes"


@pytest.mark.parametrize(
    "answer",
    [
        b"not http\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ],
    ids=["not-http", "short-of-its-length", "short-of-its-chunk"],
)
def test_a_broken_response_is_an_error(
    answer: bytes, serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    with pytest.raises(FetchError):
        HTTPSFetcher(context=trusting, timeout=LONG)(serve(sends(answer)).url)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"],
    ids=["headers", "body", "body-until-close"],
)
def test_a_server_that_sends_byte_by_byte_is_cut_off(
    head: bytes, serve: Callable[[Answer], Server], trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, hung_up = threading.Event(), threading.Event()
    end_time_limits_at(sending, monkeypatch)

    def answer(server: Server, secure: ssl.SSLSocket) -> None:
        sending.set()
        try:
            drip(head)(server, secure)
        except OSError:
            hung_up.set()  # sending fails only after the other side has hung up

    server = serve(answer)
    with pytest.raises(FetchError, match="did not answer within"):
        HTTPSFetcher(context=trusting, timeout=LONG)(server.url)
    assert hung_up.wait(DEADLINE), "the thread still reads"


def test_a_connection_that_opens_too_late_is_not_used(
    serve: Callable[[Answer], Server], trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, close = http.client.HTTPSConnection.connect, http.client.HTTPSConnection.close
    too_late, closed = threading.Event(), threading.Event()
    own: list[http.client.HTTPSConnection] = []

    def connect_late(connection: http.client.HTTPSConnection) -> None:
        own.append(connection)
        connection.timeout = DEADLINE  # the whole call is late, not its socket
        connect(connection)
        assert too_late.wait(DEADLINE)

    def record_close(connection: http.client.HTTPSConnection) -> None:
        close(connection)
        if connection in own:  # a thread of an earlier test may close another one
            closed.set()

    monkeypatch.setattr(http.client.HTTPSConnection, "connect", connect_late)
    monkeypatch.setattr(http.client.HTTPSConnection, "close", record_close)
    server = serve(lambda server, secure: None)
    with pytest.raises(FetchError, match="did not answer within"):
        HTTPSFetcher(context=trusting, timeout=SHORT)(server.url)
    assert not closed.is_set()
    too_late.set()
    assert closed.wait(DEADLINE), "the thread still uses the connection"
    assert not any(b"GET" in request for request in server.requests)


def test_a_server_that_never_answers_the_handshake_is_an_error_and_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(FetchError):
            HTTPSFetcher(timeout=SHORT)(f"https://127.0.0.1:{silent.getsockname()[1]}/key.pem")
        wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_closed_port_is_an_error() -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(FetchError, match="Connection refused"):
            HTTPSFetcher(timeout=LONG)(f"https://127.0.0.1:{bound.getsockname()[1]}/key.pem")


def test_an_untrusted_certificate_is_an_error(serve: Callable[[Answer], Server]) -> None:
    server = serve(sends(ok(b"PEM")))
    with pytest.raises(FetchError, match="TLS failed: CERTIFICATE_VERIFY_FAILED"):
        HTTPSFetcher(timeout=LONG)(server.url)
    assert server.requests == []


def test_a_certificate_for_another_name_is_an_error(
    serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    server = serve(sends(ok(b"PEM")))
    with pytest.raises(FetchError, match="TLS failed: CERTIFICATE_VERIFY_FAILED"):
        HTTPSFetcher(context=trusting, timeout=LONG)(server.url.replace("127.0.0.1", "localhost"))
    assert server.requests == []


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("https:", "http:"),
        lambda url: "file:///etc/passwd",
        lambda url: "https:///key.pem",
    ],
    ids=["http", "file", "no-host"],
)
def test_only_https_is_fetched(change: Callable[[str], str], serve: Callable[[Answer], Server]) -> None:
    server = serve(sends(ok(b"PEM")))
    with pytest.raises(FetchError, match="Only https: URLs"):
        HTTPSFetcher(timeout=LONG)(change(server.url))
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://[::1/key.pem",
        "https://127.0.0.1:99999/key.pem",
        "https://127.0.0.1/key .pem",
        "https://127.0.0.1/钥.pem",
    ],
    ids=["bracket", "port", "blank", "chinese"],
)
def test_an_invalid_url_is_an_error(url: str) -> None:
    with pytest.raises(FetchError):
        HTTPSFetcher(timeout=LONG)(url)
