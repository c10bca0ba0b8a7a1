"""examples/own-pages in Chromium: a form that waits for its photo, and components of React and Vue."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..browser.upload_page import PNG, expect, file
from ..support.absent import skip_or_fail
from ..support.chromium import chromium
from ..support.running_server import FREE_PORTS, RunningServer, clean_environ, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "own-pages"
MOUNT = {
    "react": """
import { createRoot } from "react-dom/client";
import { createElement } from "react";
import { Upload } from "EXAMPLE";
const onStored = (signedId, file) => { document.title = `${file.name} ${signedId}`; };
createRoot(document.getElementById("place")).render(createElement(Upload, { onStored }));
""",
    "vue": """
import { createApp, h } from "vue/dist/vue.esm-bundler.js";
import { Upload } from "EXAMPLE";
const onStored = (signedId, file) => { document.title = `${file.name} ${signedId}`; };
createApp({ render: () => h(Upload, { onStored }) }).mount("#place");
""",
}

PAGE = '<!doctype html><title>x</title><div id="place"></div><script type="module" src="/bundle.js"></script>'
APPLICATION = """
import os
from oss_wsgi import DirectUpload, Grant, Settings, StaticSite
policy = "default-src * 'unsafe-eval'"
application = DirectUpload(
    StaticSite(".", content_security_policy=policy), Settings.from_environ(os.environ),
    authorize=lambda request: Grant(), on_upload=lambda upload: {"name": "a.txt"})
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def members() -> Iterator[RunningServer]:
    command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", "form:application", *FREE_PORTS]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT)), EXAMPLES) as running:
        yield running


def test_a_form_is_submitted_when_its_photo_is_stored(browser: Browser, members: RunningServer) -> None:
    page = browser.new_page()
    held: list[Route] = []
    page.route("**/oss/signature?*", lambda route: held.append(route))
    page.goto(f"{members.url}/")
    page.get_by_label("Name").fill("Eric")
    page.locator("#photo").set_input_files(file("me.png", PNG, "image/png"))
    while not held:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_title("New member")
    held[0].continue_()
    expect(page.get_by_text(re.compile(r"Saved Eric with members/eric/\S+\.png, \d+ bytes\."))).to_be_visible()
    page.close()


@pytest.mark.parametrize(("library", "name"), [("react", "react.jsx"), ("vue", "vue.js")])
def test_a_component_of_twenty_lines_uploads(browser: Browser, tmp_path: Path, library: str, name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 22
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    esbuild = shutil.which("esbuild", path=os.pathsep.join(f"{folder}/.bin" for folder in folders))
    if esbuild is None:
        skip_or_fail("esbuild, a package of npm,")
    entry = tmp_path / "entry.js"
    entry.write_text(MOUNT[library].replace("EXAMPLE", str(EXAMPLES / name)))
    options = ("--bundle", "--format=esm", "--jsx=automatic", "--external:/oss/*", "--log-limit=0")
    defined = ('--define:process.env.NODE_ENV="production"', "--define:__VUE_OPTIONS_API__=true")
    flags = ("--define:__VUE_PROD_DEVTOOLS__=false", "--define:__VUE_PROD_HYDRATION_MISMATCH_DETAILS__=false")
    bundling = subprocess.run(
        [esbuild, str(entry), *options, *defined, *flags], capture_output=True, text=True, timeout=300
    )
    if "Could not resolve" in bundling.stderr:
        skip_or_fail(f"{library} of npm")
    assert bundling.returncode == 0, bundling.stderr
    (tmp_path / "bundle.js").write_text(bundling.stdout)
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "own.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", "own:application", *FREE_PORTS]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT)), tmp_path) as server:
        page = browser.new_page()
        page.goto(f"{server.url}/")
        page.locator("input[type=file]").set_input_files(file("a.txt"))
        expect(page.locator("li")).to_have_text("a.txt: stored 1")
        assert re.fullmatch("a.txt [A-Za-z0-9_-]{200,}", page.title())
        page.close()


def test_the_example_that_offers_to_go_on_uploads(browser: Browser, tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "resume.js", tmp_path / "bundle.js")
    (tmp_path / "index.html").write_text(PAGE.replace("<div", '<input type="file"><div'))
    (tmp_path / "own.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", "own:application", *FREE_PORTS]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT)), tmp_path) as server:
        page = browser.new_page()
        page.goto(f"{server.url}/")
        with page.expect_response(lambda response: response.request.method == "POST") as stored:
            page.locator("input").set_input_files(file("a.txt"))
        assert stored.value.status == 200
        page.close()
