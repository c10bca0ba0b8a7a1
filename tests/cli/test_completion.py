"""`oss-wsgi completion`: bash, zsh and fish complete commands, options and their values."""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from oss_wsgi.cli.doctor.command import CHECKS
from oss_wsgi.cli.main import command_parser

from ..absent import skip_or_fail
from .command import oss_wsgi

pytestmark = pytest.mark.slow

#: Words before the one to complete, the beginning of that one, and some of what completes it.
CASES = [
    ([], "doc", ["doctor"]),
    ([], "", ["serve", "local", "sign", "upload", "verify", "explain", "cors", "doctor", "completion"]),
    (["doctor"], "--onl", ["--only"]),
    (["doctor", "--only"], "clo", ["clock"]),
    (["doctor", "--only"], "", list(CHECKS)),
    (["cors"], "app", ["apply"]),
    (["lifecycle"], "", ["print", "diff", "apply"]),
    (["uploads"], "ab", ["abort"]),
    (["uploads"], "--older", ["--older-than"]),
    (["upload"], "--res", ["--resume"]),
    (["sign"], "--up", ["--upload-dir", "--upload-expires"]),
    (["completion"], "f", ["fish"]),
    (["upload"], "my-p", ["my-photo.png"]),
    (["upload", "--headers-from"], "my-p", ["my-photo.png"]),
    (["serve", "--log-format"], "", ["text", "json"]),
]


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    (tmp_path / "my-photo.png").touch()

    def write(shell: str) -> Path:
        if shutil.which(shell) is None:
            skip_or_fail(shell)
        file = tmp_path / f"completion.{shell}"
        file.write_text(oss_wsgi("completion", shell).stdout, encoding="utf-8")
        return file

    return write


def bash_completions(file: Path, words: list[str], beginning: str) -> list[str]:
    code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _oss_wsgi; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", code, "bash", file.name, "oss-wsgi", *words, beginning]
    run = subprocess.run(command, capture_output=True, text=True, cwd=file.parent, timeout=60)
    assert run.stderr == ""
    return run.stdout.split()


@pytest.mark.parametrize(("words", "beginning", "completions"), CASES)
def test_bash_completes(
    words: list[str], beginning: str, completions: list[str], script: Callable[[str], Path]
) -> None:
    completed = bash_completions(script("bash"), words, beginning)
    assert set(completions) <= set(completed)
    assert all(word.startswith(beginning) for word in completed)


def test_bash_completes_after_an_equals_sign(script: Callable[[str], Path]) -> None:
    assert bash_completions(script("bash"), ["doctor", "--only", "="], "clo") == ["clock"]
    assert set(CHECKS) <= set(bash_completions(script("bash"), ["doctor", "--only"], "="))


def test_bash_offers_every_option_of_every_command(script: Callable[[str], Path]) -> None:
    file = script("bash")
    (commands,) = (action for action in command_parser()._actions if isinstance(action, argparse._SubParsersAction))
    for name, parser in commands.choices.items():
        options = {option for action in parser._actions for option in action.option_strings}
        assert options == {word for word in bash_completions(file, [name], "-") if word.startswith("-")}, name


@pytest.mark.parametrize(("words", "beginning", "completions"), CASES)
def test_fish_completes(
    words: list[str], beginning: str, completions: list[str], script: Callable[[str], Path], tmp_path: Path
) -> None:
    file = script("fish")
    line = " ".join(["oss-wsgi", *words, beginning])
    code = f'source {file.name}; complete -C "{line}"'
    environ = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    run = subprocess.run(["fish", "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=60)
    assert run.stderr == ""
    assert set(completions) <= {line.partition("\t")[0] for line in run.stdout.splitlines()}


class Zsh:
    """An interactive zsh on a terminal of its own."""

    def __init__(self, file: Path) -> None:
        self._ours, theirs = pty.openpty()
        environ = os.environ | {"TERM": "dumb", "HOME": str(file.parent), "ZDOTDIR": str(file.parent), "PS1": "% "}
        # In a session of its own: job control would stop the tests.
        self._process = subprocess.Popen(
            ["zsh", "-f", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=file.parent,
            env=environ,
            start_new_session=True,
        )
        os.close(theirs)
        self.type("PS1=; unsetopt zle_bracketed_paste; zstyle ':completion:*' list-prompt ''; LISTMAX=0\n")
        self.type(f"autoload -Uz compinit; compinit -u -D; source {file.name}; echo is''-ready\n")
        self.read_until("is-ready")

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def read_until(self, text: str) -> str:
        """Return what appears until a text does; fail after a minute."""
        output, end = "", time.monotonic() + 60
        while text not in output:
            assert time.monotonic() < end, output
            if select.select([self._ours], [], [], 1)[0]:
                output += os.read(self._ours, 65536).decode("utf-8", "replace")
        return output

    def complete(self, line: str) -> str:
        """Return what zsh shows after two tabs behind a line."""
        self.type(f"{line}\t\t")
        self.type("\x01echo is''-done #\n")  # at the line's beginning, so that the line is not run
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.read_until("is-done"))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


def test_zsh_completes(script: Callable[[str], Path]) -> None:
    shell = Zsh(script("zsh"))
    try:
        shell.type("setopt interactive_comments\n")
        for words, beginning, completions in CASES:
            output = shell.complete(" ".join(["oss-wsgi", *words, beginning]))
            assert [word for word in completions if word not in output] == []
    finally:
        shell.close()


def test_the_shells_accept_the_scripts(script: Callable[[str], Path]) -> None:
    for shell in ("bash", "zsh", "fish"):
        run = subprocess.run([shell, "-n", str(script(shell))], capture_output=True, text=True, timeout=60)
        assert (run.returncode, run.stderr) == (0, ""), shell


def test_another_shell_is_misuse() -> None:
    assert "choose from bash, zsh, fish" in oss_wsgi("completion", "ksh", status=2).stderr
