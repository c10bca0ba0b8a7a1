"""The examples for systemd and cron: their programs accept them, and what they start takes their options."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ..support.absent import skip_or_fail

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str, instead: dict[str, str]) -> str:
    """Return the text of an example, with the keys of ``instead`` replaced by their values."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in instead.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze") or skip_or_fail("systemd-analyze")
    # systemd-analyze looks for the program that the unit starts.
    instead = {"/usr/local/bin/oss-wsgi": "/bin/true"}
    service, socket = tmp_path / "oss-wsgi.service", tmp_path / "oss-wsgi.socket"
    service.write_text(example(service.name, instead))
    socket.write_text(example(socket.name, {}))
    sweep, timer = tmp_path / "oss-wsgi-reconcile.service", tmp_path / "oss-wsgi-reconcile.timer"
    sweep.write_text(example(sweep.name, instead))
    timer.write_text(example(timer.name, {}))
    units = [str(unit) for unit in (service, socket, sweep, timer)]
    command = [analyze, "verify", "--man=no", "--recursive-errors=no", *units]
    process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.returncode == 0, process.stdout
    assert "oss-wsgi" not in process.stdout


@pytest.mark.parametrize(
    ("name", "command"), [("oss-wsgi.service", "serve"), ("oss-wsgi-reconcile.service", "reconcile")]
)
def test_the_units_use_only_existing_options(name: str, command: str) -> None:
    from oss_wsgi.cli.main import command_parser

    lines = [row.lstrip("# ") for row in example(name, {}).splitlines()]
    assert "WorkingDirectory=/srv/yourapp" in lines, "beside the line with an application of one's own"
    starts = [line.split()[1:] for line in lines if line.startswith("ExecStart=")]
    commands = [command_parser().parse_args(words) for words in starts]
    assert [arguments.command for arguments in commands] == [command, command]
    assert "yourapp:application" in starts[0]


def test_the_settings_with_secrets_are_read_by_root_alone() -> None:
    (line,) = [row for row in example("reconcile.cron", {}).splitlines() if not row.startswith("#")]
    assert line.split()[5] == "root"
    assert "runuser -u www-data -- " in line
    assert "belongs to root, mode 0600" in example("oss-wsgi.service", {})


@pytest.mark.slow
def test_the_cron_line_reads_a_value_as_it_stands(tmp_path: Path) -> None:
    """Two callback URLs are joined by ';', which a shell that sources the file takes for the end of a command."""
    values = {"OSS_CALLBACK_URL": "https://a.example/callback;https://b.example/callback", "SECRET": "a&b $HOME"}
    file, runuser = tmp_path / "oss-wsgi.env", tmp_path / "runuser"
    file.write_text("# settings\n\n" + "".join(f"{name}={text}\n" for name, text in values.items()))
    runuser.write_text("#!/bin/sh\nenv\nexit 1\n")  # a sweep that leaves something
    runuser.chmod(0o755)
    text = example("reconcile.cron", {"/etc/oss-wsgi.env": str(file), "/srv/yourapp": str(tmp_path)})
    (line,) = [row for row in text.splitlines() if not row.startswith("#")]
    command = line.partition(" root ")[2]
    assert "%" not in command, "cron takes it for a line break"
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/"}
    mail = subprocess.run(["/bin/sh", "-c", command], env=environ, capture_output=True, text=True, check=True).stdout
    assert {f"{name}={text}" for name, text in values.items()} <= set(mail.splitlines())


def test_a_ledger_in_the_environment_file_takes_the_place_of_the_units_own() -> None:
    """systemd reads EnvironmentFile= after Environment=, wherever they stand; an option would win over both."""
    for name in ("oss-wsgi.service", "oss-wsgi-reconcile.service"):
        lines = example(name, {}).splitlines()
        assert "Environment=OSS_LEDGER=%S/oss-wsgi/ledger.sqlite3" in lines
        assert "EnvironmentFile=/etc/oss-wsgi.env" in lines
        assert not any("--ledger" in line for line in lines)


def test_the_timer_and_the_cron_line_sweep_with_existing_options() -> None:
    from oss_wsgi.cli.main import command_parser

    (line,) = [row for row in example("oss-wsgi-reconcile.service", {}).splitlines() if row.startswith("ExecStart=")]
    arguments = command_parser().parse_args(line.split()[1:])
    assert (arguments.command, arguments.since, arguments.until) == ("reconcile", 26 * 3600, 15 * 60)
    (line,) = [row for row in example("reconcile.cron", {}).splitlines() if not row.startswith("#")]
    command = line.partition("oss-wsgi ")[2].partition(" 2>&1")[0]
    arguments = command_parser().parse_args(command.split())
    assert (arguments.application, arguments.since) == ("yourapp:application", 26 * 3600)
