"""The `reconcile` command: with a named application, with server.py's settings, killed at any point, twice at once."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import sqlite3
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import webob

from local_oss import LocalOSS
from oss_wsgi.testing import multipart
from oss_wsgi.testing.local_oss import InProcessOSS, environ_for

from ..support.foreign_files import AS_ROOT, NOBODY, plant, victim_of
from ..support.forks import run, start
from ..support.ledger_programs import BYTE_LOCKS
from ..support.running_server import clean_environ
from ..support.server_threads import serving_oss
from ..support.waiting import wait_until
from .command import oss_wsgi

pytestmark = pytest.mark.slow

SWEEP = ["-m", "oss_wsgi", "reconcile", "shop:application", "--until", "0"]

#: An application that writes each upload into a table of its own, twice if it is told twice. It waits after HANDLES
#: uploads, and while there is a file `waiting`.
APPLICATION = """
import os, sqlite3, time
from contextlib import closing
from oss_wsgi import DirectUpload, Grant, SDKBucket, Settings

table = os.environ["TABLE"]
left = int(os.environ.get("HANDLES", "1000"))

def save(upload):
    global left
    open(table + ".begun", "w").close()
    while not left or os.path.exists(table + ".waiting"):
        time.sleep(0.01)
    left -= 1
    with closing(sqlite3.connect(table, timeout=60)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS uploads (object TEXT, recovered INTEGER)")
        connection.execute("INSERT INTO uploads VALUES (?, ?)", (upload.object, upload.recovered))
    if os.path.exists(table + ".failing"):
        raise RuntimeError("not now")

def view(environ, start_response):
    start_response("404 Not Found", [("Content-Length", "0")])
    return []

settings = Settings.from_environ({name: value for name, value in os.environ.items() if name.startswith("OSS_")})
bucket = SDKBucket(settings, clock=time.time, timeout=60.0)
grant = Grant(user="eric", dir="u/")
application = DirectUpload(view, settings, authorize=lambda request: grant, on_upload=save, bucket_client=bucket)
wrapped = lambda environ, start_response: application(environ, start_response)
"""


class Project:
    """A folder with an application, and a local OSS with uploads of it that nobody has reported."""

    def __init__(self, folder: Path, oss: LocalOSS) -> None:
        self.folder = folder
        self.oss = oss
        self.environ = {
            **environ_for(oss, folder),
            "OSS_LEDGER": str(folder / "ledger.db"),
            "TABLE": str(folder / "table.db"),
            "PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[2])]),
        }
        (folder / "shop.py").write_text(APPLICATION)

    def lose(self, count: int) -> list[str]:
        """Store uploads through forms of the application, without a callback, and return their names."""
        script = textwrap.dedent("""
            import json, sys, webob, shop
            forms = []
            for number in range(int(sys.argv[1])):
                request = webob.Request.blank(f"/oss/signature?filename={number}.txt&size=5&content_type=text/plain")
                forms.append(request.get_response(shop.application).json["fields"])
            print(json.dumps(forms))
        """)
        signed = run(["-c", script, str(count)], clean_environ(**self.environ), self.folder)
        names = []
        for fields in json.loads(signed.stdout):
            self.oss.fail_next("callback_refused")
            request = webob.Request.blank(self.oss.host, method="POST")
            request.content_type, request.body = multipart(fields, "a.txt", b"hello", "text/plain")
            assert request.get_response(self.oss).status_int == 203
            names.append(fields["key"])
        return sorted(names)

    def told(self) -> list[str]:
        """Return the names in the application's own table, each as often as it was handled."""
        if not (self.folder / "table.db").exists():
            return []
        with contextlib.closing(sqlite3.connect(self.folder / "table.db", timeout=60)) as connection:
            return sorted(name for (name,) in connection.execute("SELECT object FROM uploads"))

    def handled(self) -> int:
        if not (self.folder / "ledger.db").exists():
            return 0
        with contextlib.closing(sqlite3.connect(self.folder / "ledger.db", timeout=60)) as connection:
            return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def run(self, *arguments: str, status: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        """Sweep to the end. A handler that fails has its traceback in the log, on standard error."""
        swept = run([*SWEEP, *arguments], clean_environ(**{**self.environ, **environ}), self.folder)
        assert swept.returncode == status, swept.stdout + swept.stderr
        return swept

    def start(self, **environ: str) -> Any:
        return start([*SWEEP, "--json"], clean_environ(**{**self.environ, **environ}), self.folder)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with serving_oss(InProcessOSS(directory=tmp_path / "objects", key_bits=512)) as server:
        yield Project(tmp_path, server.oss)


def test_lost_uploads_reach_the_named_application_and_nothing_is_left(project: Project) -> None:
    lost = project.lose(3)
    dry = project.run("--dry-run", status=1)
    assert "3 untold: would be handled" in dry.stdout
    assert project.told() == []
    run = project.run()
    assert "3 recovered: handled now" in run.stdout
    assert run.stdout.endswith("Nothing is left.\n")
    assert run.stderr == "", "no progress bar and no log where there is no terminal"
    assert project.told() == lost
    assert "3 known: handled before" in project.run().stdout
    assert project.told() == lost


def test_an_application_over_asgi_is_swept_with_its_async_handler(project: Project) -> None:
    with (project.folder / "shop.py").open("a") as file:
        file.write("""
import oss_wsgi.asgi

async def save_later(upload):
    save(upload)

uploads = oss_wsgi.asgi.DirectUpload(settings, authorize=lambda request: None, on_upload=save_later)
""")
    lost = project.lose(2)
    run = oss_wsgi("reconcile", "shop:uploads", "--until", "0", cwd=project.folder, **project.environ)
    assert "2 recovered: handled now" in run.stdout
    assert project.told() == lost


def test_what_is_left_is_told_with_status_1(project: Project) -> None:
    (name,) = project.lose(1)
    (project.folder / "table.db.failing").touch()
    with project.oss.storage.bucket(project.oss.bucket).incoming() as incoming:
        incoming.write(b"x")
        incoming.commit("u/stranger.txt", "text/plain", {}, now=time.time())
    run = project.run(status=1)
    assert f"1 failed: not accepted by the application\n          {name}\n" in run.stdout
    assert "1 no_receipt: without a receipt\n          u/stranger.txt\n" in run.stdout
    assert "Reasons: handler_failed (1), receipt_missing (1)" in run.stdout
    report = json.loads(project.run("--json", status=1).stdout)
    assert report["left"] == {"failed": 1, "no_receipt": 1}
    assert (report["counts"]["known"], report["samples"]["failed"]) == (0, [name])
    assert "failed: not" not in project.run("--prefix", "other/").stdout
    assert "0 objects" in project.run("--prefix", "other/", "--prefix", "elsewhere/").stdout


def test_a_sweep_that_is_killed_again_and_again_goes_on_and_handles_nothing_twice(project: Project) -> None:
    lost = project.lose(12)
    for count, handles in ((1, 1), (4, 3), (8, 4)):
        process = project.start(HANDLES=str(handles))
        # Killed while the next handler waits: what the ledger has not stored, the application has not done.
        wait_until(lambda count=count: project.handled() == count)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
    report = json.loads(project.run("--json").stdout)
    assert project.told() == lost
    assert (report["left"], report["progress"]) == ({}, 1.0)
    assert report["counts"]["recovered"] + report["counts"]["known"] == 12
    again = json.loads(project.run("--json").stdout)
    assert (again["counts"]["known"], again["counts"]["recovered"]) == (12, 0)


def test_a_signal_in_a_handler_ends_the_sweep_which_goes_on_later(project: Project) -> None:
    lost = project.lose(3)
    script = project.folder / "shop.py"
    begin = f"def save(upload):\n    if 'INTERRUPT' in os.environ: os.kill(os.getpid(), {signal.SIGTERM})"
    script.write_text(script.read_text().replace("def save(upload):", begin))
    project.run(status=128 + signal.SIGTERM, INTERRUPT="1")
    assert project.told() == []
    project.run()
    assert project.told() == lost


def test_two_sweeps_at_once_handle_each_upload_once(project: Project) -> None:
    lost = project.lose(2)
    (project.folder / "table.db.waiting").touch()
    first = project.start()
    wait_until((project.folder / "table.db.begun").exists)
    second = project.run("--json", status=1)
    assert json.loads(second.stdout)["error"]["code"] == "sweep_running"
    (project.folder / "table.db.waiting").unlink()
    first.communicate(timeout=60)
    assert (first.returncode, project.told()) == (0, lost)


def test_without_an_application_the_settings_of_the_server_are_used(project: Project, tmp_path: Path) -> None:
    project.lose(2)
    environ = {name: value for name, value in project.environ.items() if name.startswith("OSS_")}
    arguments = ["reconcile", "--until", "0", "--upload-dir", "u/"]
    run = oss_wsgi(*arguments, cwd=tmp_path, **environ)
    assert "2 recovered" in run.stdout
    assert "2 known" in oss_wsgi(*arguments, cwd=tmp_path, **environ).stdout
    assert "no bucket is set: name your application" in oss_wsgi(*arguments, status=2).stderr


@AS_ROOT
@pytest.mark.parametrize(("end", "kind"), [pytest.param("-lock", "link", marks=BYTE_LOCKS), ("-wal", "hard link")])
def test_root_gives_no_file_away_that_the_services_user_put_beside_the_ledger(
    project: Project, tmp_path: Path, end: str, kind: str
) -> None:
    """The ledger and its folder belong to the service's user; the sweep is root's."""
    folder, victim = tmp_path / "of the service", victim_of(tmp_path)
    folder.mkdir()
    ledger, before = folder / "ledger.db", victim.state()
    project.run("--dry-run", OSS_LEDGER=str(ledger))
    for path in (folder, *folder.iterdir()):
        os.chown(path, NOBODY, NOBODY)
    project.run("--dry-run", OSS_LEDGER=str(ledger))
    assert {path.stat().st_uid for path in folder.iterdir()} == {NOBODY}
    Path(f"{ledger}{end}").unlink(missing_ok=True)
    plant(kind, Path(f"{ledger}{end}"), victim)
    swept = run([*SWEEP, "--dry-run"], clean_environ(**{**project.environ, "OSS_LEDGER": str(ledger)}), project.folder)
    assert swept.returncode != 0
    assert f"ledger.db{end}' {'is a symbolic link' if kind == 'link' else 'has 2 names'}" in swept.stderr
    assert victim.state() == before


def test_a_known_that_fails_is_shown_with_its_traceback(project: Project) -> None:
    project.lose(1)
    changed = APPLICATION.replace("on_upload=save", "on_upload=save, known=lambda pairs: 1 / 0")
    (project.folder / "shop.py").write_text(changed)
    error = project.run(status=1).stderr
    assert "ZeroDivisionError" in error
    assert "known= must return" in error
    assert project.told() == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["shop:wrapped"], "shop:wrapped is a function, not a DirectUpload"),
        (["shop:application", "--bucket", "b"], "shop:application has settings of its own: leave out --bucket"),
        (["shop:application", "--ledger", "other.sqlite3"], "and --ledger is other.sqlite3: uploads that one"),
        (["shop:application", "--since", "soon"], "must be a duration such as 15m, 26h or 7d, not 'soon'"),
        (["shop:application", "--since", "1m", "--until", "1h"], "since must be before until"),
    ],
)
def test_misuse_is_said_in_words(project: Project, arguments: list[str], problem: str) -> None:
    run = oss_wsgi("reconcile", *arguments, status=2, cwd=project.folder, **project.environ)
    assert problem in run.stderr


@pytest.mark.parametrize(
    ("variable", "problem"),
    [("OSS_LEDGER", "every upload would be handled again"), ("OSS_TICKET_SECRET", "receipts cannot be opened")],
)
def test_a_process_that_remembers_nothing_does_not_sweep(project: Project, variable: str, problem: str) -> None:
    project.lose(1)
    assert problem in project.run(status=2, **{variable: ""}).stderr
    assert project.told() == []


def test_a_process_that_remembers_nothing_counts_or_sweeps_where_the_application_remembers(project: Project) -> None:
    lost = project.lose(2)
    assert "2 untold" in project.run("--dry-run", status=1, OSS_LEDGER="").stdout
    changed = APPLICATION.replace("on_upload=save", "on_upload=save, known=lambda pairs: []")
    (project.folder / "shop.py").write_text(changed)
    assert "2 recovered" in project.run(OSS_LEDGER="").stdout
    assert project.told() == lost


def test_a_bucket_that_cannot_be_asked_is_status_1_with_the_reason(project: Project) -> None:
    project.lose(1)
    run = project.run(status=1, OSS_ACCESS_KEY_ID="unknown")
    assert "oss:ListObjects" in run.stderr
    assert "(bucket_refused)" in run.stderr
    document: Any = json.loads(project.run("--json", status=1, OSS_ACCESS_KEY_ID="unknown").stdout)
    assert document["error"]["code"] == "bucket_refused"
    assert "1 recovered" in project.run().stdout


def test_a_progress_bar_is_shown_on_a_terminal(project: Project) -> None:
    project.lose(3)
    master, slave = pty.openpty()
    environ = clean_environ(**project.environ)
    process = start(SWEEP, environ, project.folder, stderr=slave)
    os.close(slave)
    shown = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal whose other side is closed with EIO
        while piece := os.read(master, 4096):
            shown += piece
    output, _ = process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == 0
    assert b"Sweeping" in shown and b"recovered" in shown
    assert "Sweeping" not in output
