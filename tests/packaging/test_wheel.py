"""The sdist and the wheel as users get them, built and installed without the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from ..support.absent import skip_or_fail
from ..support.running_server import FREE_PORTS, clean_environ, running_server, serving

ROOT = Path(__file__).parents[2]
PLUGIN_TEST = """
from oss_wsgi import DirectUpload, Grant, Settings

def test_an_upload(oss_upload, oss_environ):
    uploads = []
    application = DirectUpload(None, Settings.from_environ(oss_environ),
                               authorize=lambda request: Grant(user="eric"), on_upload=uploads.append)
    oss_upload(application, "cat.png", b"picture")
    assert [upload.user for upload in uploads] == ["eric"]
"""


def run(*command: str | Path, cwd: Path) -> str:
    process = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=clean_environ())
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist from a copy of the checkout, which stays clean."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    # Other tests may be writing into .hypothesis meanwhile.
    junk = (".venv*", ".git", ".hypothesis", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    unwanted = shutil.ignore_patterns(*junk)
    shutil.copytree(ROOT, source, ignore=unwanted)
    target = tmp_path_factory.mktemp("sdist")
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", build, target, cwd=source)
    return next(target.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the sdist."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(sdist)]
    build = subprocess.run(command, capture_output=True, text=True)
    if build.returncode and "No matching distribution" in build.stderr:
        skip_or_fail("a package index with setuptools")
    assert build.returncode == 0, build.stderr
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has the wheel."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=False)
    site = next((folder / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    # The dependencies come from this environment, which does not contain the package itself.
    dependencies = next(Path(path) for path in sys.path if (Path(path) / "waitress").is_dir())
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    python = folder / "bin" / "python"
    location = run(python, "-c", "import oss_wsgi; print(oss_wsgi.__file__)", cwd=folder)
    assert Path(location.strip()).is_relative_to(site)
    return python


def test_the_sdist_has_everything_that_the_checkout_has(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("oss_wsgi", "local_oss", "static", "tests", "docs", "examples")
    files = {path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()}
    made = {"__pycache__", "_build"}
    kept = {path.as_posix() for path in files if not made & {*path.parts} and path.suffix != ".sqlite3"}
    top = {"README.md", "CHANGES.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "server.py", "setup.cfg", ".ci/run"}
    assert (kept | top | {"pyproject.toml"}) - names == set()
    assert {"docs/conf.py", "docs/pictures/page.png", "README.zh-CN.md", ".readthedocs.yaml"} <= names
    assert not [name for name in names if made & {*name.split("/")}]


def test_the_wheel_has_the_page_and_types_but_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"oss_wsgi/static/index.html", "oss_wsgi/static/upload.js", "oss_wsgi/py.typed"} <= set(names)
    assert {"oss_wsgi/static/languages/de.js", "oss_wsgi/static/upload.d.ts", "local_oss/py.typed"} <= set(names)
    inspector = {f"local_oss/inspector/{name}" for name in ("inspector.css", "inspector.js", "icon.svg")}
    templates = (ROOT / "local_oss" / "inspector" / "templates").iterdir()
    data = {path.relative_to(ROOT).as_posix() for path in templates}
    data |= {f"oss_wsgi/explanations/{name}.toml" for name in ("regions", "rows", "zh")}
    assert inspector | data <= set(names)
    houses = ("oss_wsgi", "local_oss")
    modules = {path.relative_to(ROOT).as_posix() for house in houses for path in (ROOT / house).rglob("*.py")}
    assert modules - {"oss_wsgi/static/__init__.py"} - set(names) == set()
    (entry_points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
    commands = zipfile.ZipFile(wheel).read(entry_points)
    assert b"oss-wsgi = oss_wsgi.__main__:main" in commands
    assert b"local-oss = local_oss.__main__:main" in commands
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"oss_wsgi", "local_oss"}


def test_the_installed_wheel_serves_the_page_and_signs(python: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "server.py", tmp_path / "server.py")
    command = [str(python), "-m", "oss_wsgi", "serve", *FREE_PORTS]
    for start in (
        running_server(python=str(python), server=tmp_path / "server.py", cwd=tmp_path),
        serving(command, clean_environ(), tmp_path),
    ):
        with start as server:
            with urllib.request.urlopen(f"{server.url}/") as page:
                assert b'data-server-url="oss/signature"' in page.read()
            with urllib.request.urlopen(f"{server.url}/oss/signature?filename=a.txt") as response:
                assert json.load(response)["method"] == "POST"


def test_the_installed_wheel_brings_the_pytest_plugin(python: Path, tmp_path: Path) -> None:
    (tmp_path / "test_plugin.py").write_text(PLUGIN_TEST)
    assert "1 passed" in run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_plugin.py", cwd=tmp_path)
