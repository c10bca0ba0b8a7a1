"""The pages with the libraries bundled in, and a site that serves them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from ...absent import skip_or_fail
from .site import Site, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FilePayload, Page

# What a library says to the console of what it reports as well, or does without.
HARMLESS = ("expects a JSON response", "Could not read the Location header")
HERE = Path(__file__).parent
OPTIONS = ["--bundle", "--minify", "--format=esm", '--define:process.env.NODE_ENV="production"', "--log-limit=0"]


@pytest.fixture(scope="package")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle each page with its library, which esbuild looks for where it was found itself: on NODE_PATH."""
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    esbuild = shutil.which("esbuild", path=os.pathsep.join(f"{folder}/.bin" for folder in folders))
    if esbuild is None:
        skip_or_fail("esbuild, a package of npm,")
    built = tmp_path_factory.mktemp("clients")
    shutil.copy(HERE / "page.html", built)
    command = [esbuild, *sorted(map(str, HERE.glob("pages/*.js"))), *OPTIONS, f"--outdir={built / 'pages'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    absent = re.findall(r'Could not resolve "([^"]+)"', done.stderr)
    if absent:
        skip_or_fail(f"{', '.join(sorted(set(absent)))} of npm")
    assert done.returncode == 0, done.stderr
    return built


@pytest.fixture
def site(pages: Path) -> Iterator[Site]:
    with serving(pages) as running:
        yield running


Choose = Callable[..., "Page"]


@pytest.fixture
def choose(browser: Browser, site: Site) -> Iterator[Choose]:
    """Give a function that opens a client's page, and chooses files there, which is enough to send them.

    A script that fails, and whatever the browser withholds from one, fails the test.
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
