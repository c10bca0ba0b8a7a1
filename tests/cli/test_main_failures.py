"""What all commands do when they fail: one JSON document, all problems at once, no name of an exception, signals."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_wsgi.cli import explain
from oss_wsgi.cli.main import main

from ..support.running_server import clean_environ
from .command import COMMAND, oss_wsgi, run_command

pytestmark = pytest.mark.slow

#: Commands that cannot run, each for another reason.
FAILING = [
    ["sign", "a.txt", "--json"],
    ["sign", "a.txt", "--json", "--curl"],
    ["upload", "--json"],
    ["verify", "/", "--json"],
    ["explain", "--json", "nobody-knows"],
    ["cors", "--json", "diff", "https://app.example.com"],
    ["doctor", "--json", "--only", "nothing"],
    ["--json"],
    ["no-such-command", "--json"],
]


@pytest.mark.parametrize("arguments", FAILING, ids=" ".join)
def test_standard_output_is_one_json_document_whatever_fails(arguments: list[str]) -> None:
    run = run_command(*arguments)
    assert run.returncode in (1, 2)
    assert json.loads(run.stdout)["error"]["message"]
    assert "Traceback" not in run.stderr


def test_help_in_json_is_a_document_too() -> None:
    assert json.loads(oss_wsgi("doctor", "--help", "--json").stdout)["output"].startswith("usage: oss-wsgi doctor")


def test_all_that_is_wrong_or_missing_is_said_at_once() -> None:
    environ = {"OSS_BUKET": "x", "OSS_REGION": "c", "OSS_UPLOAD_NAMES": "odd", "OSS_UPLOAD_EXPIRES": "soon"}
    error = oss_wsgi("sign", "a.txt", status=2, **environ).stderr
    for text in (
        "OSS_BUKET is not a setting: did you mean OSS_BUCKET?",
        "OSS_REGION must be",
        "OSS_UPLOAD_NAMES must be",
        "OSS_UPLOAD_EXPIRES must be",
        "OSS_BUCKET and OSS_REGION must be set",
        "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET must be set",
    ):
        assert text in error
    error = oss_wsgi("cors", "diff", status=2, OSS_UPLOAD_NAMES="odd").stderr
    assert "name the origins" in error
    assert "OSS_UPLOAD_NAMES" in error
    assert "OSS_ACCESS_KEY_ID" in error
    problems = json.loads(oss_wsgi("cors", "diff", "--json", status=2).stdout)["error"]["problems"]
    assert len(problems) == 3


#: Python's own names for what went wrong.
EXCEPTION = re.compile(r"\b[A-Z]\w+(?:Error|Exception|Interrupt|Exit)\b|gaierror|Errno|Traceback|RemoteDisconnected")


def answer_all(listener: socket.socket, answer: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)


@pytest.fixture
def rubbish(tmp_path: Path) -> Iterator[list[str]]:
    """Yield files that nobody can use, and URLs that answer no HTTP."""
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "empty").touch()
    (tmp_path / "half.json").write_text('{"target": ')
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "latin").write_bytes(b"Cookie: \xff\n")
    (tmp_path / "folder").mkdir()
    files = ["binary", "empty", "half.json", "deep.json", "latin", "missing", "folder", "/dev/null"]
    with contextlib.ExitStack() as stack:
        urls = ["http://nowhere.invalid/oss/signature", "http://127.0.0.1:1/oss/signature"]
        for answer in (b"\0rubbish\n\n", b"", b"HTTP/1.1 abc\r\n\r\n"):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=answer_all, args=(listener, answer), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listener.shutdown, socket.SHUT_RDWR)  # a close alone does not end `accept`
            urls.append(f"http://127.0.0.1:{listener.getsockname()[1]}/oss/signature")
        yield files + urls


def runs_with(value: str) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yield the arguments and the environments that use a file or a URL."""
    bucket = {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou", "OSS_TICKET_SECRET": "t" * 32}
    bucket |= {"OSS_ACCESS_KEY_ID": "ID", "OSS_ACCESS_KEY_SECRET": "secret"}
    if value.startswith("http"):
        bucket |= {"OSS_HOST": value.removesuffix("/oss/signature"), "OSS_CALLBACK_URL": value}
        yield ["upload", "binary", "--endpoint", value], {}
        yield ["cors", "diff", "https://a.example.com"], bucket
        yield ["doctor", "--write"], bucket
    else:
        yield ["verify", value], {}
        yield ["upload", value], {}
        yield ["upload", "binary", "--headers-from", value], {}
        yield ["local", "--dir", f"{value}/x", "--bucket", "NO"], {}
        yield ["doctor", "--only", "settings"], bucket | {"OSS_LEDGER": value}
        yield ["doctor", "--only", "key"], bucket | {"OSS_TRUSTED_KEYS": f"http://a/k={value}"}


def test_no_message_has_the_name_of_an_exception(rubbish: list[str], tmp_path: Path) -> None:
    for value in rubbish:
        for arguments, environ in runs_with(value):
            run = run_command(*arguments, cwd=tmp_path, **environ)
            assert run.returncode in (0, 1, 2), arguments
            assert EXCEPTION.findall(run.stdout + run.stderr) == [], arguments


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_an_error_of_the_program_itself_asks_for_a_report(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr(explain, "run", fail)
    assert main(["explain", "AccessDenied", *arguments]) == 70
    output = capsys.readouterr()
    assert "Please report it" in output.err
    assert "RuntimeError" not in output.err
    assert not arguments or "Please report it" in json.loads(output.out)["error"]["message"]


#: Sends Ctrl-C to itself as Python begins to load the commands, and runs one.
_INTERRUPTED_EARLY = """
import os, signal, sys
signal.signal(signal.SIGINT, getattr(signal, sys.argv.pop(1)))

class Interrupts:
    def find_spec(name, *_):
        if name == "oss_wsgi.cli.main":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupts)
from oss_wsgi.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(("handler", "status"), [("default_int_handler", -signal.SIGINT), ("SIG_IGN", 0)])
def test_ctrl_c_while_a_command_is_loaded_prints_nothing(handler: str, status: int) -> None:
    command = [COMMAND[0], "-c", _INTERRUPTED_EARLY, handler, "explain", "AccessDenied"]
    run = subprocess.run(command, capture_output=True, text=True, env=clean_environ())
    assert (run.returncode, run.stderr) == (status, "")
    assert bool(run.stdout) is (status == 0)


@pytest.mark.parametrize(
    ("number", "status", "arguments"),
    [(signal.SIGHUP, 129, []), (signal.SIGTERM, 143, ["--json"]), (signal.SIGINT, 130, ["--json"])],
)
def test_a_signal_ends_a_command_in_order(number: int, status: int, arguments: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/oss/signature"
        # Programs in the background inherit signals that are ignored.
        starter = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        starter += "signal.signal(signal.SIGHUP, signal.SIG_DFL); from oss_wsgi.cli.main import main; sys.exit(main())"
        command = [COMMAND[0], "-c", starter, "upload", __file__, "--endpoint", url, *arguments]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environ()
        ) as process:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(65536)
                process.send_signal(number)
                output, errors = process.communicate(timeout=60)
    assert process.returncode == status
    # The standard library itself reports a signal that comes while it makes its response or its socket's file.
    errors = re.sub(r"Exception ignored in: .*?\nAttributeError: [^\n]*\n", "", errors, flags=re.DOTALL)
    assert "Traceback" not in errors
    assert not arguments or json.loads(output)["error"]["message"] == "Interrupted."


def test_a_thread_may_run_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    statuses: list[int] = []
    thread = threading.Thread(target=lambda: statuses.append(main(["explain", "AccessDenied"])))
    thread.start()
    thread.join(60)
    assert statuses == [0]
    assert "AccessDenied" in capsys.readouterr().out


def test_an_interrupt_with_words_is_one_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt("enough")

    monkeypatch.setattr(explain, "run", interrupted)
    assert main(["explain", "AccessDenied"]) == 130
