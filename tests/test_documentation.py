"""The documents say of the rooms what the rooms say of themselves, and name only files that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from oss_wsgi.cli.options import server_parser

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "oss_wsgi"
ARCHITECTURE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring is not None
    return docstring.split("\n")[0]


def test_the_architecture_lists_each_room_and_module_in_its_own_words() -> None:
    rooms = [path for path in sorted(PACKAGE.rglob("__init__.py")) if path.parent != PACKAGE]
    modules = [path for path in sorted(PACKAGE.glob("*.py")) if not path.name.startswith("__")]
    rows = {f"| `{room.parent.relative_to(PACKAGE).as_posix()}/` | {first_sentence(room)} |" for room in rooms}
    rows |= {f"| `{module.name}` | {first_sentence(module)} |" for module in modules}
    assert rows - set(ARCHITECTURE.splitlines()) == set()


@pytest.mark.parametrize("text", [ARCHITECTURE, CONTRIBUTING], ids=["architecture", "contributing"])
def test_the_files_that_a_document_names_exist(text: str) -> None:
    names = re.findall(r"`([a-z_./]+(?:\.py|\.md|/))`|^ {4,}([a-z_/]+\.py)", text, re.MULTILINE)
    paths = {path for pair in names for path in pair if path}
    assert len(paths) > 15
    assert {path for path in paths if not any((base / path).exists() for base in (ROOT, PACKAGE))} == set()


def test_contributing_has_a_place_for_each_room() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"static"}
    assert {room for room in rooms if f"`{room}/`" not in CONTRIBUTING} == set()


def test_the_options_of_the_server_are_those_of_its_help() -> None:
    serving = (ROOT / "docs" / "explanation" / "serving.md").read_text(encoding="utf-8")
    defaults = {action.option_strings[0]: action.default for action in server_parser()._actions}
    assert set(re.findall(r"`(--[a-z-]+)`", serving)) <= defaults.keys()
    rows = re.findall(r"^\| `(--[a-z-]+)` \| .*? \| ([0-9]+) s \|", serving, re.MULTILINE)
    assert [(option, defaults[option]) for option, _ in rows] == [(option, int(seconds)) for option, seconds in rows]
    assert len(rows) == 4
