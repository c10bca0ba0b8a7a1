"""Every command in a sentence exists, with its options: code spans that begin with `oss-wsgi` or `python -m`."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from local_oss.command_line import parser as local_parser
from oss_wsgi.cli.main import command_parser

from .blocks import ROOT, pages

SPAN = re.compile(r"`((?:oss-wsgi|python -m) [^`]+)`")
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
#: Modules with a parser of their own that can be imported without running it.
PARSERS = {"oss_wsgi": command_parser, "local_oss": local_parser}


def spans(text: str) -> list[str]:
    """Return the commands in the code spans of a page, without its blocks."""
    return [" ".join(command.split()) for command in SPAN.findall(FENCE.sub("", text))]


def fault(command: str) -> str:
    """Return which part of a command does not exist; "" if all exist."""
    words = shlex.split(command)
    for sign in ("|", "<", ">", "&&", ";"):
        if sign in words:
            words = words[: words.index(sign)]
    if words[0] == "oss-wsgi":
        return fault_of_words(command_parser(), words[1:])
    module = words[2]
    if module in PARSERS:
        return fault_of_words(PARSERS[module](), words[3:])
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return f"no module {module}"
    source = Path(spec.origin).read_text(encoding="utf-8")
    options = [word for word in words[3:] if word.startswith("--")]
    return next((f"{module} has no {option}" for option in options if f'"{option}"' not in source), "")


def fault_of_words(parser: argparse.ArgumentParser, words: list[str]) -> str:
    """Return which of a command's words its parser does not know."""
    options = {name: action for action in parser._actions for name in action.option_strings}
    arguments = iter([action for action in parser._actions if not action.option_strings])
    rest = iter(words)
    for word in rest:
        if word == "--":  # another command, of which nothing is known here
            break
        if word.startswith("--"):
            name, _, value = word.partition("=")
            if name not in options:
                return f"{parser.prog} has no {name}"
            action: argparse.Action | None = options[name]
            if options[name].nargs != 0:
                word = value or next(rest, "")
        else:
            action = next(arguments, None)
        choices = action.choices if action is not None else None
        if choices is not None and word and not word.isupper() and word not in choices:
            return f"{parser.prog} does not know {word}"
        if isinstance(action, argparse._SubParsersAction) and word in action.choices:
            return fault_of_words(action.choices[word], list(rest))
    return ""


def test_each_command_in_a_sentence_exists() -> None:
    sources = sorted({*pages(), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *ROOT.glob("README*.md")})
    commands = {command: page for page in sources for command in spans(page.read_text(encoding="utf-8"))}
    assert len(commands) > 30
    faults = [(str(page.relative_to(ROOT)), command, fault(command)) for command, page in commands.items()]
    assert [each for each in faults if each[2]] == []


@pytest.mark.parametrize(
    "command",
    [
        "oss-wsgi no-such-command",
        "oss-wsgi doctor --only cors --origin https://app.example.com",
        "oss-wsgi doctor --only no-such-check",
        "python -m local_oss --no-such-option",
        "python -m tests.benchmarks.servers --no-such-option",
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    assert spans(f"Run `{command}`.\n\n```sh\noss-wsgi not-in-a-span\n```\n") == [command]
    assert fault(command)


def test_each_test_that_a_page_cites_exists() -> None:
    cited = {name for page in pages() for name in re.findall(r"`(tests/[\w/]+\.py)`", page.read_text(encoding="utf-8"))}
    ours = {name for name in cited if not name.startswith("tests/unit/")}  # those of the official SDKs
    assert {name for name in ours if not (ROOT / name).is_file()} == set()
    assert len(ours) > 3
