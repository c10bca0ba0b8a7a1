"""Output of the commands: no control characters; colours and progress on a terminal only."""

from __future__ import annotations

import io
import re
import sys

import pytest

from oss_wsgi.cli.terminal import coloured, in_words, plain, progress, system_reason, waiting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "printed"),
    [("\u00e9\u4e2d", "\u00e9\u4e2d"), ("\x1b[31m", "\\x1b[31m"), ("\r\n", "\\r\\n"), ("\u202e", "\\u202e")],
)
def test_control_characters_are_escaped(text: str, printed: str) -> None:
    assert plain(text) == printed


def test_text_is_coloured_on_a_terminal_only() -> None:
    assert coloured("ok", "green", {}, Terminal()) == "\x1b[32mok\x1b[0m"
    assert coloured("ok", "green", {}, io.StringIO()) == "ok"


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_text_is_not_coloured_where_the_environment_forbids_it(environ: dict[str, str]) -> None:
    assert coloured("ok", "green", environ, Terminal()) == "ok"


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make standard error a terminal of 80 columns, for this test."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    return terminal


def test_progress_ends_in_a_full_bar_and_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    pytest.importorskip("tqdm")
    with progress("a\x1bb.txt", 100, {}) as show:
        show(50)
        show(100, "waiting for the answer")
    assert "a\\x1bb.txt: 100%" in terminal.getvalue()
    assert "100/100" in terminal.getvalue()
    assert "waiting for the answer" in terminal.getvalue()


def test_a_bar_of_something_else_is_removed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    pytest.importorskip("tqdm")
    with progress("Sweeping", 1.0, {}, "{desc} {percentage:3.0f}%{postfix}") as show:
        show(1.0, "7 objects")
        assert terminal.getvalue().endswith("Sweeping 100%, 7 objects")
    assert terminal.getvalue().rstrip("\r").endswith(" " * 20)


def test_without_the_library_progress_is_one_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with progress("a\x1bb.txt", 100, {}) as show:
        show(50)
        show(100, "waiting for the answer")
    assert terminal.getvalue() == "a\\x1bb.txt ...\n"


def test_an_empty_file_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with progress("empty", 0, {}) as show:
        show(0, "waiting")
    assert "waiting" in terminal.getvalue()


def test_what_the_command_waits_for_is_removed_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with waiting("Asking OSS", {}):
        assert terminal.getvalue() == "Asking OSS ...\r"
    assert terminal.getvalue().endswith(f"{' ' * 14}\r")


def test_off_a_terminal_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    with progress("a.txt", 1, {}) as show:
        show(1)
    with waiting("Asking OSS", {}):
        pass
    assert output.getvalue() == ""


def test_a_dumb_terminal_gets_no_bar_and_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    with progress("a.txt", 1, {"TERM": "dumb"}) as show:
        show(1)
    with waiting("Asking OSS", {"TERM": "dumb"}):
        pass
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("has_library", [True, False])
def test_a_line_is_no_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch, has_library: bool) -> None:
    terminal = on_terminal(monkeypatch)
    if not has_library:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    with progress("n" * 300, 100, {}) as show:
        show(50, "w" * 300)
        show(100, "waiting for the answer")
    with waiting("w" * 300, {}):
        pass
    assert max(len(line) for line in re.split("[\r\n]", terminal.getvalue())) < 80


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Tried: env (CredentialException), uri (403 No)", "Tried: env (nothing there), uri (403 No)"),
        ("profile (ClientError 403 NoPermission)", "profile (403 NoPermission)"),
        ("OSS answered InternalError", "OSS answered InternalError"),
    ],
)
def test_errors_of_credentials_name_no_exception(text: str, shown: str) -> None:
    assert in_words(text) == shown


def test_an_error_of_the_system_has_its_words_only() -> None:
    assert system_reason(FileNotFoundError(2, "No such file or directory", "x")) == "No such file or directory"
    assert system_reason(OSError()) == "the operating system gives no reason"
    assert system_reason(ValueError("embedded null byte")) == "embedded null byte"
