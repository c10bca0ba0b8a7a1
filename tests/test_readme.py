"""The README is short, in two languages with the same content, and its set-up is one line each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .documentation.blocks import steps

ROOT = Path(__file__).parent.parent
READMES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md")}


@pytest.mark.parametrize("name", READMES)
def test_the_readme_has_at_most_160_lines(name: str) -> None:
    assert len(READMES[name].splitlines()) <= 160


@pytest.mark.parametrize("name", READMES)
@pytest.mark.parametrize(
    "command",
    [
        "python3 -m venv .venv && .venv/bin/pip install -e '.[local]' && .venv/bin/python server.py",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
    ],
)
def test_each_set_up_is_one_line(name: str, command: str) -> None:
    assert command in READMES[name].splitlines()


def test_both_languages_have_the_same_blocks() -> None:
    english, chinese = (steps(ROOT / name) for name in READMES)

    def without_comments(text: str) -> list[str]:
        return [re.sub(r"\s*(?<![:/\w])(?:# .*|// .*)$", "", line) for line in text.splitlines()]

    assert [(step.language, step.marks) for step in english] == [(step.language, step.marks) for step in chinese]
    for ours, theirs in zip(english, chinese, strict=True):
        if not ours.hidden:
            assert without_comments(ours.text) == without_comments(theirs.text)


def test_both_languages_have_the_same_links_and_sections() -> None:
    def links(text: str) -> set[str]:
        return {target for target in re.findall(r"\]\(([^)]+)\)", text) if "README" not in target}

    assert links(READMES["README.md"]) == links(READMES["README.zh-CN.md"])
    sections = [[line.count("#") for line in text.splitlines() if re.match("#+ ", line)] for text in READMES.values()]
    assert sections[0] == sections[1]


def test_every_public_name_has_a_docstring() -> None:
    import oss_wsgi

    assert [name for name in oss_wsgi.__all__ if not getattr(oss_wsgi, name).__doc__] == []
    assert sorted(oss_wsgi.__all__) == list(oss_wsgi.__all__)


@pytest.mark.parametrize("name", READMES)
def test_the_readme_leads_a_cgi_script_to_its_page(name: str) -> None:
    sentence = re.search(r"CGI[^。.]*docs/how-to/cgi-script\.md", READMES[name])
    assert sentence is not None
    assert "WSGI" in sentence[0]


@pytest.mark.parametrize("name", READMES)
def test_the_readme_says_who_names_the_objects(name: str) -> None:
    assert "`OSS_UPLOAD_NAMES=original`" in READMES[name]
