"""The FastAPI example runs as a reader starts it, under uvicorn: log in, upload with Chromium, see the row."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..support.absent import skip_or_fail
from ..support.chromium import chromium
from ..support.ports import free_port
from ..support.running_server import clean_environ, serving
from ..support.waiting import wait_until
from .test_own_application import ROOT, Visitor, log_in

EXAMPLE = ROOT / "examples" / "fastapi_app.py"


@dataclass
class Site:
    url: str
    oss: str
    folder: Path
    log: Path

    def rows(self) -> list[tuple[str, str, int]]:
        with closing(sqlite3.connect(self.folder / "photos.sqlite3")) as database:
            return database.execute("SELECT object, user, size FROM photos ORDER BY object").fetchall()

    def is_up(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/oss/health/ready", timeout=60) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            raise AssertionError(self.log.read_text()) from error
        except OSError:
            return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Return the example with a local OSS, both started by the lines in the guide and in the docstring."""
    for name in ("fastapi", "uvicorn", "aiosqlite", "itsdangerous", "a2wsgi"):
        try:
            __import__(name)
        except ModuleNotFoundError:
            skip_or_fail(name)
    assert "\n    uvicorn fastapi_app:app\n" in EXAMPLE.read_text()
    folder = tmp_path_factory.mktemp("fastapi")
    port, oss_port = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    key = ["--access-key-id", "ID", "--access-key-secret", "SECRET"]
    local = [sys.executable, "-m", "oss_wsgi", "local", "--listen", f"127.0.0.1:{oss_port}", "--cors", url, *key]
    with serving(local, clean_environ(PYTHONPATH=str(ROOT)), folder) as oss:
        with urllib.request.urlopen(f"{oss.url}/callback_pub_key.pem", timeout=60) as response:
            (folder / "key.pem").write_bytes(response.read())
        environ = clean_environ(
            PYTHONPATH=f"{ROOT}:{EXAMPLE.parent}",
            OSS_BUCKET="local-bucket",
            OSS_HOST=f"{oss.url}/local-bucket",
            OSS_REGION="cn-hangzhou",
            OSS_ACCESS_KEY_ID="ID",
            OSS_ACCESS_KEY_SECRET="SECRET",
            OSS_TRUSTED_KEYS=f"{oss.url}/callback_pub_key.pem={folder / 'key.pem'}",
            OSS_CALLBACK_URL=f"{url}/oss/callback",
            OSS_MULTIPART="on",
            OSS_LEDGER=str(folder / "ledger.sqlite3"),
            OSS_TICKET_SECRET="any-32-characters-will-do-for-this",
        )
        log = folder / "log"
        with log.open("wb") as file:
            command = [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--port", str(port)]
            process = subprocess.Popen(command, env=environ, cwd=folder, stdout=file, stderr=file)
        try:
            site = Site(url, oss.url, folder, log)
            wait_until(site.is_up, log.read_text)
            yield site
        finally:
            process.terminate()
            process.wait(60)
    assert "Traceback" not in log.read_text()


def test_the_page_uploads_and_the_row_is_in_the_database(site: Site, tmp_path: Path) -> None:
    before = site.rows()
    sizes = {"cat.png": 4, "large.bin": 20 * 1024 * 1024}
    for name, size in sizes.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    with chromium() as browser:
        page = browser.new_page(locale="en-GB")
        complaints: list[str] = []
        page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(site.url)
        page.fill("input[name=user]", "eric")
        page.fill("input[name=password]", "wonderland")
        page.click("button")
        page.set_input_files("#file", [tmp_path / name for name in sizes])
        wait_until(lambda: len(site.rows()) == len(before) + 2, site.log.read_text)
        page.goto(site.url)
        shown = page.inner_text("ul")
        page.context.close()
    assert [complaint for complaint in complaints if "404" not in complaint] == []  # there is no favicon
    rows = site.rows()
    assert sorted(size for _, _, size in rows)[-2:] == [*sizes.values()]
    assert all(name.startswith("users/eric/") and user == "eric" and name in shown for name, user, _ in rows)


def test_nobody_else_gets_a_signature(site: Site) -> None:
    visitor = Visitor(site.url)
    assert "Hello" not in log_in(visitor, "a wrong password")
    for path in ("/oss/signature?filename=cat.png", "/oss/limits"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            visitor.get(path)


def test_the_form_grants_what_is_left_of_the_quota(site: Site) -> None:
    visitor = Visitor(site.url)
    assert "Hello eric" in log_in(visitor)
    used = sum(size for _, _, size in site.rows())
    assert json.loads(visitor.get("/oss/limits"))["max_size"] == 1024 * 1024 * 1024 - used


def test_many_ask_at_once(site: Site) -> None:
    visitor = Visitor(site.url)
    log_in(visitor)
    with ThreadPoolExecutor(16) as pool:
        forms = list(pool.map(lambda number: visitor.get(f"/oss/signature?filename={number}.png"), range(64)))
    assert len({json.loads(form)["fields"]["key"] for form in forms}) == 64
