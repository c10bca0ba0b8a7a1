"""RedisLedger: the contract on Redis, Valkey and a cluster, and servers and processes that stop, die or evict."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError, SettingsError, SweepRunningError
from oss_wsgi.ledger.base import Handle, Ledger, StoredResponse, UploadIdentity
from oss_wsgi.ledger.redis import RedisLedger
from oss_wsgi.redis.client import RedisServer, Script
from tests.support.redis_servers import PROGRAMS, Server, empty, redis, running, running_cluster, server, servers

from ..support.children import fork, forking
from ..support.ledger_programs import POSIX, ROOT
from ..support.waiting import wait_until
from . import unwritable
from .contract import (
    DEADLINE,
    FAILURE,
    SUCCESS,
    BlockingHandler,
    Handler,
    LedgerClock,
    LedgerContract,
    handling,
    identity,
)

pytestmark = pytest.mark.slow

__all__ = ["redis", "server", "servers"]  # fixtures


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a server on a busy machine for slow, not for away."""
    monkeypatch.setitem(RedisServer.__init__.__kwdefaults__, "timeouts", (DEADLINE, DEADLINE))  # type: ignore[misc]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with running_cluster("redis", tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def ledger(server: Server) -> Iterator[RedisLedger]:
    with RedisLedger(server.url, wait_timeout=DEADLINE) as ledger:
        yield ledger


class ClockReader(RedisLedger):
    """A ledger that reads the contract's clock, so that the contract sees when a call has begun."""

    def __init__(self, url_or_client: Any, clock: Callable[[], float], **options: Any) -> None:
        super().__init__(url_or_client, **options)
        self._clock = clock

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        self._clock()
        return super().run_once(identity, handle)


def patient(url: str) -> str:
    """Return a server's URL for a program that takes it for slow, not for away."""
    return f"{url}?socket_timeout={DEADLINE}&socket_connect_timeout={DEADLINE}"


class OnServer:
    url: str
    nodes: list[Server]

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> RedisLedger:
        return ClockReader(self.url, clock, wait_timeout=wait_timeout)

    def unwritable(self, ledger: Ledger) -> AbstractContextManager[None]:
        return unwritable.redis(self.nodes)

    failing = unwritable

    def elsewhere(self) -> str:
        return f"""
from oss_wsgi.ledger.redis import RedisLedger
ledger = RedisLedger({patient(self.url)!r}, lease=3.0)
"""

    def test_a_response_is_forgotten_some_time_after_its_ticket(self, ledger: Any, clock: LedgerClock) -> None:
        """The server's clock decides; it cannot be moved, so the time that is left tells."""
        ledger.run_once(identity("expired"), Handler())
        left = seconds_left(self.nodes)
        assert len(left) == 2, "the answers of the ticket, and the mark of the pair"
        assert all(86_300 < each <= 86_400 for each in left)
        with self.nodes[0].client() as client:
            valid = int(client.time()[0]) + 5000
        ledger.run_once(identity("valid", object="valid", expires=valid), Handler())
        assert sum(86_400 + 4900 < each <= 86_400 + 5000 for each in seconds_left(self.nodes)) == 2

    def test_a_note_ends_some_time_after_it_expires(self, ledger: Any) -> None:
        with self.nodes[0].client() as client:
            now = int(client.time()[0])
        for expires in (now + 5000, now + 100):
            ledger.note([("a", "mark"), ("b", "mark")], expires)
        assert all(86_400 + 4900 < each <= 86_400 + 5000 for each in seconds_left(self.nodes))


def seconds_left(nodes: list[Server]) -> list[float]:
    """Return the seconds until each key ends by itself, without those of locks and counts."""
    left: list[float] = []
    for node in nodes:
        with node.client() as client:
            left += [client.pttl(key) / 1000 for key in client.scan_iter("*") if not key.endswith((b":l", b":n"))]
    return left


class TestRedisContract(OnServer, LedgerContract):
    @pytest.fixture(autouse=True)
    def _server(self, servers: Callable[[str], Server]) -> None:
        self.nodes = [empty(servers("redis"))]
        self.url = self.nodes[0].url


class TestValkeyContract(OnServer, LedgerContract):
    @pytest.fixture(autouse=True)
    def _server(self, servers: Callable[[str], Server]) -> None:
        self.nodes = [empty(servers("valkey"))]
        self.url = self.nodes[0].url.replace("redis://", "valkey://")


class TestClusterContract(OnServer, LedgerContract):
    @pytest.fixture(autouse=True)
    def _server(self, cluster: list[Server]) -> None:
        self.nodes = [empty(server) for server in cluster]
        self.url = self.nodes[1].url


# Processes.

_PROGRAM = """
import sys
from oss_wsgi.ledger.base import Handle, StoredResponse, UploadIdentity
from oss_wsgi.ledger.redis import RedisLedger
ledger = RedisLedger(sys.argv[1], lease=float(sys.argv[2]))
def handle(transaction):
    print("handling", flush=True)
    sys.stdin.readline()
    return StoredResponse("200 OK", "text/plain", b"the other")
try:
    print(ledger.run_once(UploadIdentity("t1", "user/\u732b 1.png", "5B3C", 1733228232), handle).body.decode())
except Exception as error:
    print(getattr(error, "reason", error))
"""


def other_process(url: str, lease: float) -> subprocess.Popen[str]:
    """Start a process that handles the upload of ``identity()`` until it gets a line, and wait until it does so."""
    command = [sys.executable, "-W", "error", "-c", _PROGRAM, patient(url), str(lease)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "handling\n"
    return process


@POSIX
def test_a_stopped_process_gets_the_response_of_the_one_that_took_over(server: Server, ledger: RedisLedger) -> None:
    process = other_process(server.url, 0.5)
    process.send_signal(signal.SIGSTOP)
    try:
        assert ledger.run_once(identity(), Handler()) == SUCCESS
    finally:
        process.send_signal(signal.SIGCONT)
    assert process.communicate("\n", DEADLINE)[0] == '{"Status": "Ok"}\n'
    assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS
    assert len(ledger) == 1


@POSIX
def test_a_stopped_process_stores_nothing_while_another_handles(server: Server, ledger: RedisLedger) -> None:
    process = other_process(server.url, 0.5)
    process.send_signal(signal.SIGSTOP)
    try:
        with handling(ledger, identity(), BlockingHandler()) as call:
            process.send_signal(signal.SIGCONT)
            assert process.communicate("\n", DEADLINE)[0] == "ledger_busy\n"
        assert call.outcome() == SUCCESS
    finally:
        process.kill()
        process.wait()
    assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS


@POSIX
def test_a_stopped_process_finishes_where_nobody_took_over(server: Server, ledger: RedisLedger) -> None:
    process = other_process(server.url, 0.1)
    process.send_signal(signal.SIGSTOP)
    with server.client() as client:
        wait_until(lambda: not client.exists("oss-wsgi:{t1}:l"))
    process.send_signal(signal.SIGCONT)
    assert process.communicate("\n", DEADLINE)[0] == "the other\n"
    assert ledger.run_once(identity(), Handler(FAILURE)).body == b"the other"


def wait_for_renewals(client: Any, number: int) -> None:
    """Wait until the lock of ``identity()`` was renewed some times, without an end between them."""
    left = client.pttl("oss-wsgi:{t1}:l")
    while number:
        time.sleep(0.01)
        last, left = left, client.pttl("oss-wsgi:{t1}:l")
        assert left > 0, "the lock has ended"
        number -= left > last


def test_a_lease_is_renewed_for_as_long_as_the_handler_runs_also_by_a_closed_ledger(redis: Server) -> None:
    """The lease is the default: a busy machine may hold up a renewal of a short one for too long."""
    with RedisLedger(redis.url) as ledger, RedisLedger(redis.url, wait_timeout=0.2) as other, redis.client() as client:
        with handling(ledger, identity(), BlockingHandler()):
            wait_for_renewals(client, 1)
            ledger.close()  # renews at once
            wait_for_renewals(client, 3)  # and longer than a lease in all
            with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
                other.run_once(identity(), Handler())
        assert other.run_once(identity(), Handler(FAILURE)) == SUCCESS
        assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS


def test_a_sweep_that_lost_its_lock_saves_nothing_more(server: Server, ledger: RedisLedger) -> None:
    with RedisLedger(server.url) as other, server.client() as client:
        with ledger.hold("sweep"):
            ledger.save("place", "one")
            assert 0 < client.pttl("oss-wsgi:{sweep}:lock:sweep") <= 12_000
            client.delete("oss-wsgi:{sweep}:lock:sweep")  # as its lease would, had the process stood still
            with other.hold("sweep"):
                with pytest.raises(LedgerUnavailableError, match="stood still"):
                    ledger.save("place", "late")
                other.save("place", "two")
        ledger.save("place", f"{ledger.load('place')} and three")
        assert client.get("oss-wsgi:{sweep}:text:place") == b"two and three"
        assert client.ttl("oss-wsgi:{sweep}:text:place") == -1


def test_a_lost_lock_is_not_freed_by_its_former_holder(server: Server, ledger: RedisLedger) -> None:
    with RedisLedger(server.url) as other, server.client() as client, ledger.hold("sweep"):
        client.delete("oss-wsgi:{sweep}:lock:sweep")
        with other.hold("sweep"):
            with pytest.raises(SweepRunningError), RedisLedger(server.url).hold("sweep"):
                pytest.fail("another one holds it")
    with ledger.hold("sweep"):
        pass


def test_close_lets_calls_in_progress_end(redis: Server) -> None:
    """redis-py's own close takes the sockets away from threads that read them, which raises ValueError there."""
    with RedisLedger(redis.url) as ledger, ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(lambda: [ledger.known([("a", "B")]) for _ in range(500)]) for _ in range(4)]
        while not all(call.done() for call in calls):
            ledger.close()
        assert all(call.result() == [set()] * 500 for call in calls)


def lease_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "oss-wsgi leases"]


def test_close_ends_the_thread_and_another_call_starts_it_again(redis: Server) -> None:
    ledger = RedisLedger(redis.url, lease=3600)  # by itself the thread ends when a third of it is over
    for ticket in ("t1", "t2"):
        ledger.run_once(identity(ticket), Handler())
        assert lease_threads()
        ledger.close()
        assert not lease_threads()


@POSIX
@pytest.mark.parametrize("is_handling", [False, True], ids=["idle", "handling"])
def test_a_forked_child_uses_the_ledger(redis: Server, is_handling: bool) -> None:
    with RedisLedger(redis.url) as ledger:
        ledger.run_once(identity("t1"), Handler())
        with handling(ledger, identity("t2"), BlockingHandler()) if is_handling else ledger:
            child = os.fork()
            if not child:
                kept = ledger.run_once(identity("t1"), Handler(FAILURE)) == SUCCESS
                made = ledger.run_once(identity("t3"), Handler()) == SUCCESS
                has_thread = lease_threads()
                ledger.close()  # its thread would run on for a lock of the parent's
                os._exit(0 if kept and made and has_thread and not lease_threads() else 1)
            assert os.waitpid(child, 0)[1] == 0
        assert ledger.run_once(identity("t3"), Handler(FAILURE)) == SUCCESS


@forking
def test_a_child_leaves_the_connections_of_its_parent_alone(redis: Server) -> None:
    """redis-py would wait for locks that threads of the parent may have held."""
    asked, echo = RedisServer(redis.url), Script.of("return ARGV[1]")
    calls: list[str] = []

    def use() -> bool:
        answer = asked.run(echo, [], ["in the child"])
        asked.close()
        return (answer, calls) == (b"in the child", [])

    assert asked.run(echo, [], ["before"]) == b"before"
    pool = asked.client.connection_pool
    for name in ("release", "disconnect", "reset"):
        setattr(pool, name, lambda *arguments, name=name, **options: calls.append(name))
    fork(use)
    asked.close()
    assert calls, "the parent's own are closed"


def test_ledgers_share_their_place_where_they_share_server_database_and_prefix(redis: Server) -> None:
    with RedisLedger(redis.url) as one, RedisLedger(f"{redis.url.replace('redis:', 'valkey:')}/0") as same:
        assert one.place == same.place
        with RedisLedger(redis.url, prefix="other") as other, RedisLedger(f"{redis.url}/1") as another:
            assert len({one.place, other.place, another.place}) == 3
        with redis.client() as client, RedisLedger(client) as with_client:
            assert with_client.place == one.place


def test_the_clocks_of_the_machines_do_not_matter(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    with RedisLedger(server.url) as one, RedisLedger(server.url) as other:
        for day in (86_400, -86_400):
            upload = identity(f"t{day}", expires=int(now()) + 900)
            monkeypatch.setattr(time, "time", functools.partial(lambda day: now() + day, day))
            assert one.run_once(upload, Handler()) == SUCCESS
            monkeypatch.setattr(time, "time", functools.partial(lambda day: now() - day, day))
            assert other.run_once(upload, Handler(FAILURE)) == SUCCESS


# Servers.


def test_a_connection_that_the_server_cuts_in_the_handler_is_opened_again(server: Server, ledger: RedisLedger) -> None:
    class Cutting(Handler):
        def __call__(self, transaction: object = None) -> StoredResponse:
            with server.client() as client:
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            return super().__call__(transaction)

    assert ledger.run_once(identity(), Cutting()) == SUCCESS
    assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS


def test_an_answer_that_was_not_read_is_not_the_next_calls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The handler of a signal may raise in the main thread, also between a command and its answer."""
    echo = Script.of("return ARGV[1]")
    asked = RedisServer(server.url)
    assert asked.run(echo, [], ["first"]) == b"first"

    def interrupt(*arguments: object, **options: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("redis.connection.AbstractConnection.read_response", interrupt)
    with pytest.raises(KeyboardInterrupt):
        asked.run(echo, [], ["interrupted"])
    assert asked.run(echo, [], ["next"]) == b"next"
    asked.close()


def test_a_unix_socket_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running("redis", tmp_path, "--unixsocket", str(path)), RedisLedger(f"unix://{path}?db=1") as ledger:
        assert ledger.url == f"unix://{path}"
        assert ledger.run_once(identity(), Handler()) == SUCCESS


def test_threads_use_each_others_connections(server: Server) -> None:
    with RedisLedger(server.url) as ledger, server.client() as client:

        def connections() -> int:
            return len(client.client_list(_type="normal"))

        ledger.run_once(identity("t0"), Handler())
        before = connections()
        for ticket in ("t1", "t2", "t3"):
            thread = threading.Thread(target=ledger.run_once, args=(identity(ticket), Handler()))
            thread.start()
            thread.join()
        assert connections() <= before + 1, "one may be added by the thread that renews leases"


def test_a_server_that_restarts_in_the_handler_still_gets_the_response(kind_folder: tuple[str, Path]) -> None:
    with running(*kind_folder) as server, RedisLedger(server.url) as ledger:

        class Restarting(Handler):
            def __call__(self, transaction: object = None) -> StoredResponse:
                server.kill()
                server.start()
                with server.client() as client:
                    assert not client.exists("oss-wsgi:{t1}:l"), "a lock does not wait for the disk"
                return super().__call__(transaction)

        assert ledger.run_once(identity(), Restarting()) == SUCCESS
        assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS


def test_a_response_without_a_server_to_store_it_is_an_error(kind_folder: tuple[str, Path]) -> None:
    with running(*kind_folder) as server, RedisLedger(server.url) as ledger:

        class Killing(Handler):
            def __call__(self, transaction: object = None) -> StoredResponse:
                server.kill()
                return super().__call__(transaction)

        with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
            ledger.run_once(identity(), Killing())
        for ask in (ledger.check, ledger.__len__, lambda: ledger.known([("a", "b")])):
            with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
                ask()
        handler = Handler()
        with pytest.raises(LedgerUnavailableError):
            ledger.run_once(identity("t2"), handler)
        assert handler.calls == 0
        server.start()
        ledger.check()
        assert ledger.run_once(identity("t2"), handler) == SUCCESS


@pytest.fixture(params=PROGRAMS)
def kind_folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    return request.param, tmp_path


def test_what_is_stored_survives_a_crash_of_the_server(kind_folder: tuple[str, Path]) -> None:
    with running(*kind_folder) as server, RedisLedger(server.url) as ledger:
        ledger.note([("a", "mark")], 1733228232)
        ledger.save("a", "text")
        assert ledger.run_once(identity(), Handler()) == SUCCESS
        server.kill()
        server.start()
        assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS
        assert ledger.known([("user/猫 1.png", "5B3C")])
        assert ledger.known([("a", "mark")])
        assert ledger.load("a") == "text"


def syncs(server: Server) -> int:
    with server.client() as client:
        return int(client.info("commandstats").get("cmdstat_waitaof", {"calls": 0})["calls"])


def test_an_upload_waits_for_the_disk(kind_folder: tuple[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    with running(*kind_folder, "--appendfsync", "everysec") as server:
        with RedisLedger(server.url) as ledger:
            assert "wait_for_sync=False" in caplog.text
            before = syncs(server)
            ledger.run_once(identity(), Handler())
            ledger.run_once(identity(), Handler())
            assert syncs(server) == before + 1
            with server.client() as client:
                client.config_set("appendonly", "no")
            assert ledger.run_once(identity("t2"), Handler()) == SUCCESS
            assert "cannot wait for its disk" in caplog.text
        for ledger in RedisLedger(server.url), RedisLedger(server.url, wait_for_sync=False):
            with ledger:
                before = syncs(server)
                ledger.run_once(identity("t3"), Handler())
                assert syncs(server) == before


def test_an_upload_does_not_wait_where_the_server_leaves_its_disk_to_the_system(
    kind_folder: tuple[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    with running(*kind_folder, "--appendfsync", "no") as server, RedisLedger(server.url) as ledger:
        assert "set `appendfsync always`" in caplog.text
        assert ledger.run_once(identity(), Handler()) == SUCCESS
        assert syncs(server) == 0


def test_a_server_without_a_disk_is_named_in_the_log(redis: Server, caplog: pytest.LogCaptureFixture) -> None:
    with redis.client() as client:
        client.config_set("appendonly", "no")
        try:
            RedisLedger(redis.url).close()
        finally:
            client.config_set("appendonly", "yes")
    assert "appendonly off" in caplog.text


def test_a_server_that_evicts_keys_is_refused(server: Server, ledger: RedisLedger) -> None:
    policy = "volatile-ttl"
    with server.client() as client:
        client.config_set("maxmemory-policy", policy)
        try:
            with pytest.raises(SettingsError, match=f"maxmemory-policy {policy}.*noeviction"):
                RedisLedger(server.url)
            with pytest.raises(LedgerUnavailableError, match=policy):
                ledger.check()
            client.execute_command("ACL", "SETUSER", "modest", "on", "+@all", "-config", "~*", ">word")
            with pytest.raises(SettingsError, match=policy):
                RedisLedger(server.url.replace("//", "//modest:word@"))
        finally:
            client.config_set("maxmemory-policy", "noeviction")
            client.acl_deluser("modest")


@pytest.mark.parametrize("command", ["hmget", "set", "hset", "hincrby", "hdel", "expire", "ttl", "time", "del"])
def test_a_right_that_is_missing_is_found_by_a_check(server: Server, command: str) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "modest", "on", "~*", "+@all", f"-{command}", ">word")
        with RedisLedger(server.url.replace("//", "//modest:word@")) as ledger:
            with pytest.raises(LedgerUnavailableError, match=f"(?i){command}"):
                ledger.check()
        client.acl_deluser("modest")


def test_a_check_leaves_no_key(server: Server, ledger: RedisLedger) -> None:
    ledger.check()
    with server.client() as client:
        assert list(client.scan_iter("*")) == []


def test_the_rights_that_the_documentation_names_suffice(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    rights = ["~oss-wsgi:*", "+@read", "+@write", "+@scripting", "+@connection", "+info", "+time"]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "modest", "on", *rights, ">word")
        with RedisLedger(server.url.replace("//", "//modest:word@")) as ledger:
            ledger.check()
            assert ledger.run_once(identity(), Handler()) == SUCCESS
            assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS
            assert ledger.known([("user/猫 1.png", "5B3C")])
            assert len(ledger) == 1
            with ledger.hold("a"):
                ledger.save("a", "text")
            ledger.note([("a", "mark")], 1733228232)
        client.acl_deluser("modest")
    assert "word" not in caplog.text


def fill(client: Any) -> None:
    client.config_set("maxmemory", "1")


def make_replica(client: Any) -> None:
    client.replicaof("127.0.0.1", 1)


def lose_replicas(client: Any) -> None:
    client.config_set("min-replicas-to-write", 1)


def lose_disk(client: Any) -> None:
    """Let the server fail to save, upon which it refuses to write."""
    shutil.rmtree(client.config_get("dir")["dir"])
    client.config_set("save", "3600 1")
    client.bgsave()
    wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


@pytest.mark.parametrize(
    ("break_server", "problem"),
    [(fill, "maxmemory"), (make_replica, "read only"), (lose_replicas, "NOREPLICAS"), (lose_disk, "MISCONF")],
)
def test_a_server_that_cannot_write_refuses_before_the_handler(
    kind_folder: tuple[str, Path], break_server: Callable[[Any], None], problem: str
) -> None:
    with running(*kind_folder) as server, server.client() as client, RedisLedger(server.url) as ledger:
        ledger.run_once(identity("t1"), Handler())
        break_server(client)
        handler = Handler()
        calls: list[Callable[[], object]] = [
            lambda: ledger.run_once(identity("t2"), handler),
            lambda: ledger.note([("a", "mark")], 1733228232),
            lambda: ledger.save("a", "text"),
            lambda: ledger.hold("a").__enter__(),
            ledger.check,
        ]
        for call in calls:
            with pytest.raises(LedgerUnavailableError, match=f"(?i){problem}") as raised:
                call()
            assert raised.value.reason == "ledger_unavailable"
        assert handler.calls == 0
        assert ledger.run_once(identity("t1"), handler) == SUCCESS, "what was stored is still found"


def calling(act: Callable[[], object]) -> Handler:
    """Return a handler that does something before it returns its response."""

    class Acting(Handler):
        def __call__(self, transaction: object = None) -> StoredResponse:
            act()
            return super().__call__(transaction)

    return Acting()


def test_a_server_that_becomes_full_in_a_handler_stores_its_response(server: Server, ledger: RedisLedger) -> None:
    with server.client() as client:
        try:
            handler = calling(lambda: client.config_set("maxmemory", "1mb"))
            assert ledger.run_once(identity(), handler) == SUCCESS
            with pytest.raises(LedgerUnavailableError, match="maxmemory"):
                ledger.run_once(identity("t2"), Handler(FAILURE))
        finally:
            client.config_set("maxmemory", "0")
    assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS
    assert len(ledger) == 1


def test_a_late_response_does_not_replace_the_stored_one(server: Server, ledger: RedisLedger) -> None:
    """The ticket has a response for another ETag of the object, so the number of its objects stays the same."""
    late, other = StoredResponse("200 OK", "", b"late"), StoredResponse("200 OK", "", b"other")
    with RedisLedger(server.url) as another, server.client() as client:
        ledger.run_once(identity(etag="before"), Handler())

        def lose_lock() -> None:
            client.delete("oss-wsgi:{t1}:l")  # as its lease would, had the process stood still
            assert another.run_once(identity(), Handler(other)) == other

        handler = calling(lose_lock)
        handler.result = late
        assert ledger.run_once(identity(), handler) == other
        assert another.run_once(identity(), Handler(FAILURE)) == other


def test_forgotten_scripts_are_sent_again(server: Server, ledger: RedisLedger) -> None:
    with server.client() as client:
        for ticket in ("t1", "t2"):
            client.script_flush()
            assert ledger.run_once(identity(ticket), Handler()) == SUCCESS
    assert len(ledger) == 2


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}], ids=["bytes", "texts"])
def test_a_client_of_the_application_is_used_and_stays_open(redis: Server, options: dict[str, Any]) -> None:
    with redis.client(**options) as client:
        with RedisLedger(client) as ledger:
            response = StoredResponse("200 OK", "image/png", bytes(range(256)))
            ledger.run_once(identity(), Handler(response))
            assert ledger.run_once(identity(), Handler(FAILURE)) == response
            assert len(ledger) == 1
            ledger.note([("a", "mark")], 1733228232)
            assert ledger.known([("a", "mark")])
            with ledger.hold("a"):
                ledger.save("a", "猫")
            assert ledger.load("a") == "猫"
        assert client.ping()


def test_a_cluster_client_of_the_application_is_used(cluster: list[Server]) -> None:
    from redis.cluster import RedisCluster

    with RedisCluster.from_url(empty(cluster[0]).url, decode_responses=True) as client:
        with RedisLedger(client, prefix="of-its-own") as ledger:
            for number in range(20):
                upload = identity(f"t{number}", object=f"object {number}")
                assert ledger.run_once(upload, Handler()) == SUCCESS
                assert ledger.run_once(upload, Handler(FAILURE)) == SUCCESS
            assert len(ledger) == 20
            assert len(ledger.known((f"object {number}", "5B3C") for number in range(30))) == 20
    sizes = []
    for each in cluster:
        with each.client() as one:
            sizes.append(one.dbsize())
    assert all(sizes), "every server of the cluster has some of the keys"


def test_all_keys_of_a_ticket_are_in_one_slot(cluster: list[Server]) -> None:
    from redis.cluster import RedisCluster

    with RedisLedger(cluster[0].url) as ledger, RedisCluster.from_url(cluster[0].url) as client:
        upload = identity("a ticket", max_objects=2)
        with handling(ledger, upload._replace(object="another"), BlockingHandler()):
            ledger.run_once(upload, Handler())
            keys = list(client.scan_iter("*{a ticket}*"))
            assert len(keys) == 2, "the lock of the other object, and what is stored"
            assert len({client.keyslot(key) for key in keys}) == 1


def test_a_cluster_waits_for_the_disk_of_the_tickets_server(tmp_path: Path) -> None:
    with running_cluster("redis", tmp_path) as cluster:
        for server in cluster:
            with server.client() as client:
                client.config_set("appendfsync", "everysec")
        with RedisLedger(cluster[0].url) as ledger:
            before = [syncs(server) for server in cluster]
            ledger.run_once(identity(max_objects=2), Handler())
            assert sum(syncs(server) for server in cluster) == sum(before) + 1
            assert ledger.run_once(identity(max_objects=2), Handler(FAILURE)) == SUCCESS


# Settings.


def test_no_password_appears_anywhere(redis: Server, caplog: pytest.LogCaptureFixture) -> None:
    url = redis.url.replace("//", "//user:sword%40fish@")
    with pytest.raises(SettingsError) as raised:
        RedisLedger(url)
    with redis.client() as client:
        client.execute_command("ACL", "SETUSER", "user", "on", "+@all", "~*", ">sword@fish")
        with RedisLedger(f"{url}/0?wait_for_sync=off&client_name=x") as ledger:
            shown = [repr(ledger), ledger.url, repr(RedisServer(url)), str(raised.value), caplog.text]
        client.acl_deluser("user")
    assert ledger.url == f"{redis.url}/0"
    assert not [text for text in shown if "fish" in text or "user:" in text]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1", "must begin with one of redis://"),
        ("redis://:hush/hush@127.0.0.1", "cannot be read"),
        ("redis://127.0.0.1:0", "no host, or port 0"),
        ("redis:///1", "no host"),
        ("redis://127.0.0.1/name", "number of a database"),
        ("redis://127.0.0.1:1/0?wait_for_sync=perhaps", "wait_for_sync"),
        ("redis://127.0.0.1:1/0?prefix={x}", "braces"),
        ("redis://127.0.0.1:1/0?no_such_parameter=1", "no_such_parameter"),
        ("redis://127.0.0.1:1/0", "cannot be used: Error 111"),
        (5, "not as int"),
    ],
)
def test_an_unusable_url_is_refused(url: Any, problem: str) -> None:
    with pytest.raises(SettingsError) as raised:
        RedisLedger(url)
    assert problem in str(raised.value)
    assert "hush" not in str(raised.value)


def test_an_asynchronous_client_is_refused() -> None:
    from redis.asyncio import Redis

    with pytest.raises(SettingsError, match=r"redis\.asyncio"):
        RedisLedger(Redis())


def test_ledgers_of_other_prefixes_do_not_meet(redis: Server) -> None:
    with RedisLedger(redis.url) as one, RedisLedger(f"{redis.url}?prefix=other") as other:
        one.run_once(identity(), Handler())
        assert (len(one), len(other)) == (1, 0)
        assert other.run_once(identity(), Handler(FAILURE)) == FAILURE
        assert not other.known([("user/猫 1.png", "5B3C")])


def test_a_missing_package_is_said_with_the_line_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(SettingsError, match=r"pip install 'oss-wsgi\[redis\]'"):
        RedisLedger("redis://127.0.0.1")
