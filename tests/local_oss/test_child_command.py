"""`local-oss -- COMMAND` runs a command that uses the local OSS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import pytest

from local_oss import LocalOSS
from local_oss.child_command import callback_url_of, environ_with, page_origins
from oss_wsgi import Settings

from ..support.running_server import clean_environ

COMMAND = [sys.executable, "-m", "local_oss", "--listen", "127.0.0.1:0"]
TOLD = "import json, os, sys; print(json.dumps(dict(os.environ))); sys.exit(7)"
WAITS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("words", "port"),
    [
        (["uvicorn", "main:app"], 8000),
        (["uvicorn", "main:app", "--port", "9001"], 9001),
        (["uvicorn", "main:app", "--port=9001", "--reload"], 9001),
        (["flask", "run"], 5000),
        ([".venv/bin/flask", "run", "-p", "9002"], 9002),
        (["python", "-m", "flask", "run"], 5000),
        (["python", "manage.py", "runserver"], 8000),
        (["python", "manage.py", "runserver", "9003"], 9003),
        (["python", "manage.py", "runserver", "0.0.0.0:9003"], 9003),
        (["gunicorn", "-b", "127.0.0.1:9004", "app"], 9004),
        (["waitress-serve", "app:app"], 8080),
        (["waitress-serve", "--listen=127.0.0.1:9005", "app:app"], 9005),
        (["pytest", "-p", "no:cacheprovider", "-n", "12"], 8000),
    ],
)
def test_the_callback_goes_to_the_port_of_the_command(words: Sequence[str], port: int) -> None:
    assert callback_url_of(words, {}) == f"http://127.0.0.1:{port}/oss/callback"


def test_a_callback_url_of_the_environment_stays() -> None:
    environ = {"OSS_CALLBACK_URL": "http://10.0.0.7:9000/files/callback"}
    assert callback_url_of(["uvicorn", "main:app"], environ) == "http://10.0.0.7:9000/files/callback"
    assert page_origins("http://10.0.0.7:9000/files/callback") == ["http://10.0.0.7:9000"]


def test_pages_may_be_opened_under_both_names_of_the_machine() -> None:
    assert page_origins("http://127.0.0.1:8000/oss/callback") == ["http://127.0.0.1:8000", "http://localhost:8000"]


@pytest.fixture(scope="module")
def oss() -> LocalOSS:
    return LocalOSS()


def settings_with(oss: LocalOSS, environ: Mapping[str, str]) -> Settings:
    return Settings.from_environ(environ_with(oss, environ, "http://127.0.0.1:8000/oss/callback"))


def test_the_variables_are_settings_of_the_local_oss(oss: LocalOSS) -> None:
    settings = settings_with(oss, {})
    assert (settings.bucket, settings.host, settings.endpoint) == (oss.bucket, oss.host, oss.url)
    assert (settings.access_key_id, settings.access_key_secret) == (oss.access_key_id, oss.access_key_secret)
    ((url, file),) = settings.trusted_keys
    assert url == oss.public_key_url
    with open(file, encoding="ascii") as key:
        assert key.read() == oss.public_key_pem


def test_no_callback_url_is_given_where_pages_report(oss: LocalOSS) -> None:
    environ = environ_with(oss, {"OSS_REPORT_BY": "Page"}, "http://127.0.0.1:8000/oss/callback")
    settings = Settings.from_environ(environ)
    assert (settings.pages_report, settings.callback_url) == (True, None)


def test_what_belongs_to_a_real_bucket_is_left_out(oss: LocalOSS) -> None:
    real = {
        "OSS_BUCKET": "real",
        "OSS_HOST": "https://files.example.com",
        "OSS_CREDENTIALS_LIBRARY": "on",
        "OSS_SESSION_TOKEN": "token",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "real",
    }
    settings = settings_with(oss, real)
    assert (settings.bucket, settings.host, settings.session_token) == (oss.bucket, oss.host, None)
    assert not settings.credentials_library


def test_other_variables_stay(oss: LocalOSS, tmp_path: os.PathLike[str]) -> None:
    environ = environ_with(oss, {"OSS_UPLOAD_DIR": "a/", "OSS_ALLOW_ANONYMOUS": "off", "HOME": "/h"}, "http://h/c")
    assert (environ["OSS_UPLOAD_DIR"], environ["OSS_ALLOW_ANONYMOUS"], environ["HOME"]) == ("a/", "off", "/h")
    given = environ_with(oss, {"OSS_TICKET_SECRET_FILE": "secrets"}, "http://h/c")
    assert "OSS_TICKET_SECRET" not in given


@pytest.mark.slow
def test_the_command_gets_the_variables_and_gives_its_status() -> None:
    command = [*COMMAND, "--", sys.executable, "-c", TOLD, "--reload"]
    process = subprocess.run(command, env=clean_environ(), capture_output=True, text=True)
    assert process.returncode == 7, process.stderr
    told = json.loads(process.stdout)
    assert told["OSS_BUCKET"] == "local-bucket"
    assert f"Local OSS at {told['OSS_ENDPOINT']}. Open {told['OSS_ENDPOINT']}/ to see each request" in process.stderr
    assert not os.path.exists(told["OSS_TRUSTED_KEYS"].partition("=")[2]), "the folder ends with the command"


@pytest.mark.slow
def test_a_signal_reaches_the_command() -> None:
    command = [*COMMAND, "--", sys.executable, "-c", WAITS]
    with subprocess.Popen(command, env=clean_environ(), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 9


@pytest.mark.slow
def test_a_command_that_a_signal_ends_has_the_status_of_a_shell() -> None:
    command = [*COMMAND, "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert subprocess.run(command, env=clean_environ(), capture_output=True).returncode == 128 + signal.SIGKILL


@pytest.mark.slow
def test_a_command_that_cannot_be_run_is_named() -> None:
    process = subprocess.run([*COMMAND, "--", "./nothing"], env=clean_environ(), capture_output=True, text=True)
    assert (process.returncode, process.stderr.splitlines()[-1]) == (
        2,
        "local-oss: './nothing' cannot be run: No such file or directory.",
    )
