"""`oss-wsgi local`: a local OSS, with the options of `python -m oss_wsgi.local`."""

from __future__ import annotations

import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

from oss_wsgi.local.command_line import parser

from ..running_server import clean_environ
from .command import COMMAND, oss_wsgi, running

pytestmark = pytest.mark.slow


def test_the_local_oss_runs_and_prints_its_address() -> None:
    with running("local", "--listen", "127.0.0.1:0", "--bucket", "my-bucket") as (url, output):
        assert output.startswith(f"Local OSS at {url}, ")
        with urllib.request.urlopen(urllib.request.Request(f"{url}/", headers={"Accept": "text/html"})) as page:
            assert b"my-bucket" in page.read()


def test_ctrl_c_ends_the_local_oss_with_status_0() -> None:
    with running("local", "--listen", "127.0.0.1:0", end=signal.SIGINT) as (url, _):
        assert url


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
