"""PostgreSQL, MariaDB and PgBouncer for tests: unprivileged, in a temporary folder, on loopback, ended with the tests.

    with running("postgresql") as server:
        engine = sqlalchemy.create_engine(server.url)

A process of its own starts the server, and stops it when its standard input ends: also when the tests are killed. These
servers refuse to run as root, so for root they run as the user that Debian's package has made.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .absent import skip_or_fail
from .ports import free_port

ROOT = Path(__file__).parents[2]
PASSWORD = "pass-word-9f"
PROGRAMS = {"postgresql": "postgres", "mariadb": "mariadbd", "pgbouncer": "pgbouncer"}
USERS = {"postgresql": "postgres", "mariadb": "mysql", "pgbouncer": "postgres"}
#: Seconds; a server whose program ends is not waited for.
PATIENCE = 300.0
_PR_SET_PDEATHSIG = 1
# From PostgreSQL 15 on: a benchmark begins when what it has filled is on the disk.
_MAY_CHECKPOINT = "DO $$BEGIN GRANT pg_checkpoint TO app; EXCEPTION WHEN undefined_object THEN NULL; END$$"


class Server:
    """A server that runs in a process of its own."""

    def __init__(self, kind: str, *options: str) -> None:
        self.kind = kind
        command = [sys.executable, "-m", "tests.support.databases", kind, *options]
        # In a session of its own it hears no Ctrl-C, and can stop the server.
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.port = int(self._hear()["port"])
        scheme = "mysql" if kind == "mariadb" else "postgresql"
        self.url = f"{scheme}://app:{PASSWORD}@127.0.0.1:{self.port}/app"

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.stop()
            raise AssertionError("the server did not start")
        message: dict[str, Any] = json.loads(line)
        return message

    def restart(self) -> None:
        """Stop the server as a crash does, and start it again on the same port."""
        assert self._process.stdin is not None
        self._process.stdin.write("restart\n")
        self._process.stdin.flush()
        self._hear()

    def stop(self) -> None:
        self._process.communicate()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


@contextlib.contextmanager
def running(kind: str, *options: str) -> Iterator[Server]:
    """Run a server while the with block runs; skip the test where it is not installed, and fail in CI."""
    if program(kind) is None or not hasattr(os, "getuid"):
        skip_or_fail(kind)
    server = Server(kind, *options)
    try:
        yield server
    finally:
        server.stop()


def program(kind: str) -> str | None:
    """Return the path of a server's program; Debian has PostgreSQL's outside PATH."""
    name = PROGRAMS[kind]
    places = [*sorted(glob.glob("/usr/lib/postgresql/*/bin")), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(reversed(places)))


class _Starter:
    """Starts one server, as the process of ``Server``."""

    def __init__(self, kind: str, options: list[str]) -> None:
        self.kind, self.options = kind, options
        self.path = os.path.realpath(program(kind) or "")
        self.folder = Path(tempfile.mkdtemp(prefix=f"oss-wsgi-{kind}-", dir="/tmp"))
        self.port = free_port()
        # A MariaDB that starts removes the temporary tables of all others that have the same folder for them.
        environ = {**os.environ, "TMPDIR": str(self.folder)}
        self.identity: dict[str, Any] = {"cwd": self.folder, "stdin": subprocess.DEVNULL, "env": environ}
        if os.getuid() == 0:
            user = pwd.getpwnam(USERS[kind])
            self.identity |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = open(self.folder / "log", "ab")  # noqa: SIM115

    def run(self, *command: str | Path) -> None:
        subprocess.run(list(map(str, command)), check=True, stdout=self.log, stderr=self.log, **self.identity)

    def said(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def prepare(self) -> None:
        data = self.folder / "data"
        if self.kind == "postgresql":
            initdb = Path(self.path).with_name("initdb")
            self.run(initdb, "-D", data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            (data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        elif self.kind == "mariadb":
            self.run(
                "mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
                "--skip-test-db",
            )  # fmt: skip
        else:
            target = self.options[0]
            (self.folder / "pgbouncer.ini").write_text(
                f"[databases]\napp = host=127.0.0.1 port={target} user=app password={PASSWORD}\n[pgbouncer]\n"
                f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
                "pool_mode = transaction\ndefault_pool_size = 20\n"
            )

    def start(self) -> None:
        port, folder = f"--port={self.port}", self.folder
        if self.kind == "postgresql":
            command = [
                self.path, "-D", f"{folder}/data", f"-p{self.port}", f"-k{folder}", "-clisten_addresses=127.0.0.1",
                "-cmax_connections=200", *self.options,
            ]  # fmt: skip
        elif self.kind == "mariadb":
            command = [
                self.path, "--no-defaults", f"--datadir={folder}/data", f"--socket={folder}/socket", port,
                "--bind-address=127.0.0.1", f"--pid-file={folder}/pid", "--skip-name-resolve", *self.options,
            ]  # fmt: skip
        else:
            command = [self.path, f"{folder}/pgbouncer.ini"]
        death = signal.SIGQUIT if self.kind == "postgresql" else signal.SIGTERM

        def end_with_parent() -> None:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death)

        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, preexec_fn=end_with_parent, **self.identity
        )
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as client:
                if self.kind != "mariadb" or client.recv(1):
                    return
            time.sleep(0.05)
        raise RuntimeError("it does not answer")

    def make_database(self) -> None:
        if self.kind == "postgresql":
            psql = Path(self.path).with_name("psql")
            texts = [
                f"CREATE ROLE app LOGIN CREATEDB PASSWORD '{PASSWORD}'",
                "CREATE DATABASE app OWNER app",
                _MAY_CHECKPOINT,
            ]
            for text in texts:
                self._until_ready(
                    psql, "-h", self.folder, "-p", str(self.port), "-U", "admin", "-d", "postgres", "-c", text
                )
        elif self.kind == "mariadb":
            text = (
                f"CREATE DATABASE app; CREATE USER app@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; "
                "GRANT ALL ON *.* TO app@'127.0.0.1'"
            )
            self.run("mariadb", "--no-defaults", "-u", "root", f"--socket={self.folder}/socket", "-e", text)

    def wait_until_ready(self) -> None:
        """Wait until PostgreSQL has recovered; MariaDB does not listen before."""
        if self.kind == "postgresql":
            psql = Path(self.path).with_name("psql")
            self._until_ready(
                psql, "-h", self.folder, "-p", str(self.port), "-U", "admin", "-d", "app", "-c", "SELECT 1"
            )

    def _until_ready(self, *command: str | Path) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.run(*command)
                return
            time.sleep(0.05)
        raise RuntimeError("it is not ready")

    def stop(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def end(self) -> None:
        self.stop(signal.SIGQUIT if self.kind == "postgresql" else signal.SIGKILL)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def main(kind: str, options: list[str]) -> None:
    """Start a server, print its port, restart it when asked to, and stop it when the standard input ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    starter = _Starter(kind, options)
    try:
        starter.prepare()
        starter.start()
        starter.make_database()
        print(json.dumps({"port": starter.port}), flush=True)
        for _ in sys.stdin:
            starter.stop(signal.SIGQUIT if kind == "postgresql" else signal.SIGKILL)
            starter.start()
            starter.wait_until_ready()
            print(json.dumps({"port": starter.port}), flush=True)
    except Exception:
        print(starter.said(), file=sys.stderr)
        raise
    finally:
        starter.end()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
