"""Threads that fork at once: parent and children use every ledger, the local OSS's index and the server as before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..support import databases, redis_servers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="no fork here"),
]
ROOT = Path(__file__).parents[2]
WAYS = ("preexec_fn", "os.fork", "multiprocessing")
#: What each program imports first. The hooks of these modules run in the order of their imports, or against it.
ORDERS = {
    "others before the package": "import concurrent.futures.thread, multiprocessing.util, oss_wsgi.threads",
    "the package before others": "import oss_wsgi.threads, concurrent.futures.thread, multiprocessing.util",
}

_PROLOGUE = """
import faulthandler, itertools, json, multiprocessing, os, subprocess, sys, threading, time
faulthandler.dump_traceback_later(150, exit=True)  # a program that hangs says where
way, place, *arguments = sys.argv[1:]
FORK = multiprocessing.get_context("fork")

def fork(work):
    '''Fork, do the work in the child, and wait for its end.'''
    if way == "preexec_fn":
        subprocess.run(["true"], preexec_fn=work, check=True)
    elif way == "multiprocessing":
        ours, theirs = os.pipe()  # exit codes get lost where several threads wait for processes
        child = FORK.Process(target=lambda: (work(), os.write(theirs, b"1")))
        child.start()
        os.close(theirs)
        assert os.read(ours, 1) == b"1"
        os.close(ours)
        child.join()
    else:
        child = os.fork()
        if not child:
            status = 1
            try:
                work()
                status = 0
            finally:
                os._exit(status)
        status = os.waitpid(child, 0)[1]
        assert status == 0, status

def in_threads(work, count=6):
    '''Call the work with a number in as many threads, and raise the first error.'''
    errors = []
    def run(number):
        try:
            work(number)
        except BaseException as error:
            errors.append(error)
            raise
    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
"""

_LEDGER = """
import fcntl
if "lock files" in arguments:
    vars(fcntl).pop("F_OFD_SETLK", None)
from oss_wsgi.ledger.base import StoredResponse, UploadIdentity
import oss_wsgi
if place == "memory":
    ledger = oss_wsgi.MemoryLedger(clock=time.time)
elif place.startswith("redis"):
    ledger = oss_wsgi.RedisLedger(place)
elif "://" in place:
    ledger = oss_wsgi.SQLLedger(place, clock=time.time, wait_timeout=60.0)
else:
    from oss_wsgi.ledger import sqlite, sqlite_file
    sqlite.BUSY_SECONDS = sqlite_file.BUSY_SECONDS = 60.0  # a busy machine may stand still
    ledger = oss_wsgi.SQLiteLedger(place, clock=time.time, wait_timeout=60.0)

def upload(name, work=None):
    '''Store an upload, doing the work in its handler; it must be new.'''
    calls = []
    def handle(transaction):
        calls.append(name)
        if work is not None:
            work()
        return StoredResponse("200 OK", "text/plain", name.encode())
    identity = UploadIdentity(name, "object", "etag", int(time.time()) + 900)
    assert ledger.run_once(identity, handle).body == name.encode()
    assert calls == [name]

def use_in_child(name):
    upload(name)
    ledger.save(f"text {name}", name)
    assert ledger.load(f"text {name}") == name
    assert ledger.known([("object", "etag")]) == {("object", "etag")}

def use(number):
    for turn in range(int(arguments[0])):
        name = f"{number} {turn}"
        upload(name, lambda: fork(lambda: use_in_child(f"child {name}")))

in_threads(use)
assert ledger.known([("object", "etag")]) == {("object", "etag")}
print(json.dumps(len(ledger)))
ledger.close()
"""


def printed(order: str, program: str, *arguments: object) -> Any:
    """Run a program in a new Python, and return the JSON that it prints. No hook may have failed."""
    code = "\n".join((ORDERS[order], _PROLOGUE, program))
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, "Exception ignored" in done.stderr) == (0, False), done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_threads_that_handle_uploads_in_memory_fork_at_once(way: str, order: str) -> None:
    assert printed(order, _LEDGER, way, "memory", 10) == 60


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_threads_that_handle_uploads_in_a_sqlite_file_fork_at_once(tmp_path: Path, way: str, order: str) -> None:
    assert printed(order, _LEDGER, way, tmp_path / "ledger", 10) == 120


@pytest.mark.parametrize("way", WAYS)
def test_threads_fork_at_once_where_the_kernel_cannot_lock_single_bytes(tmp_path: Path, way: str) -> None:
    assert printed("others before the package", _LEDGER, way, tmp_path / "ledger", 10, "lock files") == 120


@pytest.mark.databases
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["postgresql", "mariadb"])
def test_threads_that_handle_uploads_in_a_database_fork_at_once(kind: str, way: str) -> None:
    with databases.running(kind) as server:
        assert printed("others before the package", _LEDGER, way, server.url, 4) == 48


@pytest.mark.databases
@pytest.mark.parametrize("way", WAYS)
def test_threads_that_handle_uploads_in_redis_fork_at_once(tmp_path: Path, way: str) -> None:
    with redis_servers.running("redis", tmp_path) as server:
        assert printed("others before the package", _LEDGER, way, server.url, 4) == 48


_INDEX = """
from local_oss.storage.storage import Storage
storage = Storage(place)
storage.create_bucket("examplebucket", now=1733227932.0)
bucket = storage.bucket("examplebucket")

def put(key):
    with bucket.incoming() as incoming:
        incoming.write(key.encode())
        incoming.commit(key, "text/plain", {}, now=1733227932.0)
    assert bucket.get(key).size == len(key)

def use(number):
    for turn in range(10):
        put(f"{number} {turn}")
        fork(lambda: put(f"child {number} {turn}"))

in_threads(use)
keys = [entry.key for entry in bucket.page()[0]]
print(json.dumps(len(keys)))
storage.close()
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
def test_threads_that_store_objects_in_the_local_oss_fork_at_once(tmp_path: Path, way: str, order: str) -> None:
    assert printed(order, _INDEX, way, tmp_path / "objects") == 120


_LOCAL_OSS = """
from local_oss import LocalOSS
from webtest import TestApp
oss = LocalOSS(directory=place, key_bits=512)

def ask():
    return TestApp(oss).get("/examplebucket/none", status=403).xml.findtext("RequestId")

def use(number):
    for _ in range(10):
        asked.add(ask())
        fork(ask)

asked = set()
in_threads(use)
print(json.dumps(len(asked)))
oss.close()
"""


@pytest.mark.parametrize("way", WAYS)
def test_threads_that_ask_the_local_oss_fork_at_once(tmp_path: Path, way: str) -> None:
    assert printed("others before the package", _LOCAL_OSS, way, tmp_path / "objects") == 60


_SERVER = """
import socket, uuid
from urllib.parse import urlencode
import oss_wsgi
from oss_wsgi import DirectUpload, Settings
from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.serving import make_server
from oss_wsgi.testing import CallbackSigner
from tests.support.example_settings import EXAMPLE

SECRET = "the ticket secret of these tests"
SETTINGS = Settings(**EXAMPLE, ticket_secret=(SECRET,), allow_anonymous=True)
SIGNER, TICKETS = CallbackSigner(), TicketBook([SECRET], clock=time.time)
clock = time.time
ledger = oss_wsgi.MemoryLedger(clock=clock) if place == "memory" else oss_wsgi.SQLiteLedger(place, clock=clock)
handled = itertools.count()

def save(upload):
    fork(lambda: None)
    next(handled)

application = DirectUpload(
    lambda environ, start: [], SETTINGS, public_keys=SIGNER.public_keys, ledger=ledger, on_upload=save
)
listener = socket.create_server(("127.0.0.1", 0))
server = make_server(application, listener, application.is_nonblocking, threads=8)
loop = threading.Thread(target=server.run)
loop.start()

def report(connection):
    key = f"user/eric/{uuid.uuid4()}.txt"
    ticket = TICKETS.issue(
        bucket="examplebucket", key=key, prefix="", sizes=(6, 6), content_types=(), expires=int(time.time()) + 900
    )
    members = {"filename": key, "size": "6", "bucket": "examplebucket", "mimeType": "text/plain", "ticket": ticket}
    body = urlencode(members).encode()
    target = "/oss/callback"
    headers = {"Host": "a", "Content-Length": str(len(body))} | SIGNER.headers(
        target, body, "application/x-www-form-urlencoded"
    )
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    connection.sendall("\\r\\n".join(lines).encode() + body)
    response = b""
    while b"\\r\\n\\r\\n" not in response:
        piece = connection.recv(65536)
        assert piece, response
        response += piece
    head, _, rest = response.partition(b"\\r\\n\\r\\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\\r\\n")[0])
    while len(rest) < length:
        rest += connection.recv(65536)
    assert head.startswith(b"HTTP/1.1 200"), response

def use(number):
    with socket.create_connection(listener.getsockname(), timeout=100) as connection:
        for _ in range(25):
            report(connection)

in_threads(use, 8)
server.drain(60)
loop.join(60)
print(json.dumps([next(handled), len(ledger)]))
ledger.close()
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ledger", ["memory", "ledger"])
def test_a_server_whose_handlers_fork_at_once_answers_all_reports(
    tmp_path: Path, ledger: str, way: str, order: str
) -> None:
    place = "memory" if ledger == "memory" else tmp_path / ledger
    assert printed(order, _SERVER, way, place) == [200, 200]
