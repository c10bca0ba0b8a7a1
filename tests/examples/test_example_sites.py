"""The examples for systemd, nginx and Apache, each checked by its own program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ..support.absent import skip_or_fail
from ..support.certificate import certificate as make_certificate

EXAMPLES = Path(__file__).parents[2] / "examples"
APACHE_MODULES = Path("/usr/lib/apache2/modules")
MODULES = ("mpm_event", "authz_core", "alias", "ssl", "socache_shmcb", "proxy", "proxy_http", "headers", "reqtimeout")


def program(name: str) -> str:
    """Return the path of a program, even if it is in an administrator's folder."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    return path or skip_or_fail(name)


def run(*command: str) -> str:
    """Run a command and return its output."""
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    """Make a certificate and its key, and return the files of the examples that they replace."""
    both = str(make_certificate(tmp_path, names=["app.example.com"]))
    return {
        "/etc/ssl/certs/app.example.com.pem": both,
        "/etc/ssl/private/app.example.com.key": both,
    }


def example(name: str, instead: dict[str, str]) -> str:
    """Return the text of an example, with the keys of ``instead`` replaced by their values."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in instead.items():
        assert old in text
        text = text.replace(old, new)
    return text


def test_nginx_accepts_its_site(tmp_path: Path, certificate: dict[str, str]) -> None:
    nginx = program("nginx")
    # nginx -t opens the addresses, so they must not be ports of this machine's own server.
    addresses = ("[::]:80", "[::]:443", "80", "443")
    sockets = {f"listen {address}": f"listen unix:{tmp_path}/{number}" for number, address in enumerate(addresses)}
    site = example("nginx-site.conf", {**certificate, **sockets})
    temporary = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"pid {tmp_path}/nginx.pid; error_log stderr;\nevents {{}}\nhttp {{ access_log off;\n{temporary}{site}}}\n"
    (tmp_path / "nginx.conf").write_text(main)
    output = run(nginx, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"))
    assert "[warn]" not in output


def test_apache_accepts_its_site(tmp_path: Path, certificate: dict[str, str]) -> None:
    apache = program("apache2")
    if not APACHE_MODULES.is_dir():
        skip_or_fail(str(APACHE_MODULES))
    loaded = "".join(f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n" for name in MODULES)
    main = f"ServerRoot {tmp_path}\nServerName localhost\nDefaultRuntimeDir {tmp_path}\nPidFile {tmp_path}/pid\n"
    main += f"ErrorLog {tmp_path}/error.log\nListen 127.0.0.1:80\nListen 127.0.0.1:443\n"
    (tmp_path / "apache.conf").write_text(loaded + main + example("apache-site.conf", certificate))
    output = run(apache, "-t", "-f", str(tmp_path / "apache.conf"))
    assert output.strip() == "Syntax OK"


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    # systemd-analyze looks for the program that the unit starts.
    instead = {"/usr/local/bin/oss-wsgi": "/bin/true"}
    service, socket = tmp_path / "oss-wsgi.service", tmp_path / "oss-wsgi.socket"
    service.write_text(example(service.name, instead))
    socket.write_text(example(socket.name, {}))
    sweep, timer = tmp_path / "oss-wsgi-reconcile.service", tmp_path / "oss-wsgi-reconcile.timer"
    sweep.write_text(example(sweep.name, instead))
    timer.write_text(example(timer.name, {}))
    units = [str(unit) for unit in (service, socket, sweep, timer)]
    output = run(analyze, "verify", "--man=no", "--recursive-errors=no", *units)
    assert "oss-wsgi" not in output


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
