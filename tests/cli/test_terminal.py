"""Output of the commands: no control characters; colours and progress on a terminal only."""

from __future__ import annotations

import io
import re
import sys

import pytest

from oss_wsgi.cli.terminal import Progress, coloured, human_size, in_words, plain, system_reason, waiting


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


def test_progress_ends_in_a_full_bar_and_a_note_that_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress("a\x1bb.txt", 100)
    progress(50)
    assert terminal.getvalue() == f"\ra\\x1bb.txt [{'#' * 15}{' ' * 15}]  50%"
    progress(100)
    full = f"\ra\\x1bb.txt [{'#' * 30}] 100%"
    assert terminal.getvalue().endswith(f"{full}, waiting for the answer")
    progress.end()
    assert terminal.getvalue().endswith(f" {full}\n")


def test_progress_shows_the_speed_of_the_last_seconds_and_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    now = [0.0]
    progress = Progress("a", 10_000_000_000, clock=lambda: now[0])

    def shown(seconds: float, done: int) -> str:
        now[0] = seconds
        progress(done)
        return terminal.getvalue().rpartition("\r")[2].rpartition("%")[2].strip()

    progress.start_at(5_000_000_000)
    assert shown(0.5, 5_001_000_000) == ""
    assert shown(10.0, 5_100_000_000) == "10 MB/s, 8:10 left"
    assert shown(20.0, 5_100_000_000) == "0 B/s"
    assert shown(30.0, 5_110_000_000) == "1.0 MB/s, 1:21:30 left"
    assert shown(40.0, 5_110_000_001) == "0 B/s, days left"
    assert shown(50.0, 10_000_000_000) == ", waiting for the answer"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (9_949, "9.9 KB"),
        (16_777_216, "17 MB"),
        (999_600_000, "1.0 GB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes_are_written_for_people(size: int, text: str) -> None:
    assert human_size(size) == text


def test_an_empty_file_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    Progress("empty", 0)(0)
    assert "100%, waiting" in terminal.getvalue()


def test_what_the_command_waits_for_is_removed_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with waiting("Asking OSS"):
        assert terminal.getvalue() == "Asking OSS ...\r"
    assert terminal.getvalue().endswith(f"{' ' * 14}\r")


def test_off_a_terminal_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stderr", output)
    progress = Progress("a.txt", 1)
    progress(1)
    progress.end()
    with waiting("Asking OSS"):
        pass
    assert output.getvalue() == ""


def test_a_dumb_terminal_gets_no_bar_and_no_note(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress("a.txt", 1, {"TERM": "dumb"})
    progress(1)
    progress.end()
    with waiting("Asking OSS", {"TERM": "dumb"}, 0.5):
        pass
    assert terminal.getvalue() == ""


def test_without_colours_there_is_a_bar_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with waiting("Checking cors", {"NO_COLOR": "1", "TERM": "xterm"}, 0.5):
        assert terminal.getvalue() == f"[{'#' * 15}{' ' * 15}]  50% Checking cors ...\r"


def test_a_line_is_no_longer_than_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    progress = Progress("n" * 300, 100)
    progress(100)
    progress.end()
    with waiting("w" * 300):
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
