"""The parts of the reference that docs/generate.py writes are those of the code."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import oss_wsgi
from local_oss import LocalOSS
from local_oss.command_line import parser as local_parser
from local_oss.operations import routes
from oss_wsgi.settings import TABLE, Settings

from ..support.scripts import load
from .blocks import ROOT

REFERENCE = ROOT / "docs" / "reference"


def script_of_docs(name: str) -> ModuleType:
    before = list(sys.path)
    module = load(ROOT / "docs" / f"{name}.py")
    sys.path[:] = before
    return module


generate = script_of_docs("generate")


@pytest.mark.parametrize("name", generate.PAGES_WRITTEN)
def test_the_page_is_what_the_code_says(name: str) -> None:
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    part = generate.PAGES_WRITTEN[name]()
    assert part.count("\n") >= 5
    assert page == generate.with_part(page, part), f"run `python docs/generate.py`: {name} is out of date"


def test_the_defaults_shown_are_the_defaults() -> None:
    settings = Settings()
    for row in TABLE:
        if row.default is not None and row.default != ():
            shown = {"on": True, "off": False}.get(row.shown_default, row.shown_default)
            assert str(shown) == str(getattr(settings, row.name))


def test_the_python_reference_has_every_public_name() -> None:
    page = (REFERENCE / "python.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"autoclass:: oss_wsgi\.(\w+)$", page, re.MULTILINE))
    assert shown | {"OSSWSGIError"} == set(oss_wsgi.__all__)


def test_the_python_reference_has_every_argument_of_direct_upload_and_no_other() -> None:
    parameters = inspect.signature(oss_wsgi.DirectUpload).parameters
    assert list(generate.meanings_of(oss_wsgi.DirectUpload, "param")) == list(parameters)
    for language in ("", "zh-CN/"):
        page = (ROOT / "docs" / language / "reference" / "python.md").read_text(encoding="utf-8")
        part = page.partition("### `DirectUpload`")[2].partition("\n### ")[0]
        assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == list(parameters)


def test_the_choices_of_the_local_oss_are_its_arguments_and_options() -> None:
    page = (REFERENCE / "local-oss.md").read_text(encoding="utf-8")
    options = {name for action in local_parser()._actions for name in action.option_strings}
    assert set(re.findall(r"--[a-z][a-z0-9-]+", page)) == options - {"-h", "--help"}
    assert set(re.findall(r"\| `(\w+)=", page)) <= inspect.signature(LocalOSS).parameters.keys()


def test_the_page_of_the_local_oss_has_each_of_its_operations_and_no_other() -> None:
    page = (REFERENCE / "local-oss.md").read_text(encoding="utf-8")
    rows = page.partition("## Operations\n")[2].partition("\n## ")[0]
    shown = {name for row in re.findall(r"^\| ([^|]+) \|", rows, re.MULTILINE) for name in re.findall(r"[A-Z]\w+", row)}
    names = {operation.name for table in routes.TABLE.values() for operation in table.values()}
    assert shown == names - {"PostBucketLifecycle"} | {"AssumeRole"}
    assert "PostBucketLifecycle" in rows


def test_each_code_of_the_reasons_has_an_anchor_of_its_own() -> None:
    for name in ("docs/reference", "docs/zh-CN/reference"):
        page = (ROOT / name / "reasons.md").read_text(encoding="utf-8")
        codes = re.findall(r"^\| `([^`]+)` \| ", page, re.MULTILINE)
        assert len(codes) == len(set(codes)) > 250
        assert re.findall(r'<a id="([^"]+)"></a>', page) == codes


def test_a_fix_of_many_codes_stands_once() -> None:
    page = (REFERENCE / "reasons.md").read_text(encoding="utf-8")
    for kind in ("reason", "outcome", "code", "ec"):
        heading = f"## {generate.heading_of(kind, 'en')}\n"
        part = page.partition(heading)[2].partition("\n## ")[0]
        fixes = re.findall(r"^\| `[^`]+` \| .* \| (.+) \|$", part, re.MULTILINE)
        assert fixes and max(map(fixes.count, fixes)) < generate.MANY
        assert not {fix for fix in fixes if f" {fix}\n\n| code" in part}


def test_the_options_of_the_local_oss_stand_once() -> None:
    own = {name for action in local_parser()._actions for name in action.option_strings} - {"-h", "--help"}
    commands = (REFERENCE / "command-line.md").read_text(encoding="utf-8")
    part = commands.partition("## `oss-wsgi local`\n")[2].partition("\n## ")[0]
    assert "local-oss.md" in part
    assert not re.findall(r"^\| `(--[a-z-]+)", part, re.MULTILINE)
    page = (REFERENCE / "local-oss.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(--[a-z0-9-]+)", page, re.MULTILINE)) == own


def test_the_environ_keys_are_those_of_the_code() -> None:
    page = (REFERENCE / "environ.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(oss_wsgi.__file__).parent.rglob("*.py"))
    keys = set(re.findall(r'^[A-Z_]*KEY[A-Z_]* *(?::[^=]+)?= "(oss_wsgi\.\w+)"', sources, re.MULTILINE))
    assert set(re.findall(r"^\| `(oss_wsgi\.\w+)`", page, re.MULTILINE)) >= keys
    assert all(key in sources for key in re.findall(r"^\| `(oss_wsgi\.\w+)`", page, re.MULTILINE))


def test_the_metrics_page_cuts_no_word_of_the_docstring() -> None:
    page = (REFERENCE / "metrics.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\w+", page))
    listed = (oss_wsgi.Metrics.__doc__ or "").split("\n    ==")[1:-1]
    assert set(re.findall(r"\w+", "".join(listed))) <= shown
    assert "| step, outcome |" in page


def test_the_events_of_the_module_are_those_of_its_code() -> None:
    page = (REFERENCE / "events.md").read_text(encoding="utf-8")
    code = "".join((ROOT / "static" / name).read_text(encoding="utf-8") for name in ("upload.js", "input.js"))
    emitted = set(re.findall(r'#emit\("(\w+)"', code)) | {f"oss:{name}" for name in re.findall(r'tell\("(\w+)"', code)}
    rows = {
        name for row in re.findall(r"^\| ((?:`[\w:]+`(?:, )?)+) \|", page, re.MULTILINE) for name in row.split(", ")
    }
    assert {f"`{name}`" for name in emitted} <= rows
    for state in ("stored", "untold", "failed", "cancelled"):
        assert f"`{state}`" in rows


@pytest.mark.parametrize("kind", [oss_wsgi.Grant, oss_wsgi.Upload])
def test_the_docstring_explains_each_attribute_once(kind: type) -> None:
    names = re.findall(r":ivar (\w+):", kind.__doc__ or "")
    assert names == [field.name for field in dataclasses.fields(kind)]
