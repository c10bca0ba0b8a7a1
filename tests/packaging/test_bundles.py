"""The two single files of the README, built by its lines and run in an empty folder without the checkout."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from oss_wsgi.testing import multipart

from ..absent import skip_or_fail
from ..running_server import FREE_PORTS, RunningServer, clean_environ, serving

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: The Python below the test environment, without the packages of that environment.
BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")


def line_of(tool: str) -> list[str]:
    """Return the README's command that runs a tool, without its installation."""
    (command,) = re.findall(rf"^    .*&& ({tool} .*)$", README, re.MULTILINE)
    return shlex.split(command)


def needed(distribution: importlib.metadata.Distribution, extras: set[str]) -> set[str]:
    """Return the names of all distributions that a distribution needs with some of its extras."""
    names: set[str] = set()
    visited: set[tuple[str, frozenset[str]]] = set()
    queue = [(distribution, frozenset(extras))]
    while queue:
        current, current_extras = queue.pop()
        for requirement in map(Requirement, current.requires or ()):
            key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
            marker = requirement.marker
            if key in visited or (
                marker and not any(marker.evaluate({"extra": extra}) for extra in (current_extras or {""}))
            ):
                continue
            visited.add(key)
            names.add(key[0])
            queue.append((importlib.metadata.distribution(requirement.name), key[1]))
    return names


def copy(name: str, site: Path) -> None:
    """Copy a distribution of this environment, without its commands."""
    for file in importlib.metadata.distribution(name).files or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an environment as `pip install '.[...]'` would, from the packages installed here, without an index."""
    for module in ("shiv", "PyInstaller"):
        if importlib.util.find_spec(module) is None:
            skip_or_fail(module)
    folder = tmp_path_factory.mktemp("installed")
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(ROOT, folder / "source", ignore=unwanted)
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    setup = [sys.executable, "-c", "import setuptools; setuptools.setup()", "--quiet"]
    steps = ["build", "--build-base", str(folder / "built"), "--build-lib", str(site), "egg_info", "-e", str(site)]
    run([*setup, *steps], folder / "source")
    ours = importlib.metadata.Distribution.at(site / "oss_wsgi.egg-info")
    (extras,) = re.findall(r"--target build/\$v '\.\[([\w,]+)\]' legacy-cgi async-timeout ", README)
    for name in needed(ours, set(extras.split(","))):
        copy(name, site)
    (script,) = ours.entry_points.select(group="console_scripts", name="oss-wsgi")
    (folder / "venv" / "bin" / "oss-wsgi").write_text(
        f"import sys\nfrom {script.module} import {script.attr}\nsys.exit({script.attr}())\n"
    )
    return folder / "venv"


def run(command: list[str], cwd: Path, **environ: str) -> None:
    process = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=clean_environ(**environ))
    if "Python library not found" in process.stderr:
        skip_or_fail("a Python with a shared library, for PyInstaller,")
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.fixture(scope="module", params=["shiv", "pyinstaller"])
def bundle(request: pytest.FixtureRequest, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build one of the two, and return the command that runs it."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "dist").mkdir()
    site = str(next((installed / "lib").glob("python*/site-packages")))
    arguments = line_of(request.param)[1:-1]
    if request.param == "shiv":
        run([sys.executable, "-m", "shiv", *arguments, site], folder)
        alone, command = folder / "alone", [BASE_PYTHON]
    else:
        tools = folder / "tools"
        ours = importlib.metadata.distribution("pyinstaller")
        for name in {"pyinstaller"} | needed(ours, set()):
            copy(name, tools)
        script = str(installed / "bin" / "oss-wsgi")
        # By default PyInstaller's cache is in the home folder, and shared with other builds.
        environ = {"PYTHONPATH": str(tools), "PYINSTALLER_CONFIG_DIR": str(folder / "cache")}
        run([str(installed / "bin" / "python"), "-m", "PyInstaller", *arguments, script], folder, **environ)
        alone, command = folder / "alone", []
    (built,) = (folder / "dist").iterdir()
    alone.mkdir()
    return [*command, str(built.rename(alone / built.name))]


@pytest.fixture
def empty(tmp_path: Path) -> dict[str, str]:
    """Return an environment without a home folder and without a Python on its PATH."""
    for name in ("home", "temporary", "here"):
        (tmp_path / name).mkdir()
    return {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary"), "PATH": str(tmp_path / "here")}


@pytest.fixture
def server(bundle: list[str], empty: dict[str, str]) -> Iterator[RunningServer]:
    command = [*bundle, "serve", *FREE_PORTS, "--metrics-listen", "127.0.0.1:0"]
    with serving(command, empty, Path(empty["PATH"])) as running:
        yield running


def get(url: str) -> bytes:
    with urllib.request.urlopen(url) as response:
        return bytes(response.read())


def test_a_bundle_serves_the_page_without_the_checkout(server: RunningServer) -> None:
    assert get(f"{server.url}/upload.js") == (ROOT / "static" / "upload.js").read_bytes()
    assert b'data-server-url="oss/signature"' in get(f"{server.url}/")
    (metrics,) = re.findall(r"http://\S+/metrics", server.log("/metrics"))
    assert b"oss_wsgi_" in get(metrics)
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for process in [str(pid), *children]:
        maps = Path(f"/proc/{process}/maps").read_text()
        assert str(ROOT) not in maps
        assert str(Path(sys.prefix) / "lib") not in maps


def test_a_bundle_handles_a_whole_upload(server: RunningServer) -> None:
    form: dict[str, Any] = json.loads(get(f"{server.url}/oss/signature?filename=a.txt"))
    content_type, body = multipart(form["fields"], "a.txt", b"hello")
    request = urllib.request.Request(form["url"], body, {"Content-Type": content_type})
    assert json.loads(get(request))["Status"] == "Ok"  # type: ignore[arg-type]
    assert get(f"{form['url']}/{form['fields']['key']}") == b"hello"


def test_a_bundle_has_the_same_options(bundle: list[str], empty: dict[str, str]) -> None:
    help_of = ["serve", "--help"]
    bundled = subprocess.run(
        [*bundle, *help_of], capture_output=True, text=True, env={**empty, "COLUMNS": "200"}, cwd=empty["PATH"]
    )
    expected = subprocess.run(
        [sys.executable, "-m", "oss_wsgi", *help_of], capture_output=True, text=True, env=clean_environ(COLUMNS="200")
    )
    assert bundled.returncode == 0, bundled.stderr
    assert "--metrics-listen" in bundled.stdout
    assert bundled.stdout == expected.stdout


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["cors", "diff", "https://a.example.com"], "OSS could not be asked"),
        (["doctor", "--only", "credentials", "--credentials-library"], "LTAI... is a key"),
    ],
)
def test_a_bundle_contains_the_official_libraries(
    bundle: list[str], empty: dict[str, str], command: list[str], message: str
) -> None:
    settings = {
        "OSS_BUCKET": "examplebucket",
        "OSS_REGION": "cn-hangzhou",
        "OSS_HOST": "http://127.0.0.1:9/examplebucket",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "LTAI5tExampleKeyId000001",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "ExampleSecret0000000000000000A",
    }
    process = subprocess.run(
        [*bundle, *command], capture_output=True, text=True, env={**empty, **settings}, cwd=empty["PATH"]
    )
    assert message in process.stdout + process.stderr
    assert "pip install" not in process.stdout + process.stderr
