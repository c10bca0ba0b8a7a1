import base64
import http.client
import socket
import threading
import time
from contextlib import closing
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from oss_wsgi.local import LocalOSSServer

from .form_client import BOUNDARY, callback_field, form, sign_v4, v4_fields

HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture
def oss(make_oss):
    return make_oss(clock=time.time, transport=None)


@pytest.fixture
def server(oss):
    server = LocalOSSServer(oss)
    server.start()
    yield server
    server.stop()


def ask(server, method, path, body=None, headers=None):
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()


def test_the_real_address_becomes_the_url(oss, server):
    assert server.port > 0
    assert server.url == oss.url == f"http://127.0.0.1:{server.port}"


def test_an_upload_and_its_object_cross_real_sockets(oss, server):
    now = time.time()
    content = bytes(range(256)) * 4096
    fields = {"key": "a.bin", **sign_v4(oss, fields=v4_fields(oss, now=now), expiration=now + 60)}
    response, _ = ask(server, "POST", "/examplebucket", form(fields, content), HEADERS)
    assert response.status == 204
    response, body = ask(server, "GET", "/examplebucket/a.bin")
    assert body == content
    response, body = ask(server, "HEAD", "/examplebucket/a.bin")
    assert (response.getheader("Content-Length"), body) == (str(len(content)), b"")


def test_each_header_comes_once_and_none_tells_of_the_server(server):
    response, _ = ask(server, "GET", "/examplebucket/none")
    names = [name.lower() for name, _ in response.getheaders()]
    assert sorted(names) == sorted(set(names))
    assert response.getheader("Server") == "AliyunOSS"
    assert "via" not in names


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def application_port(recorder):
    """The recorder behind a socket, for one request."""
    with make_server("127.0.0.1", 0, recorder, handler_class=Quiet) as application:
        thread = threading.Thread(target=application.handle_request)
        thread.start()
        yield application.server_port
        thread.join()


def test_a_callback_reaches_an_application_over_a_socket_and_verifies(oss, server, recorder, application_port):
    now = time.time()
    fields = {
        "key": "a/中.txt",
        "callback": callback_field(callbackUrl=f"http://127.0.0.1:{application_port}/oss%20cb?a=%2F"),
        **sign_v4(oss, fields=v4_fields(oss, now=now), expiration=now + 60),
    }
    response, body = ask(server, "POST", "/examplebucket", form(fields), HEADERS)
    assert (response.status, body) == (200, b'{"Status":"Ok"}')
    assert response.getheader("Content-Type") == "application/json"
    assert recorder.body_received == b"object=a%2F%E4%B8%AD.txt"
    key_url = base64.b64decode(recorder.environ["HTTP_X_OSS_PUB_KEY_URL"]).decode()
    assert key_url == oss.public_key_url
    _, pem = ask(server, "GET", key_url.removeprefix(server.url))
    serialization.load_pem_public_key(pem).verify(
        base64.b64decode(recorder.environ["HTTP_AUTHORIZATION"]),
        b"/oss cb?a=%2F\n" + recorder.body_received,
        padding.PKCS1v15(),
        hashes.MD5(),
    )


def test_the_key_is_where_the_callback_says(oss, server):
    _, body = ask(server, "GET", oss.public_key_url.removeprefix(server.url))
    assert body.decode() == oss.public_key_pem


def test_a_port_that_is_taken_is_an_os_error(oss, server):
    with pytest.raises(OSError, match="in use"):
        LocalOSSServer(oss, port=server.port)


def test_all_addresses_are_reached_as_this_machine(oss):
    server = LocalOSSServer(oss, host="0.0.0.0")
    server.stop()
    assert server.url == f"http://127.0.0.1:{server.port}"


def test_a_server_that_was_never_started_stops_too(oss):
    server = LocalOSSServer(oss)
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)):
        pass


def test_after_stop_nobody_listens_and_nothing_is_left_open(oss):
    server = LocalOSSServer(oss)
    server.start()
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        # An upload under way, larger than waitress keeps in memory.
        half.sendall(b"POST /examplebucket HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + bytes(2_000_000))
        ask(server, "GET", "/examplebucket/none")
        server.stop()
        with pytest.raises(OSError):
            half.sendall(b"x" * 10_000_000)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))
    server.stop()
