"""The command line as a whole: help, exit statuses and closed outputs are the same in every command."""

from __future__ import annotations

import argparse
import configparser
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from oss_wsgi import __version__
from oss_wsgi.cli.main import command_parser

from ..support.absent import linux_only
from ..support.running_server import clean_environ
from .command import COMMAND, oss_wsgi

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
DEV_FULL = linux_only("/dev/full")
NAMES = [
    name
    for action in command_parser()._actions
    if isinstance(action, argparse._SubParsersAction)
    for name in action.choices
]


def test_without_a_command_the_error_names_them() -> None:
    output = oss_wsgi(status=2).stderr
    assert "COMMAND" in output
    listed = oss_wsgi("--help").stdout
    assert [name for name in NAMES if name not in listed] == ["ledger"]


def test_the_version_is_that_of_the_package() -> None:
    assert oss_wsgi("--version").stdout == f"oss-wsgi {__version__}\n"


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_with_an_example_and_takes_no_secret_as_an_option(name: str) -> None:
    output = oss_wsgi(name, "--help").stdout
    assert f"Example: oss-wsgi {name}" in " ".join(output.split())
    assert "--session-token" not in output
    assert "--ticket-secret" not in output
    # Only the local OSS takes one: a made-up key for its clients.
    assert ("--access-key-secret" in output) == (name == "local")


def test_the_console_script_is_this_main() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    assert {"oss-wsgi = oss_wsgi.__main__:main", "local-oss = local_oss.__main__:main"} <= set(scripts)
    code = "import sys; from oss_wsgi.__main__ import main; sys.argv[0] = 'oss-wsgi'; sys.exit(main())"
    run = subprocess.run([sys.executable, "-c", code, "serve", "--prefix", "oss"], capture_output=True, text=True)
    assert (run.returncode, run.stderr[:15]) == (2, "oss-wsgi serve:")


def test_a_closed_pipe_causes_no_traceback() -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environ()
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    output = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert b"Traceback" not in output


@pytest.mark.parametrize(
    ("redirection", "arguments"),
    [
        (">&-", ["explain", "AccessDenied"]),
        ("2>&-", ["upload", "missing"]),
        (">&- 2>&-", ["explain"]),
        pytest.param(">/dev/full", ["explain"], marks=DEV_FULL),
        pytest.param(">/dev/full", ["--help"], marks=DEV_FULL),
        pytest.param(">/dev/full 2>/dev/full", ["explain", "AccessDenied"], marks=DEV_FULL),
    ],
)
def test_a_closed_or_full_output_causes_no_traceback(redirection: str, arguments: list[str]) -> None:
    line = f"exec {shlex.join([*COMMAND, *arguments])} {redirection}"
    environ = {name: value for name, value in clean_environ().items() if name != "PYTHONUNBUFFERED"}
    run = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environ)
    assert "Traceback" not in run.stderr
    assert "Exception ignored" not in run.stderr
    assert run.returncode == (1 if "full" in redirection or "upload" in arguments else 0)


def test_misuse_is_reported_in_json_too() -> None:
    ended = oss_wsgi("cors", "print", "--json", status=2)
    assert "name the origins" in json.loads(ended.stdout)["error"]["message"]
    assert "name the origins" in ended.stderr


def test_the_program_is_named_oss_wsgi_however_it_is_started() -> None:
    assert command_parser().prog == "oss-wsgi"
    assert oss_wsgi("--help").stdout.startswith("usage: oss-wsgi ")


def test_without_a_command_it_says_what_lists_them() -> None:
    assert "error: name a command: `oss-wsgi --help` lists them" in oss_wsgi(status=2).stderr


def test_the_help_fits_one_screen() -> None:
    assert len(oss_wsgi("--help", COLUMNS="80").stdout.splitlines()) <= 24


def test_a_shell_completes_commands_and_options_with_shtab() -> None:
    shtab = pytest.importorskip("shtab")
    script = shtab.complete(command_parser(), "bash")
    assert "doctor" in script and "--callback-url" in script
