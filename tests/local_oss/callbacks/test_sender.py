import contextlib
import logging
import socket
import ssl
import threading
from dataclasses import replace

import pytest
from webtest.lint import middleware as lint

from local_oss.callbacks.parameters import parse_callback_url
from local_oss.callbacks.sender import (
    MAX_REPLY_SIZE,
    CallbackError,
    CallbackReply,
    CallbackRequest,
    HTTPTransport,
    WSGITransport,
    accepted_body,
    is_certificate_of,
    webob_request,
)

from ...support.certificate import certificate


def reply(body=b'{"a":1}', status=200, length=None):
    return CallbackReply(status, {"content-length": str(len(body)) if length is None else length}, body)


@pytest.mark.parametrize("body", [b'{"a":1}', b"[]", b"1", b"null", '"中"'.encode(), b' {"a": "\\ud83d"} '])
def test_a_json_reply_is_relayed_byte_for_byte(body):
    assert accepted_body(reply(body)) == body


@pytest.mark.parametrize(
    ("answer", "message", "ec"),
    [
        pytest.param(reply(status=201), "Error status : 201.", "203", id="201"),
        pytest.param(reply(status=500), "Error status : 500.", "203", id="500"),
        pytest.param(
            CallbackReply(200, {}, b"{}"),
            "Error Status : 400.User server missing content-length.",
            "203",
            id="no length",
        ),
        *(
            pytest.param(
                reply(length=length),
                "Error Status : 400.User server return invalid conent-length value.",
                "203",
                id=f"length {length!a}",
            )
            for length in ("0", "-1", "x", "", "7, 7", "٧")
        ),
        *(
            pytest.param(
                reply(length=length),
                "Error Status : 400.User server return too long content-length value.",
                "203",
                id=f"length {length}",
            )
            for length in (str(MAX_REPLY_SIZE + 1), "9" * 30)
        ),
        pytest.param(reply(length="8"), "Error status : 502.", "203", id="cut"),
        *(
            pytest.param(reply(body), "Response body is not valid json format.", "205", id=ascii(body))
            for body in (b"OK", b'\xef\xbb\xbf{"a":1}', b'{"a":NaN}', b"\xff", b"<a/>", b"[" * 100000)
        ),
    ],
)
def test_any_other_reply_is_an_error_with_the_text_of_oss(answer, message, ec):
    with pytest.raises(CallbackError) as caught:
        accepted_body(answer)
    assert (caught.value.message, caught.value.ec) == (message, f"0007-00000{ec}")


def test_a_reply_of_1_megabyte_is_relayed():
    body = b'"' + b"x" * (MAX_REPLY_SIZE - 2) + b'"'
    assert accepted_body(reply(body)) == body


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Peer:
    """A server for one connection: records what it reads, sends its answer, then hangs up or waits."""

    def __init__(self, *answer, hang=False, pause=0.0, until=b"\r\n\r\nabc", tls=None):
        self._answer, self._hang, self._pause, self._until, self._tls = answer, hang, pause, until, tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(30)
        self.port = self._socket.getsockname()[1]
        self.received = b""
        self.released = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        # A client that refuses the certificate, or has waited long enough, breaks off.
        with (
            contextlib.suppress(OSError),
            self._socket,
            self._socket.accept()[0] as accepted,
            self._secured(accepted) as connection,
        ):
            while self._until not in self.received and (data := connection.recv(65536)):
                self.received += data
            for part in self._answer:
                connection.sendall(part)
                self.released.wait(self._pause)
            if self._hang:
                self.released.wait(30)

    def _secured(self, connection):
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def close(self):
        self.released.set()
        self._thread.join()


@pytest.fixture
def peer():
    peers = []

    def start(*answer, **options):
        peers.append(Peer(*answer, **options))
        return peers[-1]

    yield start
    for server in peers:
        server.close()


def request(port, scheme="http"):
    headers = [("Host", "app.example"), ("Content-Length", "3"), ("x-oss-tag", "CALLBACK")]
    return CallbackRequest(parse_callback_url(f"{scheme}://127.0.0.1:{port}/a%20b?c=%2F"), headers, b"abc")


def send(port, *, timeout=30.0, **options):
    return HTTPTransport(timeout)(request(port, **options))


@pytest.mark.slow
def test_the_request_is_sent_as_it_was_signed(peer):
    server = peer(OK)
    send(server.port)
    assert server.received == (
        b"POST /a%20b?c=%2F HTTP/1.1\r\nHost: app.example\r\nContent-Length: 3\r\nx-oss-tag: CALLBACK\r\n\r\nabc"
    )


@pytest.mark.slow
def test_status_headers_and_body_are_returned(peer):
    reply = send(peer(OK).port)
    assert (reply.status, reply.body) == (200, b"{}")
    assert reply.headers == {"content-type": "application/json", "content-length": "2"}


@pytest.mark.slow
def test_nothing_is_read_beyond_the_content_length(peer):
    assert send(peer(OK + b"more", hang=True).port).body == b"{}"


@pytest.mark.slow
def test_a_redirect_is_not_followed(peer):
    answer = b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    assert send(peer(answer).port).status == 301


@pytest.mark.slow
def test_a_chunked_reply_has_no_length(peer):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    assert "content-length" not in send(peer(answer).port).headers


@pytest.mark.slow
def test_a_reply_without_a_length_is_not_waited_for(peer):
    reply = send(peer(b"HTTP/1.1 200 OK\r\n\r\n{}", hang=True).port)
    assert (reply.headers, reply.body) == ({}, b"")


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([], id="nothing"),
        pytest.param([b"HTTP/1.1 200 OK\r\n"], id="half a head"),
        pytest.param([OK[:-1]], id="half a body"),
    ],
)
def test_a_silent_peer_times_out(peer, answer):
    server = peer(*answer, hang=True)
    with pytest.raises(CallbackError) as caught:
        send(server.port, timeout=0.2)
    assert caught.value.message == (
        f"Error status : -1 127.0.0.1:{server.port} reply timeout, cost:200ms, timeout:200ms"
        " (err -4, errno115, Operation now in progress)."
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="hung up"),
        pytest.param(b"hello\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000 + b"\r\n\r\n", id="endless header"),
    ],
)
def test_a_reply_that_is_not_http_is_a_bad_gateway(peer, answer):
    with pytest.raises(CallbackError, match=r"^Error status : 502\.$"):
        send(peer(answer).port)


@pytest.mark.slow
def test_a_cut_body_is_a_bad_gateway(peer):
    with pytest.raises(CallbackError, match=r"^Error status : 502\.$"):
        send(peer(OK[:-1]).port)


@pytest.mark.slow
def test_the_timeout_is_for_the_whole_exchange(peer):
    server = peer(*(bytes([byte]) for byte in OK), pause=0.05)
    with pytest.raises(CallbackError, match="reply timeout"):
        send(server.port, timeout=0.2)


def test_connecting_counts_for_the_timeout():
    with pytest.raises(CallbackError, match=r"127\.0\.0\.1:1 reply timeout, cost:0ms"):
        send(1, timeout=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("length", [b"x", b"-1", b"0", b"9999999"])
def test_a_body_with_a_refused_length_is_not_waited_for(peer, length):
    reply = send(peer(b"HTTP/1.1 200 OK\r\nContent-Length: " + length + b"\r\n\r\n{", hang=True).port)
    assert (reply.headers["content-length"], reply.body) == (length.decode(), b"")


@pytest.mark.slow
def test_a_peer_without_tls_is_a_bad_gateway(peer):
    # A TLS handshake begins with the byte 16.
    server = peer(b"HTTP/1.1 400 Bad Request\r\n\r\n", until=b"\x16")
    with pytest.raises(CallbackError, match=r"^Error status : 502\.$"):
        send(server.port, scheme="https")


@pytest.fixture(scope="module")
def own_certificate(tmp_path_factory):
    """Return the path of a self-signed certificate for 127.0.0.1 and localhost, with its key."""
    return certificate(tmp_path_factory.mktemp("tls"), names=["localhost"])


@pytest.fixture
def named_peer(peer, own_certificate):
    """Return a peer with TLS, and the list of the names that clients send it in the handshake."""
    sni_names = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_certificate)
    context.sni_callback = lambda connection, name, _: sni_names.append(name)
    return peer(OK, tls=context), sni_names


@pytest.mark.slow
@pytest.mark.parametrize(("sni", "expected"), [(True, "localhost"), (False, None)])
def test_sni_is_sent_only_if_the_callback_says_so(named_peer, own_certificate, sni, expected):
    server, sni_names = named_peer
    url = parse_callback_url(f"https://localhost:{server.port}/")
    transport = HTTPTransport(30.0, tls=lambda: ssl.create_default_context(cafile=str(own_certificate)))
    assert transport(CallbackRequest(url, [], b"abc", sni)).status == 200
    assert sni_names == [expected]


@pytest.mark.slow
def test_without_sni_the_certificate_is_still_checked(named_peer, own_certificate):
    server, _ = named_peer
    # Another spelling of 127.0.0.1, which the certificate does not have.
    url = replace(parse_callback_url(f"https://localhost:{server.port}/"), host="127.1")
    transport = HTTPTransport(30.0, tls=lambda: ssl.create_default_context(cafile=str(own_certificate)))
    with pytest.raises(CallbackError, match=r"^Error status : 502\.$"):
        transport(CallbackRequest(url, [], b"abc"))
    assert server.received == b""


@pytest.fixture
def secure_peer(peer, own_certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own_certificate)
    return lambda *answer: peer(*answer, tls=context)


@pytest.mark.slow
def test_a_refused_connection_has_its_own_message():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(CallbackError, match="OSS can not connect to your callbackUrl, please check it"):
        send(port)


@pytest.mark.slow
def test_an_untrusted_certificate_is_a_bad_gateway(secure_peer):
    server = secure_peer(OK)
    with pytest.raises(CallbackError, match=r"^Error status : 502\.$"):
        send(server.port, scheme="https")
    assert server.received == b""


@pytest.mark.parametrize(
    ("host", "is_its"),
    [
        ("a.example", True),
        ("A.Example", True),
        ("x.b.example", True),
        ("b.example", False),
        ("y.x.b.example", False),
        ("c.example", False),
        ("192.0.2.1", False),
        ("example", False),
    ],
)
def test_a_certificate_is_valid_for_its_names(host, is_its):
    listed = [("DNS", "a.example"), ("DNS", "*.B.example"), ("IP Address", "192.0.2.1")]
    assert is_certificate_of(host, {"subjectAltName": tuple(listed)}) is is_its


def test_a_certificate_without_names_is_not_valid():
    assert not is_certificate_of("a.example", {})


HEADERS = [
    ("Host", "other.example"),
    ("Content-Length", "3"),
    ("Content-Type", "application/json"),
    ("Authorization", "c2ln"),
    ("x-oss-pub-key-url", "a2V5"),
    ("x-oss-additional-headers", ""),
]


def wsgi_request(url="https://app.example:8443/a%20b/%E4%B8%AD+?c=%2F+d"):
    return CallbackRequest(parse_callback_url(url), HEADERS, b"abc")


def test_the_environ_is_like_that_of_a_server():
    environ = webob_request(wsgi_request()).environ
    strings = {name: value for name, value in environ.items() if "." not in name}
    assert strings == {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/a%20b/%E4%B8%AD+?c=%2F+d",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/中+".encode().decode("latin-1"),
        "QUERY_STRING": "c=%2F+d",
        "SERVER_NAME": "app.example",
        "SERVER_PORT": "8443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": "3",
        "CONTENT_TYPE": "application/json",
        "HTTP_HOST": "other.example",
        "HTTP_AUTHORIZATION": "c2ln",
        "HTTP_X_OSS_PUB_KEY_URL": "a2V5",
        "HTTP_X_OSS_ADDITIONAL_HEADERS": "",
    }
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["wsgi.input"].read() == b"abc"


def test_the_response_is_collected_and_closed(recorder):
    recorder.body = b"{}"
    reply = WSGITransport(lint(recorder))(wsgi_request())
    assert reply == CallbackReply(200, {"content-type": "application/json", "content-length": "2"}, b"{}")
    assert recorder.closed == 1


def test_a_response_by_write_is_collected():
    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Length", "2")])
        write(b"{")
        return [b"}"]

    assert WSGITransport(app)(wsgi_request()).body == b"{}"


def test_start_response_may_come_with_the_first_part():
    def app(environ, start_response):
        start_response("418 Teapot", [])
        yield b""

    assert WSGITransport(app)(wsgi_request()).status == 418


def crashes(environ, start_response):
    raise RuntimeError("boom")


def crashes_later(environ, start_response):
    start_response("200 OK", [])
    yield b"{"
    raise RuntimeError("boom")


def stays_silent(environ, start_response):
    return []


@pytest.mark.parametrize("app", [crashes, crashes_later, stays_silent])
def test_an_application_that_fails_is_a_500(app, caplog):
    with caplog.at_level(logging.ERROR, "local_oss"):
        assert WSGITransport(app)(wsgi_request()) == CallbackReply(500)
    assert len(caplog.records) == 1
