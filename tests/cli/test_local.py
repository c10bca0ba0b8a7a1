"""`oss-wsgi local`: a local OSS, with the options of `python -m local_oss`."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local_oss import LocalOSS
from local_oss.command_line import parser
from oss_wsgi.cli.local import local_environ
from oss_wsgi.serving.until_stopped import CannotStartError

from ..support.absent import skip_or_fail
from ..support.foreign_files import AS_ROOT, KINDS, NOBODY, plant, victim_of
from ..support.running_server import clean_environ, signed
from .command import COMMAND, oss_wsgi, running

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


def test_the_local_oss_runs_and_prints_its_address() -> None:
    with running("local", "--listen", "127.0.0.1:0", "--bucket", "my-bucket") as (url, output):
        assert output.startswith(f"Local OSS at {url}, ")
        with urllib.request.urlopen(urllib.request.Request(f"{url}/", headers={"Accept": "text/html"})) as page:
            assert b"my-bucket" in page.read()


def test_the_command_has_every_option_of_the_module() -> None:
    output = oss_wsgi("local", "--help").stdout
    options = [option for action in parser()._actions for option in action.option_strings]
    assert [option for option in options if option not in output] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--access-key-id", "ID"], "oss-wsgi local: give --access-key-id and", id="half a key"),
        pytest.param(["--dir", "/dev/null/x"], "oss-wsgi local: --dir", id="a folder that cannot be"),
    ],
)
def test_misuse_names_the_command(arguments: list[str], message: str) -> None:
    assert oss_wsgi("local", "--listen", "127.0.0.1:0", *arguments, status=2).stderr.startswith(message)


@pytest.mark.parametrize("command", ["local", "serve"])
def test_a_closed_terminal_leaves_no_folder(command: str, tmp_path: Path) -> None:
    free = ["--local-listen", "127.0.0.1:0"] if command == "serve" else []
    with running(command, "--listen", "127.0.0.1:0", *free, end=signal.SIGHUP, TMPDIR=str(tmp_path)):
        assert list(tmp_path.glob("local-oss-*"))
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_that_is_closed_at_the_start_leaves_no_folder(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "local", "--listen", "127.0.0.1:0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environ(TMPDIR=str(tmp_path)),
    )
    while process.poll() is None and not list(tmp_path.iterdir()):
        pass  # the folder is there before anything is printed
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGHUP)  # a shell and the kernel send one each
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.servers
def test_the_lines_for_oss_wsgi_can_be_pasted(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        skip_or_fail("curl")
    (tmp_path / "a.txt").write_bytes(b"hello")
    environ = clean_environ(PYTHONPATH=str(ROOT))
    command = [*COMMAND, "local", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as local:
        assert local.stdout is not None
        try:
            output = "".join(iter(local.stdout.readline, "Ctrl-C ends it.\n"))
            _, _, rest = output.partition("paste these lines into its shell:\n")
            lines, _, rest = rest.partition("An application on port 8080 needs this too: ")
            callback_line = rest.removesuffix("Ctrl-C ends it.\n")
            assert lines and callback_line
            program = shlex.join(COMMAND)
            script = f"set -e\n{lines}{program} sign a.txt --curl | sh\n{program} doctor --only v4 --only key\n"
            script += f"{callback_line}{program} doctor --only callback-url"
            shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environ)
        finally:
            local.terminate()
    assert shell.returncode == 0, shell.stderr + shell.stdout
    assert "HTTP status 200" in shell.stderr
    assert "green  v4" in shell.stdout
    assert "green  callback-url: http://127.0.0.1:8080/oss/callback" in shell.stdout
    assert shell.stdout.count("  key: ") == 2, "OSS's own, and that of the local OSS"


def access_key_of_serve(*arguments: str) -> str:
    """Start `serve`, and return the ID of the access key that signs its forms."""
    with running("serve", "--listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0", *arguments) as (url, _):
        return str(signed(url)["fields"]["x-oss-credential"]).partition("/")[0]


def test_the_access_key_of_serve_is_kept_with_the_objects(tmp_path: Path) -> None:
    folder = str(tmp_path / "oss")
    with LocalOSS(directory=folder) as oss:
        kept = oss.access_key_id
    assert access_key_of_serve("--local-dir", folder) == kept
    assert access_key_of_serve() != kept


def test_those_who_start_at_the_same_time_keep_one_ticket_secret(tmp_path: Path) -> None:
    together = threading.Barrier(8)

    def start(name: str) -> str:
        together.wait(60)
        return local_environ({}, str(tmp_path / name))["OSS_TICKET_SECRET"]

    with ThreadPoolExecutor(8) as pool:
        for number in range(5):
            assert len(set(pool.map(start, [str(number)] * 8))) == 1
    assert {path.suffix for path in tmp_path.iterdir()} == {".ticket-secret"}


@AS_ROOT
def test_a_ticket_secret_of_another_user_is_refused_with_the_owner(tmp_path: Path) -> None:
    secret = tmp_path / "files.ticket-secret"
    local_environ({}, str(tmp_path / "files"))
    os.chown(secret, NOBODY, NOBODY)
    with pytest.raises(CannotStartError, match=r"ticket-secret' belongs to user 65534.*, or set OSS_TICKET_SECRET\."):
        local_environ({}, str(tmp_path / "files"))


def test_what_is_no_regular_file_with_one_name_is_no_ticket_secret(tmp_path: Path) -> None:
    victim, secret = victim_of(tmp_path), tmp_path / "files.ticket-secret"
    victim.path.write_text("0" * 64)
    before = victim.state()
    plant("hard link", secret, victim)
    with pytest.raises(CannotStartError, match=KINDS["hard link"]):
        local_environ({}, str(tmp_path / "files"))
    assert victim.state() == before


def test_a_ledger_in_a_missing_folder_is_named_with_its_path(tmp_path: Path) -> None:
    ledger = str(tmp_path / "missing" / "ledger.sqlite3")
    with pytest.raises(CannotStartError, match=r"No such file or directory. Check the path '.*ledger.sqlite3', or set"):
        local_environ({"OSS_LEDGER": ledger}, None)
