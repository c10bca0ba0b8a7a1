"""The pictures of the pages are made by docs/pictures.py, and every picture that a page names is one of them."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..support.absent import skip_or_fail
from ..support.chromium import chromium_path
from .blocks import ROOT, pages, steps
from .test_generated import load

PICTURES = ROOT / "docs" / "pictures"


def named() -> set[str]:
    """Return the pictures that the pages show."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages())
    return set(re.findall(r"[(\"](?:[\w./-]*/)?pictures/([\w.-]+\.(?:png|svg))[)\" ]", text))


def test_every_picture_that_a_page_names_is_committed_and_no_other() -> None:
    assert named() == {path.name for path in PICTURES.iterdir()}
    assert len(named()) >= 6


def test_the_diagrams_are_those_of_the_script(tmp_path: Path) -> None:
    load("pictures").draw(tmp_path)
    for diagram in tmp_path.iterdir():
        assert diagram.read_text(encoding="utf-8") == (PICTURES / diagram.name).read_text(encoding="utf-8")


@pytest.mark.browser
def test_the_script_makes_every_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not type the pages here: test_pages.py does, and sees their pictures."""
    if chromium_path() is None:
        skip_or_fail("Chromium")
    of_pages: set[str] = set()
    run = subprocess.run

    def run_or_note(command: list[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        if "tests.documentation.reader" not in command:
            return run(command, **options)
        assert options["env"]["PICTURES"] == str(tmp_path)
        of_pages.update(taken_by(Path(command[-1])))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run_or_note)
    monkeypatch.setattr(sys, "argv", ["pictures.py", str(tmp_path)])
    assert load("pictures").main() == 0
    assert {path.name for path in tmp_path.iterdir()} == named() - of_pages
    for picture in tmp_path.glob("*.png"):
        assert size(picture) == size(PICTURES / picture.name), picture.name


def taken_by(page: Path) -> list[str]:
    """Return the pictures that the hidden steps of a page take."""
    return re.findall(r" --picture (\S+)", "\n".join(step.text for step in steps(page)))


def size(picture: Path) -> tuple[int, int]:
    """Return width and height of a PNG."""
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    return width, height
