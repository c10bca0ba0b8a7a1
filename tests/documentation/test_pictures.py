"""Every picture that a page names is committed, and something makes each of them."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.absent import skip_or_fail
from ..support.chromium import chromium_path
from .blocks import ROOT, pages, steps
from .test_generated import script_of_docs

PICTURES = ROOT / "docs" / "pictures"


def named() -> set[str]:
    """Return the pictures that the pages show."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages())
    return set(re.findall(r"[(\"](?:[\w./-]*/)?pictures/([\w.-]+\.(?:png|svg))[)\" ]", text))


def test_every_picture_that_a_page_names_is_committed_and_no_other() -> None:
    assert named() == {path.name for path in PICTURES.iterdir()}
    assert len(named()) >= 6


@pytest.mark.parametrize(("script", "kind"), [("pictures", "flow-"), ("speed_chart", "speed-")])
def test_the_diagrams_are_those_of_the_script(tmp_path: Path, script: str, kind: str) -> None:
    script_of_docs(script).draw(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name for name in named() if name.startswith(kind)}
    for diagram in tmp_path.iterdir():
        assert diagram.read_text(encoding="utf-8") == (PICTURES / diagram.name).read_text(encoding="utf-8")


def test_the_hidden_steps_of_the_pages_take_all_but_the_diagrams_and_the_states() -> None:
    """test_pages.py types the pages and sees their pictures."""
    taken = {name for page in pages() for name in taken_by(page)}
    assert taken == {name for name in named() if not name.startswith(("flow-", "states-", "speed-"))}


@pytest.mark.browser
def test_the_script_photographs_the_page_in_every_state(tmp_path: Path) -> None:
    if chromium_path() is None:
        skip_or_fail("Chromium")
    command = [sys.executable, str(ROOT / "docs" / "page_states.py"), str(tmp_path)]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0, process.stdout + process.stderr
    assert {path.name for path in tmp_path.iterdir()} == {name for name in named() if name.startswith("states-")}
    for picture in tmp_path.iterdir():
        assert size(picture) == size(PICTURES / picture.name), picture.name


def taken_by(page: Path) -> list[str]:
    """Return the pictures that the hidden steps of a page take."""
    return re.findall(r" --picture (\S+)", "\n".join(step.text for step in steps(page)))


def size(picture: Path) -> tuple[int, int]:
    """Return width and height of a PNG."""
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    return width, height
