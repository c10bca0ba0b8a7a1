"""`oss-wsgi serve --app`: a person's own application beside the local OSS, and its restarts."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ..support.absent import PROCESSES
from ..support.forks import start
from ..support.running_server import FREE_PORTS, RunningServer, clean_environ, fetch, send, serving, signed, upload
from ..support.waiting import wait_until
from .command import oss_wsgi

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

SHOP = """
import os
from oss_wsgi import DirectUpload, Dispatcher, Grant, Settings

def legacy(environ, start_response):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)) or b"ONE"
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

def allow(request):
    return Grant(user="eric", dir="users/eric")

def save(upload):
    print(f"saved for {upload.user}")
    return {"name": upload.object}

settings = Settings.from_environ(os.environ)
application = DirectUpload(legacy, settings, authorize=allow, on_upload=save)
elsewhere = DirectUpload(legacy, settings, prefix="/my uploads", authorize=allow, on_upload=save)

def nothing_here(environ, start_response):
    start_response("404 Not Found", [("Content-Length", "0")])
    return []

mounted = Dispatcher(nothing_here, {"/files": application})
bare = DirectUpload(legacy, settings, prefix="", authorize=allow, on_upload=save)
usual = Dispatcher(nothing_here, {"/oss": bare})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@contextlib.contextmanager
def served(folder: Path, *arguments: str, **environ: str) -> Iterator[RunningServer]:
    command = [sys.executable, "-m", "oss_wsgi", "serve", *FREE_PORTS, *arguments]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT), **environ), folder) as running:
        yield running


def test_an_upload_reaches_the_application_through_the_local_oss(folder: Path) -> None:
    with served(folder, "--app", "shop:application") as running:
        assert fetch(f"{running.url}/") == b"ONE"
        assert upload(running.url)["name"].startswith("users/eric/")
        assert "saved for eric" in running.log("saved for eric")
        assert f"{running.url}/ in a browser: your application shop:application." in running.log()
        assert "WARNING oss_wsgi.application" not in running.log()


def test_a_large_body_reaches_the_application(folder: Path) -> None:
    with served(folder, "--app", "shop:application") as running:
        body = b"x" * 3_000_000
        assert fetch(f"{running.url}/", body) == body


@pytest.mark.parametrize(
    ("name", "arguments", "prefix"),
    [
        ("elsewhere", [], "/my%20uploads"),  # the DirectUpload's own prefix
        ("mounted", ["--prefix", "/files/oss"], "/files/oss"),
        ("usual", [], "/oss"),  # without a prefix it is taken to be mounted there
    ],
)
def test_the_callback_url_follows_the_prefix(folder: Path, name: str, arguments: list[str], prefix: str) -> None:
    with served(folder, "--app", f"shop:{name}", *arguments) as running:
        assert upload(running.url, prefix)["Status"] == "Ok"


def test_a_callback_that_finds_nobody_names_the_option(folder: Path) -> None:
    with served(folder, "--app", "shop:mounted") as running:
        with pytest.raises(AssertionError):  # 203
            upload(running.url, "/files/oss")
        assert "start with --prefix PATH" in running.log("--prefix PATH")


def test_options_of_settings_metrics_and_the_access_log_apply(folder: Path) -> None:
    options = ["--upload-max-size", "77", "--access-log", "--metrics-listen", "127.0.0.1:0"]
    with served(folder, "--app", "shop:application", *options) as running:
        assert json.loads(fetch(f"{running.url}/oss/limits"))["max_size"] == 77
        upload(running.url)
        assert "GET '/oss/limits' 200" in running.log("GET '/oss/limits' 200")
        metrics = next(line for line in running.lines if line.startswith("Metrics at ")).split()[2].rstrip(".")
        assert b"oss_wsgi_signatures_issued_total 1.0" in fetch(metrics)


COUNTS_ITSELF = """
from shop import *
from oss_wsgi import Metrics
first = DirectUpload(nothing_here, settings, authorize=allow, on_upload=save, metrics=Metrics())
second = DirectUpload(first, settings, prefix="/more", authorize=allow, on_upload=save)
"""


@pytest.mark.parametrize("options", [[], pytest.param(["--processes", "2"], marks=PROCESSES)])
def test_the_metrics_port_shows_what_the_application_counts_itself(folder: Path, options: list[str]) -> None:
    (folder / "counting.py").write_text(COUNTS_ITSELF)
    with served(folder, "--app", "counting:second", "--metrics-listen", "127.0.0.1:0", *options) as running:
        fetch(f"{running.url}/oss/signature?filename=a.png")
        fetch(f"{running.url}/more/signature?filename=a.png")
        url = next(line for line in running.lines if line.startswith("Metrics at ")).split()[2].rstrip(".")
        wait_until(lambda: b"\noss_wsgi_signatures_issued_total 2.0\n" in fetch(url))


HIDDEN = """
import os, time
from shop import DirectUpload, allow, save, settings

def slow(environ, start_response):
    print("begun")
    while not os.path.exists("go"):
        time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "0")])
    return []

uploads = DirectUpload(slow, settings, authorize=allow, on_upload=save)

def application(environ, start_response):
    return uploads(environ, start_response)
"""


def test_a_direct_upload_that_is_hidden_is_told_at_its_first_request_and_then_its_callbacks_have_threads(
    folder: Path,
) -> None:
    (folder / "hidden.py").write_text(HIDDEN)
    with served(folder, "--app", "hidden:application") as running, ThreadPoolExecutor(9) as clients:
        assert "hides its DirectUpload" not in running.log("Ctrl-C ends it")
        form = signed(running.url)
        assert "oss-wsgi serve: hidden:application hides its DirectUpload: " in running.log("hides its")
        pages = [clients.submit(fetch, f"{running.url}/") for _ in range(8)]
        try:
            wait_until(lambda: running.log().count("begun") == 8)
            assert send(form)["name"].startswith("users/eric/")
            assert not any(page.done() for page in pages)
        finally:
            (folder / "go").touch()
        assert [page.result() for page in pages] == [b""] * 8
        assert running.log().count("hides its DirectUpload") == 1


@pytest.mark.parametrize("more", [[], ["--reload"]])
def test_an_application_that_shows_no_direct_upload_is_warned_of(folder: Path, more: list[str]) -> None:
    (folder / "plain.py").write_text(SHOP.partition("def allow")[0] + "\napp = legacy\n")
    with served(folder, "--app", "plain:app", "--prefix", "/files", *more) as running:
        assert fetch(f"{running.url}/") == b"ONE"
        assert (
            "oss-wsgi serve: plain:app shows no DirectUpload: if it makes none, nothing answers below /files. "
            "Then name the module that wraps it, such as uploads:application.\n"
        ) in running.log("shows no DirectUpload")
    with served(folder, "--app", "shop:application", *more) as running:
        assert "shows no DirectUpload" not in running.log("Ctrl-C ends it")


def test_where_files_go_is_said(folder: Path, tmp_path_factory: Any) -> None:
    with served(folder, "--app", "shop:application") as running:
        sentence = "Files go to a temporary folder, removed at the end (keep them with --local-dir DIR).\n"
        window = re.search(r"See what OSS was asked, and what it stores: (\S+)\n", running.log("Ctrl-C ends it"))
        assert sentence in running.log()
        assert window
        assert b"<h1>Activity</h1>" in fetch(window[1])
    kept = tmp_path_factory.mktemp("kept") / "files"
    with served(folder, "--app", "shop:application", "--local-dir", str(kept)) as running:
        assert f"Files go to {kept}.\n" in running.log("Ctrl-C ends it")
        assert "temporary folder" not in running.log()


def test_a_public_acl_is_refused_as_by_a_new_bucket_unless_allowed(folder: Path) -> None:
    (folder / "public.py").write_text(SHOP.replace('dir="users/eric"', 'dir="users/eric", acl="public-read"'))
    with served(folder, "--app", "public:application") as running, pytest.raises(urllib.error.HTTPError, match="403"):
        upload(running.url)
    with served(folder, "--app", "public:application", "--local-allow-public") as running:
        assert upload(running.url)["name"]


def test_half_a_configuration_is_said(folder: Path) -> None:
    half = {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "swordfish", "OSS_REGION": "cn-beijing"}
    with served(folder, "--app", "shop:application", **half) as running:
        output = running.log("Ctrl-C ends it")
    assert "OSS_ACCESS_KEY_ID is set but OSS_BUCKET is not: a local OSS at http://127.0.0.1:" in output
    assert "swordfish" not in output


def test_all_that_a_real_bucket_lacks_is_said_at_once(folder: Path) -> None:
    environ = {"PYTHONPATH": str(ROOT), "OSS_BUCKET": "examplebucket"}
    command = ["serve", *FREE_PORTS, "--app", "shop:application"]
    assert oss_wsgi(*command, status=2, cwd=folder, **environ).stderr == (
        "oss-wsgi serve: OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET must be set.\n"
        "oss-wsgi serve: OSS_REGION must be set: signature version v4 signs it.\n"
    )
    errors = oss_wsgi(*command, status=2, cwd=folder, **environ, OSS_REGION="cn-hangzhou").stderr
    assert errors == "oss-wsgi serve: OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET must be set.\n"


def test_credentials_of_the_applications_own_need_no_key_in_the_settings(folder: Path) -> None:
    source = SHOP.replace("(legacy, settings", "(legacy, settings, credentials=Own()").replace(
        "def legacy",
        "from oss_wsgi import Credentials\nclass Own:\n"
        "    def get_credentials(self):\n        return Credentials('id', 'secret')\n\ndef legacy",
    )
    (folder / "shop.py").write_text(source)
    real = {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou"}
    with served(folder, "--app", "shop:application", **real) as running:
        assert signed(running.url)["url"].startswith("https://examplebucket.")
        assert "local OSS" not in running.log()
        assert "OSS_CALLBACK_URL=https://YOUR-HOST/oss/callback" in running.log("YOUR-HOST")


def test_settings_of_the_applications_own_are_spoken_of(folder: Path) -> None:
    own = "Settings(bucket='theirs', region='cn-hangzhou', access_key_id='id', access_key_secret='secret')"
    (folder / "shop.py").write_text(SHOP.replace("Settings.from_environ(os.environ)", own))
    with served(folder, "--app", "shop:application") as running:
        host = "https://theirs.oss-cn-hangzhou.aliyuncs.com"
        assert f"its uploads go to {host}, not to the local OSS" in running.log("not to the local OSS")


def test_a_file_elsewhere_that_the_application_loads_restarts_it_too(folder: Path, tmp_path_factory: Any) -> None:
    library = tmp_path_factory.mktemp("library")
    (library / "prices.py").write_text("PRICE = b'1'")
    source = SHOP.replace('b"ONE"', "PRICE").replace("import os", "import os\nfrom prices import PRICE")
    (folder / "shop.py").write_text(source)
    command = [sys.executable, "-m", "oss_wsgi", "serve", *FREE_PORTS, "--app", "shop:application", "--reload"]
    environ = clean_environ(PYTHONPATH=f"{ROOT}{os.pathsep}{library}")
    with serving(command, environ, folder) as running:
        assert fetch(f"{running.url}/") == b"1"

        def has_restarted() -> bool:
            with (library / "prices.py").open("a") as file:
                file.write("\nPRICE = b'2'")  # again, until the parent has heard of the file
            time.sleep(1)
            return fetch(f"{running.url}/") == b"2"

        wait_until(has_restarted)


def test_an_env_file_is_spoken_of_where_settings_are_missing(folder: Path) -> None:
    (folder / ".env").write_text("OSS_BUCKET=examplebucket")
    with served(folder, "--app", "shop:application") as running:
        assert "The file .env in this folder is not read." in running.log("is not read")
    environ = {"PYTHONPATH": str(ROOT), "OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou"}
    errors = oss_wsgi("serve", *FREE_PORTS, "--app", "shop:application", status=2, cwd=folder, **environ).stderr
    assert "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET must be set." in errors
    assert "The file .env in this folder is not read." in errors


def test_what_cannot_be_loaded_ends_with_status_2_and_a_sentence(folder: Path) -> None:
    environ = {"PYTHONPATH": str(ROOT)}
    errors = oss_wsgi("serve", *FREE_PORTS, "--app", "shop:app", status=2, cwd=folder, **environ).stderr
    assert errors.splitlines()[-3:] == [
        "oss-wsgi serve: --app: shop:app cannot be loaded:",
        "AttributeError: module 'shop' has no attribute 'app'",
        "Name a variable of the module, or NAME() to call a function of it.",
    ]
    assert oss_wsgi("serve", "--reload", status=2, cwd=folder, **environ).stderr == (
        "oss-wsgi serve: --reload restarts your own application: name it with --app MODULE:NAME.\n"
    )
    assert "A file .env is not read" in " ".join(oss_wsgi("serve", "--help").stdout.split())


def children_of(pid: int) -> list[int]:
    listing = subprocess.run(["ps", "-A", "-o", "ppid=", "-o", "pid="], capture_output=True, text=True, check=True)
    pairs = [line.split() for line in listing.stdout.splitlines()]
    return [int(child) for parent, child in pairs if int(parent) == pid]


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, even if its parent has not asked for its status."""
    listing = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return listing.stdout.strip()[:1] in ("", "Z")


def test_a_change_restarts_the_application_and_leaves_the_local_oss(folder: Path) -> None:
    with served(folder, "--app", "shop:application", "--reload", PYTHONDONTWRITEBYTECODE="") as running:
        stored = upload(running.url)["name"]
        # An editor saves within the second, and the size is the same: Python would trust the compiled file.
        (folder / "shop.new").write_text(SHOP.replace("ONE", "TWO"))
        os.replace(folder / "shop.new", folder / "shop.py")
        wait_until(lambda: fetch(f"{running.url}/") == b"TWO")
        assert "shop.py changed; reloading" in running.log("reloading")
        form = signed(running.url)
        local_oss, _, bucket = form["url"].rpartition("/")
        assert fetch(f"{local_oss}/_inspect/content?bucket={bucket}&key={stored}") == b"hello"
        assert upload(running.url)["Status"] == "Ok"
        (child,) = children_of(running.process.pid)
    assert is_gone(child)


def test_while_the_code_is_wrong_it_waits_and_then_answers_who_has_waited(folder: Path) -> None:
    with served(folder, "--app", "shop:application", "--reload") as running:
        (folder / "shop.py").write_text(SHOP + "\ndef (")
        output = running.log("Waiting for a file to change")
        assert 'shop.py", line ' in output
        assert "\n    def (\n" in output
        (folder / "shop.py").write_text(SHOP.replace("ONE", "TWO"))
        assert fetch(f"{running.url}/") == b"TWO"


@pytest.mark.parametrize(
    ("source", "problem", "file", "mended"),
    [
        ("import prices\n" + SHOP, "No module named 'prices'", "prices.py", ""),
        (SHOP.replace("os.environ", "{'OSS_PART_SIZE': 'x'}"), "OSS_PART_SIZE", "shop.py", SHOP),
    ],
    ids=["a missing module", "a wrong setting"],
)
def test_what_fails_at_the_start_may_be_mended(folder: Path, source: str, problem: str, file: str, mended: str) -> None:
    (folder / "shop.py").write_text(source)
    command = ["-m", "oss_wsgi", "serve", *FREE_PORTS, "--app", "shop:application", "--reload"]
    with start(command, clean_environ(PYTHONPATH=str(ROOT)), folder, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        lines: list[str] = []
        while "Waiting" not in (lines or [""])[-1]:
            lines.append(process.stdout.readline())
        assert problem in "".join(lines)
        (folder / file).write_text(mended)
        while "Open http" not in lines[-1]:
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_without_hupper_a_sentence_says_what_to_install(folder: Path) -> None:
    (folder / "hupper.py").write_text("")
    environ = {"PYTHONPATH": str(ROOT)}
    command = ["serve", *FREE_PORTS, "--app", "shop:application", "--reload"]
    errors = oss_wsgi(*command, status=2, cwd=folder, **environ).stderr
    assert errors == "oss-wsgi serve: --reload needs hupper: pip install 'oss-wsgi[reload]'.\n"


# Runs Python with its standard input as its terminal.
ON_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "Ctrl-C"])
def test_a_terminal_ends_both_processes(folder: Path, is_closed: bool) -> None:
    command = [sys.executable, "-c", ON_TERMINAL, "-m", "oss_wsgi", "serve", *FREE_PORTS]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*command, "--app", "shop:application", "--reload"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=clean_environ(PYTHONPATH=str(ROOT)),
        cwd=folder,
    ) as process:
        os.close(theirs)
        output = b""
        while b"Ctrl-C ends it" not in output:
            output += os.read(ours, 4096)
        (child,) = children_of(process.pid)
        if is_closed:
            os.close(ours)
        else:
            os.write(ours, b"\x03")
        assert process.wait(timeout=60) == 0
        wait_until(lambda: is_gone(child))
    if not is_closed:
        os.close(ours)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_child_outlives_its_parent(folder: Path, number: int) -> None:
    command = ["-m", "oss_wsgi", "serve", *FREE_PORTS, "--app", "shop:application", "--reload"]
    with start(command, clean_environ(PYTHONPATH=str(ROOT)), folder, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        while "Ctrl-C ends it" not in process.stdout.readline():
            assert process.poll() is None
        (child,) = children_of(process.pid)
        process.send_signal(number)
        assert process.wait(timeout=60) == (0 if number != signal.SIGKILL else -signal.SIGKILL)
        wait_until(lambda: is_gone(child))
        process.stdout.close()
