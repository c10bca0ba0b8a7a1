"""HTTPSFetcher against a real TLS server on loopback: 200 only, no redirect, capped, timed as a whole."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from oss_wsgi.callback.key_fetcher import HTTPSFetcher
from oss_wsgi.exceptions import FetchError

PATIENT = 30.0  # never reached
SHORT = 0.3
JOIN = 10.0

Answer = Callable[["Server", ssl.SSLSocket], None]


class Server:
    """Accepts connections one after the other, reads the request's head and lets ``answer`` say the rest."""

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
                connection.settimeout(JOIN)
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
        self.thread.join(JOIN)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1, signed by itself, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(
        made.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return file


@pytest.fixture(scope="module")
def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def serve(certificate: Path) -> Iterator[Callable[[Answer], Server]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    servers: list[Server] = []

    def start(answer: Answer) -> Server:
        servers.append(Server(context, answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def says(data: bytes) -> Answer:
    return lambda server, secure: secure.sendall(data)


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def drip(head: bytes) -> Answer:
    """Say the head, then a byte now and then until the other side hangs up."""

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
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
    ],
    ids=["length", "empty", "until-close", "chunked"],
)
def test_the_body_of_a_200_is_given(
    answer: bytes, expected: bytes, serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    server = serve(says(answer))
    assert HTTPSFetcher(context=trusting, timeout=PATIENT)(server.url) == expected


def test_the_request_is_a_bare_get_with_path_and_query(
    serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    server = serve(says(ok(b"PEM")))
    HTTPSFetcher(context=trusting, timeout=PATIENT)(f"{server.url}?a=%20#fragment")
    lines = server.requests[0].decode().split("\r\n")
    assert lines[0] == "GET /key.pem?a=%20 HTTP/1.1"
    assert {line.partition(":")[0].lower() for line in lines[1:] if line} == {"host", "accept", "accept-encoding"}


@pytest.mark.parametrize(
    "status",
    ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent", "204 No Content", "404 X", "503 X"],
)
def test_anything_but_200_is_refused_and_no_redirect_is_followed(
    status: str, serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    head = f"HTTP/1.1 {status}\r\nLocation: /other.pem\r\n"
    length = "\r\n" if status.startswith("204") else "Content-Length: 3\r\n\r\nPEM"
    server = serve(says((head + length).encode()))
    with pytest.raises(FetchError, match=f"answered {status[:3]}, not 200") as caught:
        HTTPSFetcher(context=trusting, timeout=PATIENT)(server.url)
    assert caught.value.status == int(status[:3])
    server.close()
    assert len(server.requests) == 1


def test_a_body_may_have_just_so_many_bytes(serve: Callable[[Answer], Server], trusting: ssl.SSLContext) -> None:
    server = serve(says(ok(b"x" * 100)))
    assert HTTPSFetcher(context=trusting, timeout=PATIENT, max_bytes=100)(server.url) == b"x" * 100
    with pytest.raises(FetchError, match="more than 99 bytes"):
        HTTPSFetcher(context=trusting, timeout=PATIENT, max_bytes=99)(server.url)


def test_a_body_without_end_is_cut_at_the_cap(serve: Callable[[Answer], Server], trusting: ssl.SSLContext) -> None:
    def answer(server: Server, secure: ssl.SSLSocket) -> None:
        secure.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        while not server.stop.is_set():
            secure.sendall(b"x" * 65536)

    with pytest.raises(FetchError, match="more than 8192 bytes"):
        HTTPSFetcher(context=trusting, timeout=PATIENT)(serve(answer).url)


def test_of_ten_megabytes_no_more_than_the_cap_is_read(
    serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    sent_all = threading.Event()

    def answer(server: Server, secure: ssl.SSLSocket) -> None:
        secure.sendall(ok(b"x" * 10_000_000))
        sent_all.set()

    server = serve(answer)
    with pytest.raises(FetchError, match="more than 8192 bytes") as caught:
        HTTPSFetcher(context=trusting, timeout=PATIENT)(server.url)
    assert caught.value.status is None
    server.close()
    assert not sent_all.is_set(), "somebody read ten megabytes"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not http\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 " + b"x" * 100_000,
    ],
    ids=["nothing", "not-http", "short-of-its-length", "short-of-its-chunk", "headers-without-end", "long-status"],
)
def test_a_broken_answer_is_a_fetch_error(
    answer: bytes, serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    with pytest.raises(FetchError):
        HTTPSFetcher(context=trusting, timeout=PATIENT)(serve(says(answer)).url)


@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n"],
    ids=["headers", "body", "body-until-close"],
)
def test_a_slow_drip_is_bounded_and_its_connection_ended(
    head: bytes, serve: Callable[[Answer], Server], trusting: ssl.SSLContext
) -> None:
    ended = threading.Event()

    def answer(server: Server, secure: ssl.SSLSocket) -> None:
        try:
            drip(head)(server, secure)
        except OSError:
            ended.set()  # only a side that hung up makes sending fail

    server = serve(answer)
    with pytest.raises(FetchError, match="did not answer within"):
        HTTPSFetcher(context=trusting, timeout=SHORT)(server.url)
    assert ended.wait(JOIN), "the thread still reads"


def test_a_server_that_never_answers_the_handshake_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(FetchError):
        HTTPSFetcher(timeout=SHORT)(f"https://127.0.0.1:{silent.getsockname()[1]}/key.pem")


def test_a_port_where_nobody_listens_is_a_fetch_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(FetchError, match="ConnectionRefusedError"):
        HTTPSFetcher(timeout=PATIENT)(f"https://127.0.0.1:{port}/key.pem")


def test_a_certificate_that_nobody_vouches_for_is_refused(serve: Callable[[Answer], Server]) -> None:
    server = serve(says(ok(b"PEM")))
    with pytest.raises(FetchError, match="SSLCertVerificationError"):
        HTTPSFetcher(timeout=PATIENT)(server.url)
    assert server.requests == []


def test_a_certificate_for_another_name_is_refused(serve: Callable[[Answer], Server], trusting: ssl.SSLContext) -> None:
    server = serve(says(ok(b"PEM")))
    with pytest.raises(FetchError, match="SSLCertVerificationError"):
        HTTPSFetcher(context=trusting, timeout=PATIENT)(server.url.replace("127.0.0.1", "localhost"))
    assert server.requests == []


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("https:", "http:"),
        lambda url: url.replace("https:", "ftp:"),
        lambda url: url.replace("https:", ""),
        lambda url: url.replace("https://", ""),
        lambda url: "file:///etc/passwd",
        lambda url: "https:///key.pem",
        lambda url: "",
    ],
    ids=["http", "ftp", "no-scheme", "no-slashes", "file", "no-host", "empty"],
)
def test_nothing_but_https_is_fetched(change: Callable[[str], str], serve: Callable[[Answer], Server]) -> None:
    server = serve(says(ok(b"PEM")))
    with pytest.raises(FetchError, match="Only https: URLs"):
        HTTPSFetcher(timeout=PATIENT)(change(server.url))
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "https://[::1/key.pem",
        "https://127.0.0.1:99999/key.pem",
        "https://127.0.0.1:x/key.pem",
        "https://127.0.0.1 x/key.pem",
        "https://127.0.0.1/key .pem",
        "https://127.0.0.1/钥.pem",
    ],
    ids=["bracket", "port", "port-not-a-number", "blank-in-host", "blank-in-path", "chinese"],
)
def test_what_is_no_url_is_a_fetch_error(url: str) -> None:
    with pytest.raises(FetchError):
        HTTPSFetcher(timeout=PATIENT)(url)
