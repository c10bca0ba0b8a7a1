"""The examples for `oss-wsgi serve --app` run as a reader starts them: log in, upload, see the report."""

from __future__ import annotations

import json
import re
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode

import pytest

from oss_wsgi.testing import multipart

from ..support.absent import skip_or_fail
from ..support.callbacks import without_signed_id
from ..support.running_server import FREE_PORTS, RunningServer, clean_environ, serving

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NAMES = {"flask_login": "flask", "django_csrf": "django", "cgi_script": None}
THREE_LINES = (
    '<input type="file" id="file" data-oss-upload>',
    '<output for="file"></output>',
    '<script type="module" src="/oss/upload.js"></script>',
)


class Visitor:
    """A browser without scripts: it keeps cookies and follows redirects."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> str:
        with self._opener.open(self.url + path, timeout=60) as response:
            return str(response.read().decode())

    def post(self, path: str, **form: str) -> str:
        with self._opener.open(self.url + path, urlencode(form).encode(), timeout=60) as response:
            return str(response.read().decode())


@pytest.fixture(scope="module", params=NAMES)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return an example in a folder of its own, served by the line in its docstring."""
    name = request.param
    if NAMES[name]:
        try:
            __import__(NAMES[name])
        except ModuleNotFoundError:
            skip_or_fail(NAMES[name])
    folder = tmp_path_factory.mktemp(name)
    for file in (f"{name}.py", "guestbook.cgi"):
        shutil.copy(EXAMPLES / file, folder)
    line = f"oss-wsgi serve --app {name}:application --reload"
    assert f"\n    {line}\n" in (folder / f"{name}.py").read_text()
    command = [sys.executable, "-m", "oss_wsgi", *line.split()[1:], *FREE_PORTS]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT)), folder) as running:
        yield running


def log_in(visitor: Visitor, password: str = "wonderland") -> str:
    page = visitor.get("/")
    action = re.search('<form method="post"(?: action="([^"]+)")?>', page)
    assert action is not None
    token = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', page)
    more = {"csrfmiddlewaretoken": token[1]} if token else {}
    return visitor.post(action[1] or "/", user="eric", password=password, **more)


def test_who_is_logged_in_uploads_and_the_application_hears_of_it(example: RunningServer) -> None:
    visitor = Visitor(example.url)
    page = log_in(visitor)
    assert "Hello eric" in page
    assert all(line in page for line in THREE_LINES)
    form = json.loads(visitor.get("/oss/signature?filename=cat.png"))
    assert form["fields"]["key"].startswith("users/eric/")
    content_type, body = multipart(form["fields"], "cat.png", b"hello")
    request = urllib.request.Request(form["url"], body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=60) as response:
        assert response.status == 200
        assert without_signed_id(json.load(response)) == {"Status": "Ok", "name": form["fields"]["key"]}
    assert f"{form['fields']['key']}, 5 bytes" in visitor.get("/")


def test_nobody_else_gets_a_signature(example: RunningServer) -> None:
    visitor = Visitor(example.url)
    assert "Hello" not in log_in(visitor, "a wrong password")
    for path in ("/oss/signature?filename=cat.png", "/oss/limits"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            visitor.get(path)


def test_djangos_csrf_check_stays(example: RunningServer) -> None:
    if "django_csrf" not in example.log():
        pytest.skip("this example has no CSRF check")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        Visitor(example.url).post("/login", user="eric", password="wonderland")
