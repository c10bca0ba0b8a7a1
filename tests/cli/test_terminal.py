"""Output of the commands: no control characters; colours and progress on a terminal only."""

from __future__ import annotations

import io
import sys

import pytest

from oss_wsgi.cli.terminal import Progress, coloured, plain, waiting


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
