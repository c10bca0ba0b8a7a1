"""Each page is typed from its first block to its last, and no block is left out."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import is_asked_for
from ..support.absent import skip_or_fail
from .blocks import ROOT, PageError, pages, steps, without_way
from .chinese import is_typed_already
from .environment import installed_by, make_packages
from .test_pictures import PICTURES, size, taken_by


@pytest.mark.slow
def test_every_block_has_a_way_to_run() -> None:
    assert [problem for page in pages() for problem in without_way(steps(page))] == []


def is_typed(page: Path) -> bool:
    """Return whether a page is typed by itself; one where another page goes on is typed with that one."""
    others = (other for other in pages() if f"<!-- after: {page.name} -->" in other.read_text(encoding="utf-8"))
    is_continued = any(other.parent == page.parent for other in others)
    return bool(steps(page)) and not is_typed_already(page) and not is_continued


@functools.cache
def typed() -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages() if is_typed(page)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a case of each page that is typed. To know them takes a second, which other runs are spared."""
    if "name" in metafunc.fixturenames:
        is_run = is_asked_for(metafunc.config.option.markexpr, "pages")
        metafunc.parametrize("name", typed() if is_run else [])


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheels of all that the pages install."""
    folder = tmp_path_factory.mktemp("machine") / "packages"
    make_packages(folder, set().union(*(installed_by(steps(ROOT / name)) for name in typed())))
    return folder


@pytest.mark.pages
def test_a_reader_can_type_the_page(name: str, packages: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.documentation.reader", name, str(packages)]
    environ = {**os.environ, "PICTURES": str(tmp_path)}
    process = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    if process.returncode == 77:
        skip_or_fail(process.stdout.strip().splitlines()[-1])
    assert process.returncode == 0, process.stdout + process.stderr
    assert {path.name: size(path) for path in tmp_path.iterdir()} == {
        picture: size(PICTURES / picture) for picture in taken_by(ROOT / name)
    }


def test_a_block_that_nothing_runs_is_named() -> None:
    page = ROOT / "README.md"
    text = (
        "a\n\n```sh\ntrue\n```\n\n```perl\n1\n```\n\n<!-- file: app.py -->\n```python\nx = 1\n```\n\n```\nplain\n```\n"
    )
    assert without_way(steps(page, text)) == [
        "README.md:7: nothing runs a block of perl",
        "README.md:12: no later step names app.py",
        "README.md:16: nothing runs a block of no language",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "a\n\n    indented\n",
        "<!-- fiel: a.py -->\n```python\n1\n```\n",
        "<!-- file: a.py -->\n",
        "```{code-block} sh\nls\n```\n",
    ],
)
def test_what_the_runner_would_not_see_is_an_error(text: str) -> None:
    with pytest.raises(PageError):
        steps(ROOT / "README.md", text)


@pytest.mark.pages
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```sh\nfalse\ntrue\n```\n", "an earlier line failed"),
        ("```sh\nexit 3\n```\n", "the shell ended"),
        ("```sh\nexport A=b\n```\n\n```python\nimport os\nassert os.environ['A'] == 'c'\n```\n", "AssertionError"),
        ("```console\n$ echo one\ntwo\n```\n", "the page shows"),
        ("```nginx\nserver { listn 80; }\n```\n", "listn"),
        ("<!-- server: 8080 -->\n```sh\npython3 -c 'print(1/0)'\n```\n", "ZeroDivisionError"),
    ],
)
def test_a_block_that_fails_fails_the_page(text: str, message: str, tmp_path: Path) -> None:
    page = ROOT / "docs" / "_build" / f"{tmp_path.name}.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(text, encoding="utf-8")
    try:
        command = [sys.executable, "-m", "tests.documentation.reader", str(page)]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    finally:
        page.unlink()
    if "nginx is not installed" in process.stdout:
        skip_or_fail("nginx")
    assert process.returncode == 1
    assert message in process.stdout
