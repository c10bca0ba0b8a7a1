"""References to sections of the documents in docs/: each names a section that exists.

There is one form, for code, tests and documents alike: the file's name and the number, such as protocol.md 8.4.
A second section is written with the name again: protocol.md 8.4, protocol.md 8.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PLACES = (
    *("oss_wsgi", "static", "tests", "examples", "docs", ".ci", ".github", "server.py", "setup.cfg"),
    *("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGES.md"),
)
SUFFIXES = {
    *("", ".cfg", ".conf", ".css", ".go", ".html", ".ini", ".js", ".json", ".md", ".mjs", ".php", ".py"),
    *(".jsx", ".rb", ".service", ".sh", ".socket", ".svg", ".vue", ".wsgi", ".yaml", ".yml"),
}

HEADING = re.compile(r"^#{2,4} ([0-9]+(?:\.[0-9]+)*)\.? ", re.MULTILINE)
# A reference that a line end breaks is found too, in comments and in running text.
REFERENCE = re.compile(r"\b([a-z][a-z-]*\.md)\s+(?:[#*/]+\s+)?([0-9]+(?:\.[0-9]+)*)\b")
# Such as "8.1, 8.3" or "8.1 to 8.3": the second number would not be checked.
NAMELESS = re.compile(REFERENCE.pattern + r"(?:,| and| to)\s+[0-9]+\.[0-9]")
# Notes that this repository does not hold were cited by a letter and the section sign.
NOTES = re.compile("[PABNM]" + chr(0xA7))


def texts() -> Iterator[tuple[Path, str]]:
    for place in PLACES:
        path = ROOT / place
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix in SUFFIXES:
                yield file.relative_to(ROOT), file.read_text(encoding="utf-8", errors="replace")


def problems(path: Path, text: str, sections: dict[str, set[str]]) -> Iterator[str]:
    """Yield a line for each reference that leads nowhere, with its file and line."""

    def at(match: re.Match[str]) -> str:
        return f"{path}:{text.count(chr(10), 0, match.start()) + 1}"

    for match in REFERENCE.finditer(text):
        name, number = match.groups()
        if name not in sections:
            yield f"{at(match)}: docs/ has no {name}"
        elif number not in sections[name]:
            yield f"{at(match)}: {name} has no section {number}"
    for match in NAMELESS.finditer(text):
        yield f"{at(match)}: {match[0]!r} leaves out the file's name before the second number"
    for match in NOTES.finditer(text):
        yield f"{at(match)}: {text[match.start() :].split(maxsplit=1)[0]!r} cites notes that are not here"


@pytest.mark.slow
def test_each_reference_names_a_section_that_exists() -> None:
    sections = {path.name: set(HEADING.findall(path.read_text(encoding="utf-8"))) for path in DOCS.rglob("*.md")}
    bad = [problem for path, text in texts() for problem in problems(path, text, sections)]
    assert not bad, "\n".join(["", *bad])
    assert any(REFERENCE.search(text) for path, text in texts() if path.parts[0] == "oss_wsgi"), "none is found"


def test_what_leads_nowhere_is_named_with_its_line() -> None:
    one, old = "one" + ".md", "P" + chr(0xA7)  # put together, or the test above would find them here
    lines = f"{one} 1.2", f"# {one} 1.3", f"# {one}", "# 9.", f"two{one[3:]} 1", f"{one} 1.2 to 1.4", f"({old}8.4)"
    bad = [problem.partition(": ")[0] for problem in problems(Path("x"), "\n".join(lines), {one: {"1", "1.2"}})]
    assert bad == ["x:2", "x:3", "x:5", "x:6", "x:7"]
