"""The two single files, built as docs/how-to/single-file.md says and run in an empty folder without the checkout."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from oss_wsgi.testing import multipart

from ..support.absent import skip_or_fail, skip_without_namespaces
from ..support.running_server import FREE_PORTS, RunningServer, clean_environ, serving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "single-file.md").read_text(encoding="utf-8")
#: The time of a commit, which a build takes for its own.
COMMIT = "1764547200"
PYZ = ROOT / "examples" / "single-file" / "pyz.py"
#: The Python below the test environment, without the packages of that environment.
BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")


def line_of(tool: str) -> list[str]:
    """Return the page's command with this beginning."""
    (command,) = re.findall(rf"^{tool}\b.*$", PAGE, re.MULTILINE)
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
    (extras,) = re.findall(r'^EXTRAS = "([\w,]+)"$', PYZ.read_text(encoding="utf-8"), re.MULTILINE)
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
        pytest.skip("PyInstaller needs a Python with a shared library, and this one was built without")
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.fixture(scope="module", params=["shiv", "pyinstaller"])
def bundle(request: pytest.FixtureRequest, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build one of the two single files, and return the command that runs it."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "dist").mkdir()
    site = str(next((installed / "lib").glob("python*/site-packages")))
    if request.param == "shiv":
        assert line_of("python examples") == ["python", "examples/single-file/pyz.py"]
        run([sys.executable, str(PYZ), "--site-packages", site, "--output", "dist/oss-wsgi.pyz"], folder)
        alone, command = folder / "alone", [BASE_PYTHON]
    else:
        tools = folder / "tools"
        ours = importlib.metadata.distribution("pyinstaller")
        for name in {"pyinstaller"} | needed(ours, set()):
            copy(name, tools)
        arguments = line_of("pyinstaller")[1:-1]
        script = str(installed / "bin" / "oss-wsgi")
        # By default PyInstaller's cache is in the home folder, and shared with other builds.
        environ = {"PYTHONPATH": str(tools), "PYINSTALLER_CONFIG_DIR": str(folder / "cache")}
        run([str(installed / "bin" / "python"), "-m", "PyInstaller", *arguments, script], folder, **environ)
        alone, command = folder / "alone", []
    (built,) = (folder / "dist").iterdir()
    alone.mkdir()
    return [*command, str(built.rename(alone / built.name))]


@pytest.fixture(scope="module")
def small_pyz(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build a .pyz without the extras, which is unpacked sooner, and return the command that runs it."""
    folder = tmp_path_factory.mktemp("small")
    whole = next((installed / "lib").glob("python*/site-packages"))
    for name in ("oss_wsgi", "local_oss", "oss_wsgi.egg-info"):
        shutil.copytree(whole / name, folder / "site" / name)
    for name in needed(importlib.metadata.Distribution.at(whole / "oss_wsgi.egg-info"), set()):
        copy(name, folder / "site")
    command = [sys.executable, str(PYZ), "--site-packages", str(folder / "site"), "--output", "oss-wsgi.pyz"]
    run(command, folder, SOURCE_DATE_EPOCH=COMMIT)
    return [BASE_PYTHON, str(folder / "oss-wsgi.pyz")]


def test_two_builds_of_the_pyz_at_two_times_and_places_are_the_same(small_pyz: list[str], tmp_path: Path) -> None:
    built = Path(small_pyz[-1])
    site = tmp_path / "elsewhere"
    shutil.copytree(built.parent / "site", site, copy_function=shutil.copyfile)
    for file in site.rglob("*"):
        os.utime(file, (10**9, 10**9))
        file.chmod(0o700)
    (site / "oss_wsgi.egg-info" / "direct_url.json").write_text('{"url": "file:///another/place"}')
    again = tmp_path / "oss-wsgi.pyz"
    run(
        [sys.executable, str(PYZ), "--site-packages", str(site), "--output", str(again)],
        tmp_path,
        SOURCE_DATE_EPOCH=COMMIT,
    )
    assert again.read_bytes() == built.read_bytes()


def test_the_pyz_leaves_out_what_the_page_does_not_need(bundle: list[str]) -> None:
    if not bundle[-1].endswith(".pyz"):
        pytest.skip("the binary has all of it")
    names = zipfile.ZipFile(bundle[-1]).namelist()
    assert [name for name in names if re.search(r"/PIL/|/pillow|/SelfTest/|/aiohttp/.*\.so$|\.pyi$", name)] == []
    assert "site-packages/aiohttp/client.py" in names


@pytest.fixture(scope="module")
def empty(bundle: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment with an empty home folder and without a Python on its PATH."""
    folder = tmp_path_factory.mktemp("empty")
    for name in ("home", "temporary", "here"):
        (folder / name).mkdir()
    return {"HOME": str(folder / "home"), "TMPDIR": str(folder / "temporary"), "PATH": str(folder / "here")}


@pytest.fixture(scope="module")
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
    assert get(f"{server.url}/link/{form['fields']['key']}") == b"hello"


class Confined:
    """Runs a bundle as another user, with a file system on which only some folders can be written."""

    def __init__(self, command: list[str], folder: Path) -> None:
        if shutil.which("bwrap") is None:
            skip_or_fail("bwrap")
        skip_without_namespaces()
        self.command = command
        self.folder = folder

    def run(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the bundle's `explain AccessDenied` in bwrap, with further options of bwrap."""
        everything = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-user", "--uid", "4711"]
        variables = [word for name, text in environ.items() for word in ("--setenv", name, text)]
        confinement = ["bwrap", *everything, *options, "--clearenv", "--setenv", "PATH", "/nowhere", *variables]
        return subprocess.run(
            [*confinement, *self.command, "explain", "AccessDenied"],
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=300,
        )

    def writable(self, name: str) -> list[str]:
        """Make a folder, and return its path and the options that let the bundle write it."""
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return ["--bind", str(path), str(path)]


@pytest.fixture
def confined_pyz(small_pyz: list[str], tmp_path: Path) -> Confined:
    return Confined(small_pyz, tmp_path)


@pytest.fixture
def confined(bundle: list[str], tmp_path: Path, request: pytest.FixtureRequest) -> Confined:
    is_pyz = bundle[-1].endswith(".pyz")
    return Confined(request.getfixturevalue("small_pyz") if is_pyz else bundle, tmp_path)


@pytest.mark.parametrize("home", ["/nonexistent", "/root", None], ids=["missing", "read-only", "unset"])
def test_a_bundle_starts_without_a_home_that_it_can_write(confined: Confined, home: str | None) -> None:
    environ = {"HOME": home} if home else {}
    process = confined.run(*confined.writable("tmp"), TMPDIR=str(confined.folder / "tmp"), **environ)
    assert process.returncode == 0, process.stderr
    assert "AccessDenied" in process.stdout
    assert process.stderr == ""


def test_a_bundle_that_cannot_unpack_says_so_without_a_traceback(confined: Confined) -> None:
    process = confined.run(HOME="/nonexistent")
    assert process.returncode != 0
    (sentence,) = process.stderr.splitlines()
    if confined.command[-1].endswith(".pyz"):
        assert process.returncode == 2
        assert sentence.startswith("oss-wsgi: cannot unpack into the cache folder /nonexistent/.cache/oss-wsgi (")
        assert sentence.endswith("Set SHIV_ROOT to a folder that user 4711 may write, with 60 MB free.")
    else:
        assert "Could not create temporary directory" in sentence
        assert "Could not create temporary directory" in PAGE


def test_the_pyz_prefers_shiv_root_then_the_cache_then_a_private_folder(confined_pyz: Confined) -> None:
    folder = confined_pyz.folder
    places = [confined_pyz.writable(name) for name in ("chosen", "home", "tmp")]
    environ = {"SHIV_ROOT": str(folder / "chosen"), "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    expected = ["chosen", "home/.cache/oss-wsgi", "tmp/oss-wsgi-4711"]
    for number, name in enumerate(("SHIV_ROOT", "HOME", "TMPDIR")):
        options = [word for place in places[number:] for word in place]
        process = confined_pyz.run(*options, **environ)
        assert process.returncode == 0, process.stderr
        assert [path for path in expected if list((folder / path).glob("*.pyz_*"))] == expected[: number + 1]
        environ.pop(name)
    assert (folder / "tmp" / "oss-wsgi-4711").stat().st_mode & 0o777 == 0o700


def test_the_pyz_says_that_shiv_root_cannot_be_written_and_starts(confined_pyz: Confined) -> None:
    process = confined_pyz.run(
        *confined_pyz.writable("tmp"), SHIV_ROOT="/usr", HOME="/root", TMPDIR=str(confined_pyz.folder / "tmp")
    )
    assert process.returncode == 0
    assert process.stderr.startswith("oss-wsgi: cannot unpack into SHIV_ROOT /usr (Read-only file system), and uses ")


def test_the_pyz_uses_what_is_unpacked_already_where_it_cannot_write(confined_pyz: Confined) -> None:
    root = confined_pyz.folder / "chosen"
    assert confined_pyz.run(*confined_pyz.writable("chosen"), SHIV_ROOT=str(root)).returncode == 0
    process = confined_pyz.run(SHIV_ROOT=str(root))
    assert (process.returncode, process.stderr) == (0, "")


def test_the_pyz_takes_the_next_folder_when_a_disk_is_full(confined_pyz: Confined) -> None:
    home = str(confined_pyz.folder / "home")
    full = [*confined_pyz.writable("home"), "--size", str(2**20), "--tmpfs", home]
    process = confined_pyz.run(*full, HOME=home, TMPDIR="/nonexistent")
    assert process.returncode == 2
    assert "/home/.cache/oss-wsgi (No space left on device)" in process.stderr
    process = confined_pyz.run(*full, *confined_pyz.writable("tmp"), HOME=home, TMPDIR=str(confined_pyz.folder / "tmp"))
    assert (process.returncode, process.stderr) == (0, "")


def test_the_pyz_does_not_run_what_somebody_else_put_into_the_temporary_folder(confined_pyz: Confined) -> None:
    temporary = confined_pyz.folder / "tmp"
    options = confined_pyz.writable("tmp")
    squatted = temporary / "oss-wsgi-4711"
    squatted.mkdir()
    squatted.chmod(0o777)
    assert confined_pyz.run(*options, HOME="/root", TMPDIR=str(temporary)).returncode == 0
    assert list(squatted.iterdir()) == []
    assert list(temporary.iterdir()) == [squatted], "a folder for once is removed"


def test_an_old_python_is_told_which_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("unpack", ROOT / "examples" / "single-file" / "unpack.py")
    assert spec is not None
    assert spec.loader is not None
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    monkeypatch.setattr(unpack, "LOWEST", (4, 0))
    with pytest.raises(SystemExit) as stop:
        unpack.start()
    assert stop.value.code == 2


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
