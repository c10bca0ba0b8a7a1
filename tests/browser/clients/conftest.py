"""Fixtures: the pages with their bundled libraries, and a site that serves them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from ...support.absent import skip_or_fail
from .parts_site import PartsSite, serving_parts
from .site import Site, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, FilePayload, Page

# Harmless complaints: a library also reports the first, and works without the header of the second.
HARMLESS = ("expects a JSON response", "Could not read the Location header")
HERE = Path(__file__).parent
#: What the build of a project replaces: Taro's own reads more of it than the others.
DEFINED = {"": {}, ".NODE_ENV": "production", ".TARO_ENV": "h5", ".TARO_PLATFORM": "web"}
OPTIONS = [
    # Our examples import Uppy 5 by its own name, which Uppy 6 has here.
    "--alias:uppy=uppy-5",
    *("--bundle", "--minify", "--format=esm", "--log-limit=0"),
    *(f"--define:process.env{name}={json.dumps(value)}" for name, value in DEFINED.items()),
]


@pytest.fixture(scope="package")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle each page with its library. esbuild and the libraries are on NODE_PATH."""
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    esbuild = shutil.which("esbuild", path=os.pathsep.join(f"{folder}/.bin" for folder in folders))
    if esbuild is None:
        skip_or_fail("esbuild, a package of npm,")
    built = tmp_path_factory.mktemp("clients")
    shutil.copy(HERE / "page.html", built)
    command = [esbuild, *sorted(map(str, HERE.glob("pages/*.js"))), *OPTIONS, f"--outdir={built / 'pages'}"]
    bundling = subprocess.run(command, capture_output=True, text=True, timeout=300)
    missing = re.findall(r'Could not resolve "([^"]+)"', bundling.stderr)
    if missing:
        skip_or_fail(f"{', '.join(sorted(set(missing)))} of npm")
    assert bundling.returncode == 0, bundling.stderr
    return built


@pytest.fixture
def site(pages: Path) -> Iterator[Site]:
    with serving(pages) as running:
        yield running


@pytest.fixture
def parts_site(pages: Path, tmp_path: Path) -> Iterator[PartsSite]:
    """Return a site whose uploads go in parts."""
    with serving_parts(pages, tmp_path / "objects") as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """Return a context of the browser, whose pages share what a site remembers."""
    context = browser.new_context()
    yield context
    context.close()


Choose = Callable[..., "Page"]


@pytest.fixture
def choose(browser: Browser, site: Site) -> Iterator[Choose]:
    """Return a function that opens a client's page and chooses files there, which starts the upload.

    An error in a script, or a response that the browser withholds from it, fails the test.
    """
    context = browser.new_context()
    complaints: list[str] = []

    def choose(client: str, version: str, *files: FilePayload) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        query = urlencode({"client": client, "version": version, "secret": site.oss.access_key_secret})
        page.goto(f"{site.url}/page.html?{query}")
        page.locator("input[type=file]").set_input_files(files, timeout=60_000)
        return page

    yield choose
    context.close()
    assert [complaint for complaint in complaints if not any(part in complaint for part in HARMLESS)] == []
