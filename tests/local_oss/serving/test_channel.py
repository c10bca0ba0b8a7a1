import base64
import hashlib
import http.client
import io
import re
import time
import types
from contextlib import closing

import pytest

from local_oss import LocalOSSServer, environ
from local_oss.forms.form import FormInput
from local_oss.serving import channel
from local_oss.serving.channel import RequestBody

from ...support.waiting import wait_until
from ..form_client import BOUNDARY, form
from ..socket_client import TIMEOUT, ask, connect, head, put, put_headers, read_to_end, signed_fields

pytestmark = pytest.mark.slow

FORM = f"multipart/form-data; boundary={BOUNDARY}"
GIB = 1024**3
ORIGIN = "http://page.example"


@pytest.fixture
def keep_alive(server):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT)) as connection:

        def ask_again(method, path, body=None, headers=None):
            previous = connection.sock
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            response.read()
            assert previous in (None, connection.sock), "the connection was closed"
            return response

        yield ask_again


def test_header_names_are_written_as_oss_writes_them(local, server):
    response, _ = put(local, server, "a", b"hi oss")
    names = {name for name, _ in response.getheaders()}
    assert {"ETag", "Content-MD5", "x-oss-request-id", "x-oss-hash-crc64ecma", "Content-Length", "Date"} <= names


def test_a_connection_survives_responses_without_a_body(local, server, keep_alive):
    fields = signed_fields(local)
    for _ in range(2):
        response = keep_alive("POST", "/examplebucket", form(fields), {"Content-Type": FORM})
        assert (response.status, response.getheader("Connection")) == (204, "keep-alive")
    etag = {"If-None-Match": response.getheader("ETag")}
    assert [keep_alive("GET", "/examplebucket/a.bin", headers=etag).status for _ in range(2)] == [304, 304]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_closes_when_the_client_asks_for_it(local, server, version):
    payload = form(signed_fields(local))
    headers = {"Content-Type": FORM, "Content-Length": len(payload), "Connection": "close"}
    with connect(server) as connection:
        connection.sendall(head("POST", "/examplebucket", headers).replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        connection.sendall(payload)
        response = read_to_end(connection)
    assert b" 204 " in response
    assert b"\r\nConnection: close\r\n" in response


def error(response):
    """Return status, Code and EC of an error response, after a check of its headers."""
    assert re.search(rb"\r\nx-oss-request-id: [0-9A-F]{24}\r\n", response)
    assert b"\r\nContent-Type: application/xml\r\n" in response
    assert b"\r\nConnection: close\r\n" in response
    code, ec = (re.search(rb"<%b>(.*)</" % name, response) for name in (b"Code", b"EC"))
    return int(response[9:12]), code[1].decode(), ec[1].decode() if ec else ""


TOO_LONG = (400, "EntityTooLarge", "0006-00000003")
INVALID = (400, "InvalidArgument", "")


@pytest.mark.parametrize(
    ("method", "length", "expected"),
    [
        pytest.param("POST", 5 * GIB + 20 * 1024**2, INVALID, id="form"),
        pytest.param("PUT", 5 * GIB + 1, TOO_LONG, id="object"),
        pytest.param("PUT", "1" * 5000, INVALID, id="absurd"),
        pytest.param("PUT", "five", INVALID, id="no number"),
        pytest.param("GET", "x", INVALID, id="download"),
    ],
)
@pytest.mark.parametrize("expect", [{}, {"Expect": "100-continue"}], ids=["", "expects"])
def test_a_wrong_length_is_rejected_before_the_body_arrives(local, server, method, length, expected, expect):
    key = "" if method == "POST" else "/a"
    signed = {"Content-Type": FORM} if method == "POST" else put_headers(local, "a") if method == "PUT" else {}
    headers = {**signed, **expect, "Origin": ORIGIN, "Content-Length": length}
    with connect(server) as connection:
        connection.sendall(head(method, f"/examplebucket{key}", headers))
        response = read_to_end(connection)
    assert error(response) == expected
    assert method != "POST" or f"\r\nAccess-Control-Allow-Origin: {ORIGIN}\r\n".encode() in response
    if method == "POST" and isinstance(length, int):
        assert b"Post body size must be less than 5G." in response


def test_an_empty_object_is_stored_though_its_client_waits_for_leave_to_send(local, server, keep_alive):
    headers = {**put_headers(local, "empty"), "Content-Length": "0", "Expect": "100-continue"}
    for _ in range(2):
        assert keep_alive("PUT", "/examplebucket/empty", headers=headers).status == 200


def test_a_client_that_is_still_sending_sees_the_error(local, server):
    with connect(server) as connection:
        connection.sendall(head("PUT", "/examplebucket/a", {**put_headers(local, "a"), "Content-Length": 6 * GIB}))
        for _ in range(64):
            connection.sendall(bytes(1024**2))
        assert error(read_to_end(connection)) == TOO_LONG


def test_bytes_after_a_rejected_header_are_no_request(local, server):
    rejected = head("PUT", "/examplebucket/a", {**put_headers(local, "a"), "Content-Length": 6 * GIB})
    with connect(server) as connection:
        connection.sendall(rejected + head("GET", "/examplebucket/b", {}))
        assert read_to_end(connection).count(b"HTTP/1.1 ") == 1


def test_a_server_stops_while_a_client_sends_a_rejected_body(local):
    server = LocalOSSServer(local)
    server.start()
    with connect(server) as connection:
        connection.sendall(head("PUT", "/examplebucket/a", {**put_headers(local, "a"), "Content-Length": 6 * GIB}))
        read_to_end(connection)
        server.stop()
        with pytest.raises(OSError):
            connection.sendall(bytes(64 * 1024**2))


def test_an_unreadable_request_line_is_rejected(server):
    with connect(server) as connection:
        connection.sendall(head("GET", "http://[", {}))
        assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")


@pytest.fixture
def pass_time(make_oss, monkeypatch):
    """A server whose clocks can be put forward by some seconds."""
    offset = [0.0]
    clock = types.SimpleNamespace(monotonic=lambda: time.monotonic() + offset[0])
    for module in (environ, channel):
        monkeypatch.setattr(module, "time", clock)
    oss = make_oss(clock=lambda: time.time() + offset[0], transport=None)
    server = LocalOSSServer(oss)
    server.start()
    yield oss, server, lambda seconds: offset.insert(0, seconds)
    server.stop()


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_signature_that_expires_during_the_body_is_valid(pass_time, method):
    oss, server, forward = pass_time
    content = bytes(2_000_000)
    payload = form(signed_fields(oss), content) if method == "POST" else content
    headers = {"Content-Type": FORM} if method == "POST" else put_headers(oss, "a.bin")
    path = "/examplebucket" if method == "POST" else "/examplebucket/a.bin"
    with connect(server) as connection:
        connection.sendall(head(method, path, {**headers, "Content-Length": len(payload), "Connection": "close"}))
        connection.sendall(payload[:1_000_000])
        wait_until(lambda: [path for path in (oss.directory / ".incoming").glob("*/*") if path.name != ".owner"])
        forward(3600)
        connection.sendall(payload[1_000_000:])
        assert read_to_end(connection)[9:12] in (b"200", b"204")
    response, body = ask(server, "GET", "/examplebucket/a.bin")
    assert base64.b64decode(response.getheader("Content-MD5")) == hashlib.md5(body).digest()
    assert body == content


def test_a_signature_that_had_expired_on_arrival_is_rejected(pass_time):
    oss, server, forward = pass_time
    payload = form(signed_fields(oss))
    headers = put_headers(oss, "a")
    forward(3600)
    assert b"Policy expired" in ask(server, "POST", "/examplebucket", payload, {"Content-Type": FORM})[1]
    assert b"RequestTimeTooSkewed" in ask(server, "PUT", "/examplebucket/a", b"x", headers)[1]


WHOLE_FORM = form({"key": "a"}, b"hi oss")
START = WHOLE_FORM.index(b"hi oss")


@pytest.fixture
def spooled(tmp_path):
    """The folder of the files that bodies open."""
    return tmp_path


@pytest.fixture
def make_body(spooled):
    bodies = []

    def make(limit=4, *, is_form=False, spool=lambda: (spooled / "spool").open("x+b")):
        bodies.append(RequestBody(limit, spool, is_form=is_form))
        return bodies[-1]

    yield make
    for body in bodies:
        body.close()


def test_a_small_body_needs_no_file(make_body, spooled):
    body = make_body()
    body.append(b"abc")
    assert (len(body), body.getfile().read()) == (3, b"abc")
    assert list(spooled.iterdir()) == []


def test_a_large_body_is_in_a_file_until_it_is_closed(make_body, spooled):
    body = make_body()
    for piece in (b"abc", b"def", b"ghi"):
        body.append(piece)
    assert (len(body), body.getfile().read()) == (9, b"abcdefghi")
    assert (spooled / "spool").read_bytes() == b"abcdefghi"
    body.close()
    assert list(spooled.iterdir()) == []


def test_a_file_that_became_an_object_stays(make_body, spooled):
    body = make_body()
    body.append(b"abcdef")
    (spooled / "spool").rename(spooled / "object")
    body.close()
    assert [path.name for path in spooled.iterdir()] == ["object"]


def test_the_file_of_a_form_begins_with_the_uploaded_content(make_body, spooled):
    body = make_body(START + 2, is_form=True)
    body.append(WHOLE_FORM[: START + 3])
    body.append(WHOLE_FORM[START + 3 :])
    source = body.getfile()
    assert isinstance(source, FormInput)
    assert (spooled / "spool").read_bytes() == WHOLE_FORM[START:]
    assert len(body) == len(WHOLE_FORM)
    assert b"".join(iter(lambda: source.read(50), b"")) == WHOLE_FORM


@pytest.mark.parametrize("limit", [10, START - 1])
def test_a_form_whose_content_starts_after_the_limit_is_one_file(make_body, limit):
    body = make_body(limit, is_form=True)
    for byte in io.BytesIO(WHOLE_FORM).getvalue():
        body.append(bytes([byte]))
    assert not isinstance(source := body.getfile(), FormInput)
    assert source.read() == WHOLE_FORM


@pytest.mark.parametrize("hosts", [[], ["a", "b"], ["a", "a"]])
def test_a_request_has_one_host(server, hosts):
    fields = "".join(f"Host: {host}\r\n" for host in hosts)
    with connect(server) as connection:
        connection.sendall(f"GET /callback_pub_key.pem HTTP/1.1\r\n{fields}Connection: close\r\n\r\n".encode())
        assert read_to_end(connection).startswith(b"HTTP/1.1 400 ")


def test_an_old_client_has_no_host(server):
    with connect(server) as connection:
        connection.sendall(b"GET /callback_pub_key.pem HTTP/1.0\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.0 200 ")


@pytest.mark.parametrize(
    "fields", ["Connection: TE, close", "Connection: TE\r\nConnection: Close", "Connection: close,"]
)
def test_a_client_may_end_the_connection_beside_other_options(server, fields):
    with connect(server) as connection:
        connection.sendall(f"GET /callback_pub_key.pem HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n".encode())
        response = read_to_end(connection)
    assert response.startswith(b"HTTP/1.1 200 ")
    assert b"Connection: close\r\n" in response
