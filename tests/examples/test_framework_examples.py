"""The examples with and without a framework run unchanged, and all meet the same contract."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import webtest

from oss_wsgi.testing import CallbackSigner, callback_body

from ..support.absent import skip_or_fail
from ..support.callbacks import post_callback

BARE = "bare"
FRAMEWORKS = ["flask", "django", "pyramid", "bottle", "cherrypy", BARE]
ROOT = Path(__file__).parents[2]
CALLBACK = "/oss/callback"
UNASKED = b"filename=users%2Feric%2Fforged.png&size=6&bucket=examplebucket"

# Pyramid 2 and PasteDeploy, which it needs, import pkg_resources, which setuptools deprecates.
pytestmark = [
    pytest.mark.filterwarnings("ignore:pkg_resources is deprecated as an API:UserWarning"),
    pytest.mark.filterwarnings("ignore:Deprecated call to `pkg_resources.declare_namespace:DeprecationWarning"),
]


class Example:
    """An example with its own database, and the signer that it trusts."""

    def __init__(self, framework: str, folder: Path, environ: pytest.MonkeyPatch) -> None:
        self.framework = framework
        self.signer = CallbackSigner()
        (folder / "key.pem").write_text(self.signer.pem)
        self.environ = {
            "OSS_BUCKET": "examplebucket",
            "OSS_REGION": "cn-hangzhou",
            "OSS_ACCESS_KEY_ID": "id",
            "OSS_ACCESS_KEY_SECRET": "secret",
            "OSS_CALLBACK_URL": "https://app.example.com/oss/callback",
            "OSS_UPLOAD_NAMES": "original",
            "OSS_TRUSTED_KEYS": f"{self.signer.url}={folder / 'key.pem'}",
            "APP_DATABASE": str(folder / "guestbook.sqlite3"),
            "APP_HOSTS": "localhost,app.example.com",
            "APP_PASSWORD": "half a bee",
            "APP_SECRET": "0123456789abcdef0123456789abcdef",
        }
        for name, value in self.environ.items():
            environ.setenv(name, value)
        self.module = importlib.import_module(f"examples.{framework}_app")

    def client(self) -> webtest.TestApp:
        return webtest.TestApp(self.module.application)

    def legacy(self) -> webtest.TestApp:
        """Return the application behind DirectUpload."""
        return webtest.TestApp(vars(self.module).get("legacy") or self.module.app)

    def logged_in(self) -> webtest.TestApp:
        client = self.client()
        log_in(client, "eric", "half a bee", {200, 302, 303})
        return client


def log_in(client: webtest.TestApp, user: str, password: str, statuses: set[int]) -> None:
    form = client.get("/login").form
    form["user"], form["password"] = user, password
    assert form.submit(expect_errors=True).status_int in statuses


@contextmanager
def forgotten(package: str) -> Iterator[None]:
    """Forget a package's modules for a while, so that it can be imported anew."""

    def forget() -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] == package]
        return {name: sys.modules.pop(name) for name in names}

    known = forget()
    yield
    forget()
    sys.modules.update(known)


@pytest.fixture(scope="module")
def loaded() -> Iterator[dict[str, Example]]:
    """Import each example once. Django can be configured only once after its import, and tests/django does that too."""
    examples: dict[str, Example] = {}
    with forgotten("django"):
        yield examples
    for framework, example in examples.items():
        sys.modules.pop(f"examples.{framework}_app")
        if framework == "cherrypy" and example.module.RamSession.clean_thread:
            # Its thread would clean up sessions while other tests run.
            example.module.RamSession.clean_thread.stop()
            example.module.RamSession.clean_thread = None


@pytest.fixture(params=FRAMEWORKS)
def example(
    request: pytest.FixtureRequest, loaded: dict[str, Example], tmp_path_factory: pytest.TempPathFactory
) -> Example:
    framework = request.param
    if framework != BARE and importlib.util.find_spec(framework) is None:
        skip_or_fail(framework)
    if framework not in loaded:
        with pytest.MonkeyPatch.context() as environ:  # the examples read it at import
            loaded[framework] = Example(framework, tmp_path_factory.mktemp(framework), environ)
    return loaded[framework]


def test_the_legacy_page_is_still_served(example: Example) -> None:
    assert "<h1>Guest book</h1>" in example.client().get("/").text
    assert example.client().get("/elsewhere", expect_errors=True).status_int == 404


def test_a_failed_login_gets_no_signature(example: Example) -> None:
    client = example.client()
    log_in(client, "eric", "wrong", {403})
    assert client.get("/oss/signature?filename=a.png", expect_errors=True).status_int == 403


def test_a_forged_cookie_gets_no_signature(example: Example) -> None:
    cookies = example.logged_in().cookies
    assert cookies
    for forged in ("Zm9yZ2Vk", "../../etc/passwd", "", *(value.strip('"')[::-1] for value in cookies.values())):
        header = {"Cookie": "; ".join(f"{name}={forged}" for name in cookies)}
        answer = example.client().get("/oss/signature?filename=a.png", headers=header, expect_errors=True)
        assert answer.status_int == 403


def test_the_frameworks_own_view_gets_a_verified_upload(example: Example) -> None:
    client = example.client()
    body = callback_body(example.logged_in().get("/oss/signature?filename=a.png").json, size=6)
    for _ in range(2):  # OSS may report twice
        answer = post_callback(client, body, example.signer, target=CALLBACK)
        assert answer.status_int == 200
        assert (answer.json["Status"], answer.json["name"]) == ("Ok", "users/eric/a.png")
        assert answer.content_type == "application/json"
        assert answer.headers["Content-Length"] == str(len(answer.body))
    assert client.get("/").text.count("users/eric/a.png, 6 bytes") == 1


def test_the_view_refuses_a_callback_that_bypassed_direct_upload(example: Example) -> None:
    headers = example.signer.headers(CALLBACK, UNASKED)
    assert example.legacy().post(CALLBACK, UNASKED, headers=headers, expect_errors=True).status_int == 403
    bypass = webtest.TestRequest.blank("/", method="POST", body=UNASKED, headers=headers)
    bypass.environ["PATH_INFO"] = f"/{CALLBACK}"  # some frameworks read it as CALLBACK
    assert example.client().do_request(bypass, expect_errors=True).status_int in {403, 404}
    assert "forged" not in example.client().get("/").text


def test_simultaneous_reports_make_one_row_for_each_upload(example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    # 20 commits, one after the other, take a busy disk longer than the 5 seconds that SQLite waits by default.
    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, timeout=60))
    uploader = example.logged_in()
    names = [f"together-{number}.png" for number in range(20)]
    bodies = [callback_body(uploader.get(f"/oss/signature?filename={name}").json, size=6) for name in names]
    reports = 3 * bodies
    barrier = threading.Barrier(len(reports))

    def report(body: bytes) -> webtest.TestResponse:
        client, headers = example.client(), example.signer.headers(CALLBACK, body)
        barrier.wait(60)
        answer = client.post(CALLBACK, body, headers=headers, expect_errors=True)
        while answer.status_int == 503:  # the first of an upload is handled and the second waits: come back later
            assert answer.headers["Retry-After"]
            time.sleep(0.01)
            answer = client.post(CALLBACK, body, headers=headers, expect_errors=True)
        return answer

    with ThreadPoolExecutor(len(reports)) as pool:
        answers = list(pool.map(report, reports))
    assert [answer.status_int for answer in answers] == [200] * len(reports)
    assert [answer.json["name"] for answer in answers] == [f"users/eric/{name}" for name in 3 * names]
    page = example.client().get("/").text
    assert [page.count(f"users/eric/{name}, 6 bytes") for name in names] == [1] * len(names)


def test_several_processes_can_start_at_once_in_a_new_folder(example: Example, tmp_path: Path) -> None:
    environ = {**os.environ, **example.environ, "APP_DATABASE": str(tmp_path / "fresh.sqlite3")}
    start = [sys.executable, "-c", f"import examples.{example.framework}_app"]
    processes = [subprocess.Popen(start, env=environ, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), errors


# The other examples have no CSRF check of their own.
@pytest.mark.parametrize(("example", "refused"), [("django", 403), ("pyramid", 400), (BARE, 403)], indirect=["example"])
def test_every_other_view_keeps_its_csrf_check(example: Example, refused: int) -> None:
    client = example.client()
    form = {"user": "eric", "password": "half a bee"}
    assert client.post("/login", form, expect_errors=True).status_int == refused
    assert client.get("/oss/signature?filename=a.png", expect_errors=True).status_int == 403
    signed = post_callback(client, b"user=eric", example.signer, target="/login", expect_errors=True)
    assert signed.status_int == refused


def test_each_example_is_one_short_file(example: Example) -> None:
    source = Path(example.module.__file__).read_text()
    assert f"waitress-serve examples.{example.framework}_app:application" in source
    assert len(source.splitlines()) <= 110
