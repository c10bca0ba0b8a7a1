"""The wheel as users install it, without the checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

from ..running_server import clean_environ, running_server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the checkout, which stays clean."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    unwanted = shutil.ignore_patterns(".venv*", ".git", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, source, ignore=unwanted)
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(target), str(source)]
    build = subprocess.run(command, capture_output=True, text=True)
    if build.returncode and "No matching distribution" in build.stderr:
        pytest.skip("no package index is reachable for setuptools")
    assert build.returncode == 0, build.stderr
    return next(target.glob("*.whl"))


def test_the_wheel_has_the_page_and_types_but_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"oss_wsgi/static/index.html", "oss_wsgi/static/upload.js", "oss_wsgi/py.typed"} <= set(names)
    assert {"oss_wsgi/pytest_plugin.py", "oss_wsgi/testing/road.py", "oss_wsgi/local/__main__.py"} <= set(names)
    assert {"oss_wsgi/__main__.py", "oss_wsgi/cli/doctor/command.py"} <= set(names)
    (entry_points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
    assert b"oss-wsgi = oss_wsgi.cli.main:main" in zipfile.ZipFile(wheel).read(entry_points)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"oss_wsgi"}


def test_the_installed_wheel_serves_the_page_and_signs(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    # The dependencies come from this environment, which does not contain the package itself.
    dependencies = next(Path(path) for path in sys.path if (Path(path) / "waitress").is_dir())
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    shutil.copy(ROOT / "server.py", tmp_path / "server.py")
    location = subprocess.run(
        [str(python), "-c", "import oss_wsgi; print(oss_wsgi.__file__)"],
        capture_output=True, text=True, cwd=tmp_path, env=clean_environ(), check=True,
    )  # fmt: skip
    assert Path(location.stdout.strip()).is_relative_to(site)
    with running_server(python=str(python), server=tmp_path / "server.py", cwd=tmp_path) as server:
        with urllib.request.urlopen(f"{server.url}/") as page:
            assert b'data-server-url="oss/signature"' in page.read()
        with urllib.request.urlopen(f"{server.url}/oss/signature?filename=a.txt") as response:
            assert json.load(response)["method"] == "POST"
