import gzip
import hashlib
import logging
import os
import re
import socket
import ssl
import threading
import time
import types
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from subprocess import PIPE

import pytest

import local_oss.serving.server
from local_oss import LocalOSSServer
from local_oss.serving.server import RequestThreads
from local_oss.storage.storage import Incoming, Storage
from oss_wsgi.serving.bounds import raise_descriptor_limit

from ...support.forks import start
from ...support.server_threads import serving_oss
from ...support.waiting import wait_until
from ..form_client import BOUNDARY, body, callback_field, form, part, sign_v4, v4_fields
from ..socket_client import TIMEOUT, ask, connect, head, put, put_headers, read_to_end, signed_fields

pytestmark = pytest.mark.slow

HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture
def oss(local):
    return local


def test_the_bound_address_becomes_the_url(oss, server):
    assert server.port > 0
    assert server.url == oss.url == f"http://127.0.0.1:{server.port}"


def test_a_plus_in_a_url_is_a_blank(oss, server):
    for key in ("c+d", "a b"):
        put(oss, server, key, key.encode())
    assert ask(server, "GET", "/examplebucket/c+d")[0].status == 404
    assert ask(server, "GET", "/examplebucket/c%2Bd")[1] == b"c+d"
    assert ask(server, "GET", "/examplebucket/a+b")[1] == b"a b"


def test_a_get_with_a_length_and_no_body_is_answered(oss, server):
    """The suite of the SDK for C sends one (issue 29, 1.14)."""
    put(oss, server, "a", b"hi oss")
    with connect(server) as connection:
        connection.sendall(b"GET /examplebucket/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n")
        assert read_to_end(connection).endswith(b"hi oss")


def test_two_slashes_are_not_one(oss, server):
    put(oss, server, "key", b"one")
    host = {"Host": "examplebucket.oss-cn-hangzhou.aliyuncs.com"}
    assert ask(server, "GET", "/key", headers=host)[1] == b"one"
    assert ask(server, "GET", "//key", headers=host)[0].status == 404


def test_a_compressed_text_comes_in_chunks(oss, server):
    ask(server, "PUT", "/examplebucket/a.txt", b"x" * 5000, put_headers(oss, "a.txt", "text/plain"))
    response, body = ask(server, "GET", "/examplebucket/a.txt", headers={"Accept-Encoding": "gzip"})
    assert response.getheader("Transfer-Encoding") == "chunked"
    assert gzip.decompress(body) == b"x" * 5000


def test_each_header_comes_once_and_none_names_waitress(server):
    response, _ = ask(server, "GET", "/examplebucket/none")
    names = [name.lower() for name, _ in response.getheaders()]
    assert sorted(names) == sorted(set(names))
    assert response.getheader("Server") == "AliyunOSS"
    assert "via" not in names


@pytest.mark.parametrize(
    ("method", "key", "names"),
    [
        (
            "GET",
            "none",
            ["Content-Type", "Content-Length", "Connection", "x-oss-request-id", "x-oss-server-time", "x-oss-ec"],
        ),
        ("DELETE", "a", ["Content-Length", "Connection", "x-oss-request-id", "x-oss-server-time"]),
    ],
)
def test_headers_come_with_the_names_and_in_the_order_of_osss(oss, server, method, key, names):
    """tests/recorded/oss.json, rows 32 and 43; http.client keeps the order, and waitress would sort."""
    response, _ = ask(server, method, f"/examplebucket/{key}", headers=put_headers(oss, key, method=method))
    assert [name for name, _ in response.getheaders()] == ["Server", "Date", *names]
    assert response.getheader("Connection") == "keep-alive"


def test_a_taken_port_is_an_os_error(oss, server):
    with pytest.raises(OSError, match="in use"):
        LocalOSSServer(oss, port=server.port)


def test_a_server_on_all_addresses_has_a_loopback_url(oss):
    server = LocalOSSServer(oss, host="0.0.0.0")
    server.stop()
    assert server.url == f"http://127.0.0.1:{server.port}"


def test_a_server_that_never_started_frees_its_port(oss):
    server = LocalOSSServer(oss)
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)):
        pass


def test_stop_closes_every_socket(oss):
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


def spooled(oss):
    return incoming(oss.directory)


def incoming(directory):
    """Return the files that processes are writing."""
    paths = (directory / ".incoming").glob("*/*")
    return [path.name for path in paths if path.name != ".owner"]


def test_the_file_of_a_body_becomes_the_object_without_a_copy(oss, server, monkeypatch):
    content = bytes(range(256)) * 8192
    monkeypatch.setattr(Incoming, "write", lambda self, chunk: pytest.fail("written twice"))
    response, _ = put(oss, server, "a", content)
    assert response.status == 200
    assert response.getheader("ETag") == f'"{hashlib.md5(content).hexdigest().upper()}"'
    assert ask(server, "GET", "/examplebucket/a")[1] == content
    assert spooled(oss) == []


AFTER = part("submit", "Upload")
LIKE_A_BOUNDARY = f"\r\n--{BOUNDARY[:-1]}\r\n\r\n-{BOUNDARY}\n--{BOUNDARY}--\r\n--\r\n".encode() * 30_000


@pytest.mark.parametrize("content", [bytes(range(256)) * 8192, LIKE_A_BOUNDARY], ids=["bytes", "like a boundary"])
@pytest.mark.parametrize("after", [[], [AFTER]], ids=["", "a field after it"])
def test_the_file_of_a_form_becomes_the_object_without_a_copy(oss, server, monkeypatch, content, after):
    monkeypatch.setattr(Incoming, "write", lambda self, chunk: pytest.fail("written twice"))
    response, _ = ask(server, "POST", "/examplebucket", form(signed_fields(oss), content, after=after), HEADERS)
    assert response.status == 204
    assert response.getheader("ETag") == f'"{hashlib.md5(content).hexdigest().upper()}"'
    assert ask(server, "GET", "/examplebucket/a.bin")[1] == content
    assert [path.read_bytes() == content for path in (oss.directory / "examplebucket").iterdir()] == [True]
    assert spooled(oss) == []


def test_a_form_with_long_fields_becomes_an_object(oss, server):
    content = bytes(range(256)) * 8192
    fields = {"name": "x" * 1_500_000, **signed_fields(oss)}
    response, _ = ask(server, "POST", "/examplebucket", form(fields, content), HEADERS)
    assert response.status == 204
    assert ask(server, "GET", "/examplebucket/a.bin")[1] == content


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(lambda payload: payload[:-4] + b"xxxx", b"MalformedPOSTRequest", id="no end"),
        pytest.param(lambda payload: payload[:-50], b"MalformedPOSTRequest", id="no boundary"),
        pytest.param(
            lambda payload: payload[:-4] + b"\r\n" + body(part("file", "x")).partition(b"\r\n")[2],
            b"IncorrectNumberOfFilesInPOSTRequest",
            id="two files",
        ),
    ],
)
def test_a_large_malformed_form_leaves_no_file(oss, server, change, code):
    payload = change(form(signed_fields(oss), bytes(2_000_000)))
    response, answer = ask(server, "POST", "/examplebucket", payload, HEADERS)
    assert (response.status, code in answer) == (400, True)
    assert ask(server, "GET", "/examplebucket/a.bin")[0].status == 404
    wait_until(lambda: [path for path in oss.directory.rglob("*") if path.stat().st_size >= 2_000_000] == [])


def test_callbacks_may_send_requests_to_the_same_server(make_oss):
    all_called = threading.Barrier(40)

    def confirm(environ, start_response):
        key = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        all_called.wait(TIMEOUT)
        status = ask(server, "HEAD", f"/examplebucket/{key}")[0].status
        start_response(f"{status} OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"{}"]

    oss = make_oss(clock=time.time, transport=confirm)

    def upload(number):
        callback = callback_field(callbackBody="${object}")
        payload = form({"callback": callback, **signed_fields(oss, f"a{number}")})
        return ask(server, "POST", "/examplebucket", payload, HEADERS)[0].status

    with serving_oss(oss) as server, ThreadPoolExecutor(40) as clients:
        assert list(clients.map(upload, range(40))) == [200] * 40


def test_the_file_of_a_rejected_body_is_removed(oss, server):
    content = bytes(2_000_000)
    response, _ = ask(server, "PUT", "/examplebucket/a", content)
    assert response.status == 403
    now = time.time()
    fields = {"key": "a.bin", **sign_v4(oss, fields=v4_fields(oss, now=now), expiration=now + 60)}
    response, _ = ask(server, "POST", "/examplebucket", form(fields, content), HEADERS)
    assert response.status == 204
    wait_until(lambda: not spooled(oss))


def test_a_client_that_hangs_up_leaves_no_file(oss, server):
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as connection:
        head = b"PUT /examplebucket/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 4000000\r\n\r\n"
        connection.sendall(head + bytes(2_000_000))
        wait_until(lambda: spooled(oss))
    wait_until(lambda: not spooled(oss))


SERVING = """
import sys
from local_oss import LocalOSS, LocalOSSServer
oss = LocalOSS(directory=sys.argv[1], access_key_id="id", access_key_secret="secret", acl="public-read", key_bits=1024)
server = LocalOSSServer(oss)
server.start()
print(server.port, flush=True)
sys.stdin.read()
server.stop()
oss.close()
"""


def test_a_server_killed_during_an_upload_leaves_no_garbage(tmp_path):
    directory = tmp_path / "objects"
    with start(["-c", SERVING, str(directory)], os.environ, stdin=PIPE) as process:
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as half:
            half.sendall(
                b"PUT /examplebucket/a HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n" + bytes(2_000_000)
            )
            wait_until(lambda: incoming(directory))
            process.kill()
            process.wait()
    assert incoming(directory)
    with closing(Storage(directory)) as storage:
        assert storage.bucket("examplebucket").page() == ([], False)
        assert incoming(directory) == []
    assert list((directory / ".incoming").iterdir()) == []


def test_two_processes_serve_one_folder(tmp_path):
    directory = tmp_path / "objects"
    first, second = (start(["-c", SERVING, str(directory)], os.environ, stdin=PIPE) for _ in range(2))
    with first, second:
        ports = [int(process.stdout.readline()) for process in (first, second)]
        account = types.SimpleNamespace(access_key_id="id", access_key_secret="secret")
        for number in range(20):
            content = b"%d" % number * 300_000
            writer, reader = (types.SimpleNamespace(port=ports[(number + turn) % 2]) for turn in (0, 1))
            assert put(account, writer, "a", content)[0].status == 200
            assert ask(reader, "GET", "/examplebucket/a")[1] == content
        for process in (first, second):
            process.communicate()
    assert len(list((directory / "examplebucket").iterdir())) == 1


class Meeting:
    """A request that ends when all others are running too."""

    def __init__(self, barrier):
        self._barrier = barrier
        self.ended = threading.Event()

    def service(self):
        self._barrier.wait(TIMEOUT)
        self.ended.set()


def test_requests_that_wait_for_each_other_all_get_a_thread(caplog):
    with caplog.at_level(logging.WARNING):
        threads = RequestThreads()
        barrier = threading.Barrier(100)
        requests = [Meeting(barrier) for _ in range(100)]
        for request in requests:
            threads.add_task(request)
        assert all(request.ended.wait(TIMEOUT) for request in requests)
        threads.shutdown()
    assert not caplog.records


class Noting(Meeting):
    """A request that notes its thread."""

    used = set()

    def service(self):
        self.used.add(threading.current_thread())
        super().service()


def test_requests_one_after_another_share_threads():
    threads = RequestThreads()
    for _ in range(100):
        request = Noting(threading.Barrier(1))
        threads.add_task(request)
        assert request.ended.wait(TIMEOUT)
    threads.shutdown()
    assert len(Noting.used) < 50  # one, unless the next request comes before a thread is idle again


class Failing:
    def service(self):
        raise RuntimeError("broken")


def test_a_request_that_fails_is_logged_and_its_thread_ends(caplog):
    threads = RequestThreads()
    before = set(threading.enumerate())  # those of other tests end meanwhile
    threads.add_task(Failing())
    wait_until(lambda: set(threading.enumerate()) <= before)
    threads.shutdown()
    assert [record.exc_info[0] for record in caplog.records] == [RuntimeError]


def test_no_thread_starts_after_a_shutdown():
    threads = RequestThreads()
    threads.shutdown()
    request, before = Meeting(threading.Barrier(1)), set(threading.enumerate())
    threads.add_task(request)
    assert set(threading.enumerate()) <= before
    assert not request.ended.is_set()


def test_a_request_for_which_no_thread_can_start_holds_up_no_shutdown(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    threads = RequestThreads()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            threads.add_task(Failing())
    waits = []
    threads.shutdown(is_urgent=lambda: waits.append("for a request") or True)
    assert waits == []


def test_stop_that_is_urgent_waits_for_no_request(oss):
    entered, release = threading.Event(), threading.Event()
    server = LocalOSSServer(oss)

    def hang(environ, start_response):
        entered.set()
        release.wait(60)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server.oss = hang
    server.start()
    asked = []
    with socket.create_connection(("127.0.0.1", server.port), TIMEOUT) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert entered.wait(60)
        server.stop(lambda: bool(asked.append(None) or len(asked) > 1))
        assert len(asked) == 2  # it waited while that was False, and no longer
        assert not release.is_set()
        release.set()


LIMIT = 8
PUT = b"PUT /examplebucket/a HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf"


@contextmanager
def silent_connections(server, number, sent=b""):
    """Yield connections of which the server has heard no more than this, one after another."""
    with ExitStack() as connections:
        silent = []
        for _ in range(number):
            silent.append(connections.enter_context(connect(server)))
            silent[-1].sendall(sent)
        yield silent


def is_closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("sent", [b"", b"G", PUT, b"\x16\x03\x01"])
def test_beyond_the_limit_the_longest_silent_connections_are_closed(oss, monkeypatch, tls, sent):
    monkeypatch.setattr(local_oss.serving.server, "MAX_CONNECTIONS", LIMIT)
    context = ssl._create_unverified_context() if tls else None
    with serving_oss(oss, tls=tls) as server, silent_connections(server, 3 * LIMIT, sent) as silent:
        for _ in range(2):
            with urllib.request.urlopen(oss.public_key_url, context=context, timeout=TIMEOUT) as response:
                assert response.read() == oss.public_key_pem.encode()
        wait_until(lambda: all(is_closed(each) for each in silent[: 2 * LIMIT]))
        if not (tls and sent):  # which is no TLS, and is refused
            assert not is_closed(silent[-1])


def test_silent_connections_end_no_upload_that_goes_on(oss, monkeypatch):
    monkeypatch.setattr(local_oss.serving.server, "MAX_CONNECTIONS", LIMIT)
    content = bytes(range(48))
    headers = {**put_headers(oss, "a"), "Content-Length": len(content), "Connection": "close"}
    with serving_oss(oss) as server, ExitStack() as silent, connect(server) as upload:
        upload.sendall(head("PUT", "/examplebucket/a", headers))
        for byte in content:
            silent.enter_context(connect(server))
            upload.sendall(bytes([byte]))
            ask(server, "GET", "/callback_pub_key.pem")
        assert read_to_end(upload).startswith(b"HTTP/1.1 200")
        assert ask(server, "GET", "/examplebucket/a")[1] == content


def test_silent_connections_end_no_request_that_is_handled(make_oss, monkeypatch):
    monkeypatch.setattr(local_oss.serving.server, "MAX_CONNECTIONS", LIMIT)
    called, may_end = [], threading.Event()

    def application(environ, start_response):
        called.append(environ)
        may_end.wait(TIMEOUT)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"{}"]

    oss = make_oss(clock=time.time, transport=application)

    def upload(number):
        payload = form({"callback": callback_field(), **signed_fields(oss, f"a{number}")})
        return ask(server, "POST", "/examplebucket", payload, HEADERS)[0].status

    with serving_oss(oss) as server, ThreadPoolExecutor(LIMIT + 2) as clients:
        answers = []
        for number in range(LIMIT + 2):  # more than the limit
            answers.append(clients.submit(upload, number))
            wait_until(lambda: len(called) == len(answers))
        with silent_connections(server, 2 * LIMIT):
            assert ask(server, "GET", "/callback_pub_key.pem")[0].status == 200
            may_end.set()
            assert [answer.result() for answer in answers] == [200] * (LIMIT + 2)


def test_clients_that_do_not_read_make_room_too(oss, monkeypatch):
    monkeypatch.setattr(local_oss.serving.server, "MAX_CONNECTIONS", LIMIT)
    with serving_oss(oss) as server:
        put(oss, server, "a", bytes(20_000_000))
        with silent_connections(server, 2 * LIMIT, b"GET /examplebucket/a HTTP/1.1\r\nHost: a\r\n\r\n"):
            assert ask(server, "GET", "/callback_pub_key.pem")[0].status == 200


class Endless:
    def __init__(self):
        self.is_closed = threading.Event()

    def __call__(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return self

    def __iter__(self):
        while True:
            yield bytes(100_000)

    def close(self):
        self.is_closed.set()


def test_a_client_that_does_not_read_keeps_no_thread(oss, monkeypatch):
    monkeypatch.setattr("waitress.adjustments.Adjustments.channel_timeout", 1)
    monkeypatch.setattr("waitress.adjustments.Adjustments.cleanup_interval", 1)
    with serving_oss(oss) as server, connect(server) as client:
        server.oss = Endless()
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert server.oss.is_closed.wait(TIMEOUT)


@pytest.mark.parametrize(("number", "descriptors"), [(1010, None), (200, 40)])
@pytest.mark.parametrize("tls", [False, True])
def test_many_silent_connections_stop_nobody(tmp_path, tls, number, descriptors):
    raise_descriptor_limit()
    code = "import resource, runpy, sys; sys.argv[0] = 'local-oss'; "
    if descriptors:
        code += f"resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors})); "
    code += "runpy.run_module('local_oss', run_name='__main__')"
    options = ["--listen", "127.0.0.1:0", "--dir", str(tmp_path / "objects"), *(["--tls"] if tls else [])]
    with start(["-c", code, *options], os.environ) as process, ExitStack() as silent:
        try:
            url = re.search(r"https?://127\.0\.0\.1:([0-9]+)", process.stdout.readline())
            for _ in range(number):
                silent.enter_context(socket.create_connection(("127.0.0.1", int(url[1])), TIMEOUT))
            context = ssl._create_unverified_context() if tls else None
            key = f"{url[0]}/callback_pub_key.pem"
            with urllib.request.urlopen(key, context=context, timeout=TIMEOUT) as response:
                assert response.status == 200
        finally:
            process.kill()
