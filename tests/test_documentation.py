"""The documents describe the rooms in the rooms' own words, and name only files that exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_wsgi.cli.options import server_parser

from .support.absent import skip_or_fail

ROOT = Path(__file__).parents[1]
#: What the paths of the architecture begin with is left out for the product, as in its imports.
HOUSES = {ROOT / "oss_wsgi": "", ROOT / "local_oss": "local_oss/"}
#: Sentences for people: each local link in them leads somewhere.
DOCUMENTS = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if "_build" not in path.parts)
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring is not None
    return docstring.split("\n")[0]


def test_the_architecture_lists_each_room_and_module_in_its_own_words() -> None:
    for house, prefix in HOUSES.items():
        rooms = [path for path in sorted(house.rglob("__init__.py")) if path.parent != house]
        modules = [path for path in sorted(house.glob("*.py")) if not path.name.startswith("__")]
        folders = {room: room.parent.relative_to(house).as_posix() for room in rooms}
        rows = {f"| `{prefix}{folder}/` | {first_sentence(room)} |" for room, folder in folders.items()}
        rows |= {f"| `{prefix}{module.name}` | {first_sentence(module)} |" for module in modules}
        assert rows - set(ARCHITECTURE.splitlines()) == set()


@pytest.mark.parametrize("text", [ARCHITECTURE, CONTRIBUTING], ids=["architecture", "contributing"])
def test_the_files_that_a_document_names_exist(text: str) -> None:
    names = re.findall(r"`([a-z_./]+(?:\.py|\.md|/))`|^ {4,}([a-z_/]+\.py)", text, re.MULTILINE)
    paths = {path for pair in names for path in pair if path}
    assert len(paths) >= 10
    assert {path for path in paths if not any((base / path).exists() for base in (ROOT, ROOT / "oss_wsgi"))} == set()


def test_the_options_of_the_server_are_those_of_its_help() -> None:
    serving = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    defaults = {action.option_strings[0]: action.default for action in server_parser()._actions}
    assert set(re.findall(r"`(--[a-z-]+)`", serving)) <= defaults.keys()
    rows = re.findall(r"^\| `(--[a-z-]+)` \| .*? \| ([0-9]+) s \|", serving, re.MULTILINE)
    assert [(option, defaults[option]) for option, _ in rows] == [(option, int(seconds)) for option, seconds in rows]
    assert len(rows) == 4


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def dead_links(path: Path) -> Iterator[str]:
    """Yield the links of a document that lead nowhere; one without a title is empty on GitHub."""
    code = r"^```.*?^```$|<!--.*?-->|`[^`\n]+`"
    text = re.sub(code, "`code`", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        document = path.parent / name if name else path
        is_built = path.is_relative_to(ROOT / "docs")  # by Sphinx, which knows no page outside docs/
        is_outside = is_built and not document.resolve().is_relative_to(ROOT / "docs")  # take its address on GitHub
        if is_outside or not document.exists() or (anchor and anchor not in anchors(document)):
            yield target
    if "[](" in text:
        yield "[]("


def test_each_link_into_the_checkout_leads_somewhere(tmp_path: Path) -> None:
    dead = {path.relative_to(ROOT).as_posix(): list(dead_links(path)) for path in DOCUMENTS}
    assert {path: links for path, links in dead.items() if links} == {}
    wrong = tmp_path / "wrong.md"
    wrong.write_text("[a](none.md) [b](#none) [](wrong.md) [c](wrong.md)", encoding="utf-8")
    assert list(dead_links(wrong)) == ["none.md", "#none", "[]("]


def test_each_link_to_the_repository_names_a_file() -> None:
    for path in DOCUMENTS:
        for name in re.findall(r"oss-wsgi/oss-wsgi/(?:blob|tree)/main/([\w./-]+)", path.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), f"{path.name}: {name}"


@pytest.mark.pages
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    if not all(importlib.util.find_spec(name) for name in ("sphinx", "myst_parser", "furo", "sphinx_copybutton")):
        skip_or_fail("oss-wsgi[docs]")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(ROOT / "docs"), str(tmp_path / "html")]
    process = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    page = (tmp_path / "html" / "tutorial" / "first-upload.html").read_text(encoding="utf-8")
    assert "data-oss-upload" in page
    chinese = (tmp_path / "html" / "zh-CN" / "tutorial" / "real-bucket.html").read_text(encoding="utf-8")
    for html, other, contents in (
        ((tmp_path / "html" / "tutorial" / "real-bucket.html").read_text(encoding="utf-8"), "../zh-CN", "Tutorial"),
        (chinese, "../..", "教程"),
    ):
        assert f'<p class="other-language"><a href="{other}/tutorial/real-bucket.html"' in html
        tree = html.partition('<div class="sidebar-tree">')[2].partition("</div>")[0]
        assert re.findall('<a class="[^"]+" href="[^"]*">(Tutorial|教程)</a>', tree) == [contents]
    assert '<html class="no-js" lang="zh-CN"' in chinese
    assert "本页内容" in chinese
    assert "时处理。在另一个终端里" in chinese, "browsers make a space of a line end"


def test_the_documentation_is_built_by_ci_and_by_read_the_docs() -> None:
    assert "-m sphinx -q -W" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    settings = (ROOT / ".readthedocs.yaml").read_text(encoding="utf-8")
    assert "configuration: docs/conf.py" in settings
    assert re.search(r"extra_requirements:\s+- docs\n", settings)


INDEXES = [path for path in DOCUMENTS if "{toctree}" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", INDEXES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_an_index_links_each_of_its_pages_by_its_title(path: Path) -> None:
    """GitHub shows a toctree as text, so whoever reads the page there needs links."""
    text = path.read_text(encoding="utf-8")
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert all(":hidden:" in tree.splitlines() for tree in trees)
    pages = {f"{line}.md" for tree in trees for line in tree.splitlines() if line and not line.startswith(":")}
    assert pages
    assert pages <= set(re.findall(r"\]\(([^)\s#]+)\)", text))
    rows = re.findall(r"^- \[([^\n]+)\]\(([^)\s#]+)\)$", text, re.MULTILINE)
    titles = {name: re.search("^# (.+)$", (path.parent / name).read_text(encoding="utf-8"), re.M) for _, name in rows}
    assert rows == [(title[1], name) for name, title in titles.items() if title]


def test_every_part_of_the_documentation_has_an_index() -> None:
    folders = {path.parent for path in DOCUMENTS if (ROOT / "docs") in path.parents}
    assert {folder / "index.md" for folder in folders} <= set(INDEXES)
