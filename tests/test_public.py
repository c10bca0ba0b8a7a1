"""The public names of `oss_wsgi`, each loaded only when it is first used."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

import oss_wsgi


def test_each_public_name_is_there_and_listed() -> None:
    for name in oss_wsgi.__all__:
        assert getattr(oss_wsgi, name).__name__ == name
    assert set(oss_wsgi.__all__) <= set(dir(oss_wsgi))


def test_the_protocols_of_what_a_program_may_bring_itself_are_public() -> None:
    assert {"BucketClient", "CredentialsProvider", "Ledger"} <= set(oss_wsgi.__all__)


def test_type_checkers_see_the_same_names_in_the_same_modules() -> None:
    source = ast.parse(Path(oss_wsgi.__file__).read_text(encoding="utf-8"))
    (checking,) = (node for node in source.body if isinstance(node, ast.If))
    imported = {
        alias.asname: getattr(importlib.import_module(f".{node.module}", "oss_wsgi"), alias.name)
        for node in checking.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {name: getattr(oss_wsgi, name) for name in oss_wsgi.__all__}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'oss_wsgi' has no attribute 'nothing'"):
        oss_wsgi.nothing  # noqa: B018
    with pytest.raises(ImportError):
        exec("from oss_wsgi import nothing")


@pytest.mark.slow
def test_importing_the_package_loads_no_module_of_it() -> None:
    code = "import sys, oss_wsgi; print([name for name in sys.modules if name.startswith('oss_wsgi.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_the_version_is_that_of_the_distribution() -> None:
    assert oss_wsgi.__version__ == importlib.metadata.version("oss-wsgi")
