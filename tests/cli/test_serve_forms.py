"""`oss-wsgi serve --app X --forms`: the forms of an application that knows nothing of us."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.absent import PROCESSES
from ..support.browser_form import CONTENT_TYPE, File, browser_form
from ..support.running_server import FREE_PORTS, RunningServer, fetch, signed, upload
from ..support.waiting import wait_until
from .command import oss_wsgi
from .test_serve_application import ROOT, served

pytestmark = pytest.mark.slow

LEGACY = """
PAGE = b"<!doctype html><title>old</title>"

def application(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        body, kind = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])), "application/octet-stream"
    else:
        body, kind = PAGE, "text/html"
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
"""
AUTHORIZE = """
from oss_wsgi import Grant

def authorize(request):
    return Grant(user="eric", dir="users/eric")
"""
FORMS = ["--app", "legacy:application", "--forms"]
AUTHORIZED = [*FORMS, "--authorize", "uploads:authorize"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "legacy.py").write_text(LEGACY)
    (tmp_path / "uploads.py").write_text(AUTHORIZE)
    return tmp_path


def takes_forms(running: RunningServer, prefix: str = "/oss") -> bool:
    """Upload a file, and return whether the application finds it in the form that brings its signed ID."""
    answer = upload(running.url, prefix)
    form = browser_form([("oss_wsgi.files", "photo"), ("photo", answer["signed_id"])])
    seen = fetch(f"{running.url}/save", form, {"Content-Type": CONTENT_TYPE})
    return seen == browser_form([("photo", File("a.txt", "text/plain", b"hello"))])


@pytest.mark.parametrize(
    "more",
    [
        pytest.param([], id="one process"),
        pytest.param(["--reload"], id="--reload"),
        pytest.param(["--processes", "2"], id="--processes", marks=PROCESSES),
    ],
)
def test_an_application_that_knows_nothing_of_us_reads_files_of_oss(folder: Path, more: list[str]) -> None:
    with served(folder, *AUTHORIZED, "--prefix", "/up", *more) as running:
        line = b'<script type="module" src="/up/upload.js" data-forms></script>'
        assert fetch(f"{running.url}/") == b"<!doctype html><title>old</title>" + line
        assert takes_forms(running, "/up")
        output = running.log("Ctrl-C ends it")
        assert "The files of its forms go to OSS; uploads:authorize says who may upload.\n" in output
        assert "shows no DirectUpload" not in output


def test_a_change_of_authorize_restarts_it(folder: Path) -> None:
    with served(folder, *AUTHORIZED, "--reload") as running:
        assert takes_forms(running)
        (folder / "uploads.py").write_text(f"{AUTHORIZE}# and nobody else\n".replace("users/eric", "all"))
        wait_until(lambda: signed(running.url)["fields"]["key"].startswith("all/"))


def test_metrics_count_its_forms(folder: Path) -> None:
    with served(folder, *AUTHORIZED, "--metrics-listen", "127.0.0.1:0") as running:
        assert takes_forms(running)
        metrics = next(line for line in running.lines if line.startswith("Metrics at ")).split()[2].rstrip(".")
        assert b'oss_wsgi_forms_total{outcome="accepted"} 1.0' in fetch(metrics)


def test_uploads_that_are_open_to_everybody_need_no_authorize(folder: Path) -> None:
    with served(folder, *FORMS, OSS_ALLOW_ANONYMOUS="on") as running:
        assert takes_forms(running)
        assert "OSS_ALLOW_ANONYMOUS is on: everybody may upload." in running.log("everybody may upload")


WHO = (
    "oss-wsgi serve: --forms: name the function that says who may upload with --authorize MODULE:NAME, or let "
    "everybody upload with OSS_ALLOW_ANONYMOUS=on.\n"
)
REAL = {
    "OSS_BUCKET": "examplebucket",
    "OSS_REGION": "cn-hangzhou",
    "OSS_ACCESS_KEY_ID": "id",
    "OSS_ACCESS_KEY_SECRET": "secret",
}
Ended = Callable[..., str]


@pytest.fixture
def ended(folder: Path) -> Ended:
    def ended(*arguments: str, **environ: str) -> str:
        """Return the sentence with which the command does not start."""
        return oss_wsgi("serve", *FREE_PORTS, *arguments, status=2, cwd=folder, PYTHONPATH=str(ROOT), **environ).stderr

    return ended


@pytest.mark.parametrize("environ", [{}, REAL, {"OSS_ALLOW_ANONYMOUS": "off"}], ids=["local", "real", "off"])
def test_it_does_not_start_before_somebody_says_who_may_upload(ended: Ended, environ: dict[str, str]) -> None:
    assert ended(*FORMS, **environ) == WHO


def test_options_that_say_nothing_by_themselves_are_refused(ended: Ended) -> None:
    assert "--forms takes the files of your own application: name it with --app" in ended("--forms")
    assert "add --forms" in ended("--app", "legacy:application", "--authorize", "uploads:authorize")
    assert "add --forms" in ended("--authorize", "uploads:authorize")


def test_an_authorize_that_cannot_be_loaded_is_named(ended: Ended) -> None:
    errors = ended(*FORMS, "--authorize", "uploads:allow")
    assert errors.splitlines()[-3:-1] == [
        "oss-wsgi serve: --authorize: uploads:allow cannot be loaded:",
        "AttributeError: module 'uploads' has no attribute 'allow'",
    ]
    assert "oss-wsgi serve: --authorize: write MODULE:NAME" in ended(*FORMS, "--authorize", "uploads")


def test_an_application_with_a_direct_upload_of_its_own_has_forms_there(ended: Ended, folder: Path) -> None:
    wrapped = "import legacy, os\nfrom oss_wsgi import DirectUpload, Settings\nfrom uploads import authorize\n"
    wrapped += "app = DirectUpload(legacy.application, Settings.from_environ(os.environ), authorize=authorize)\n"
    (folder / "wrapped.py").write_text(wrapped)
    errors = ended("--app", "wrapped:app", "--forms", "--authorize", "uploads:authorize")
    assert '--forms: wrapped:app has a DirectUpload already: leave --forms out, and add forms="inject" there.' in errors


def test_all_that_it_needs_of_the_settings_is_said_before_a_process_starts(ended: Ended) -> None:
    assert "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET must be set." in ended(
        *AUTHORIZED, OSS_BUCKET="examplebucket", OSS_REGION="cn-hangzhou"
    )
    assert "OSS_LEDGER" in ended(*AUTHORIZED, "--processes", "2", **REAL)
    assert "OSS_SIGNED_IDS=on" in ended(*AUTHORIZED, OSS_SIGNED_IDS="off")
