"""The README matches the code: its examples run, its commands exist, its list of settings is the table."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import webtest
from paste.deploy import loadapp

from oss_wsgi.local import LocalOSS
from oss_wsgi.local.command_line import parser
from oss_wsgi.settings import TABLE, Settings
from oss_wsgi.testing import CallbackSigner

from .absent import skip_or_fail

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
FIRST_PART = README.partition("\n## The pieces")[0]
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the first block with the variables that the README exports, and return its names."""
    for row in TABLE:
        monkeypatch.delenv(row.variable, raising=False)
    for name, value in re.findall(r"(OSS_\w+)=(\S+)", "\n".join(re.findall(r"export (.*)", FIRST_PART))):
        monkeypatch.setenv(name, value)
    names: dict[str, Any] = {}
    exec(BLOCKS[0], names)
    return names


def test_the_wrapped_application_signs_and_forwards(namespace: dict[str, Any]) -> None:
    client = webtest.TestApp(namespace["application"])
    assert client.get("/").text == "hello from 2005"
    assert client.get("/oss/signature", expect_errors=True).status_int == 403
    form = client.get("/oss/signature?filename=cat.png", extra_environ={"REMOTE_USER": "eric"}).json
    assert form["host"] == "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
    assert form["fields"]["key"].startswith("users/eric/")


@pytest.mark.slow
def test_make_server_serves_your_own_application_as_shown(namespace: dict[str, Any]) -> None:
    (block,) = re.findall(r"^    from oss_wsgi.serving import make_server\n\n(?:    .*\n)+", README, re.MULTILINE)
    lines = textwrap.dedent(block).replace("8080", "0").rstrip().removesuffix(".run()")
    exec(lines.replace("make_server(app", "server = make_server(app"), {"socket": socket, **namespace}, namespace)
    namespace["server"].task_dispatcher.shutdown()
    namespace["server"].close()
    namespace["listener"].close()


def test_the_pieces_work_together_as_shown(namespace: dict[str, Any]) -> None:
    exec(BLOCKS[1], namespace)
    client = webtest.TestApp(namespace["application"])
    assert client.get("/").text == "hello from 2005"
    body = b"bucket=examplebucket"
    headers = CallbackSigner().headers("/hooks/oss", body)
    assert client.post("/hooks/oss", body, headers=headers, expect_errors=True).status_int == 403


@pytest.fixture
def project(tmp_path: Path, namespace: dict[str, Any]) -> Path:
    """Return the folder of a project whose application is the first block; its variables are set."""
    (tmp_path / "yourapp.py").write_text(BLOCKS[0], encoding="utf-8")
    return tmp_path


def run(*command: str, cwd: Path) -> str:
    """Run a command and return its output."""
    process = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


@pytest.mark.slow
def test_the_pytest_example_passes(project: Path) -> None:
    (project / "test_uploads.py").write_text(BLOCKS[2], encoding="utf-8")
    assert "2 passed" in run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)


@pytest.mark.slow
def test_the_unittest_example_passes(project: Path) -> None:
    (project / "test_uploads.py").write_text(BLOCKS[3], encoding="utf-8")
    assert "Ran 1 test" in run(sys.executable, "-m", "unittest", "test_uploads", cwd=project)


@pytest.mark.slow
def test_the_node_example_runs_against_the_command(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    (command,) = re.findall(r"^    (python -m oss_wsgi.local .*?[^\\])$", README, re.MULTILINE | re.DOTALL)
    arguments = shlex.split(command.replace("\\\n", " ").replace("127.0.0.1:8081", "127.0.0.1:0"))[1:]
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        (url,) = re.findall(r"http://127\.0\.0\.1:[0-9]+(?=,)", process.stdout.readline())
        try:
            block = re.findall(r"```js\n(.*?)```", README, re.DOTALL)[1].replace("http://127.0.0.1:8081", url)
            (tmp_path / "upload.mjs").write_text(block, encoding="utf-8")
            assert run(node, "upload.mjs", cwd=tmp_path) == "204 ...\n"
        finally:
            process.terminate()
            process.communicate()


def test_the_section_of_the_local_oss_lists_all_its_options() -> None:
    (section,) = re.findall(r"^## The local OSS\n(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    options = {name for action in parser()._actions for name in action.option_strings}
    assert set(re.findall(r"--[a-z][a-z-]+", section)) == options - {"-h", "--help"}
    assert set(re.findall(r"\| `(\w+)=", section)) <= inspect.signature(LocalOSS).parameters.keys()


@pytest.mark.slow
def test_doctor_works_offline_as_shown(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        skip_or_fail("curl")
    (block,) = re.findall(r"works offline too.*?\n\n(    .*?)\n\n", README, re.DOTALL)
    for port in ("8080", "8081"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            block = block.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free.getsockname()[1]}")
    page, local = re.findall(r"127\.0\.0\.1:[0-9]+", block)[:2]
    script = block.replace("oss-wsgi serve", f"oss-wsgi serve --listen {page}")
    script = script.replace("oss-wsgi local", f"oss-wsgi local --listen {local}")
    script = script.replace("oss-wsgi ", f"{sys.executable} -m oss_wsgi ")
    trap = "set -e; trap 'kill $(jobs -p)' EXIT\n"
    output = run("bash", "-c", trap + script, cwd=tmp_path)
    assert "green  write" in output
    assert not re.search("^red", output, re.MULTILINE)


def test_the_ini_file_makes_the_same_application(
    namespace: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ini,) = re.findall(r"```ini\n(.*?)```", README, re.DOTALL)
    (tmp_path / "readme.ini").write_text(ini)
    module = ModuleType("yourapp")
    vars(module).update(namespace, make_app=lambda global_conf: namespace["legacy_app"])
    monkeypatch.setitem(sys.modules, "yourapp", module)
    client = webtest.TestApp(loadapp(f"config:{tmp_path}/readme.ini"))
    assert client.get("/").text == "hello from 2005"
    assert client.get("/oss/signature", expect_errors=True).status_int == 403
    form = client.get("/oss/signature?filename=cat.png", extra_environ={"REMOTE_USER": "eric"}).json
    assert form["fields"]["key"].startswith("users/eric/")


def test_there_are_no_other_blocks_of_code() -> None:
    assert re.findall(r"```(\w+)\n", README) == ["python", "js", "ini", "python", "python", "python", "js"]


@pytest.mark.parametrize(
    "command",
    [
        "python3 -m venv .venv && .venv/bin/pip install -e '.[local]' && .venv/bin/python server.py",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
    ],
)
def test_each_set_up_is_one_line(command: str) -> None:
    assert command in [line.strip() for line in README.splitlines()]


def test_the_list_of_settings_matches_the_table() -> None:
    rows = re.findall(r"^\| `(OSS_\w+)` \| (?:`(.*?)`)? \| (.*) \|$", README, re.MULTILINE)
    assert rows == [(row.variable, row.shown_default, row.help) for row in TABLE]


def test_the_defaults_shown_are_the_defaults() -> None:
    settings = Settings()
    for row in TABLE:
        if row.default is not None and row.default != ():
            shown = {"on": True, "off": False}.get(row.shown_default, row.shown_default)
            assert str(shown) == str(getattr(settings, row.name))


def test_every_public_name_has_a_docstring() -> None:
    import oss_wsgi

    assert [name for name in oss_wsgi.__all__ if not getattr(oss_wsgi, name).__doc__] == []
    assert sorted(oss_wsgi.__all__) == list(oss_wsgi.__all__)
