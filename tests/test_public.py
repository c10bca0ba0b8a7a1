"""The names that `import oss_wsgi` gives, and that it gives them only when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

import oss_wsgi
from oss_wsgi import public


def test_each_public_name_is_there_and_listed() -> None:
    for name in public.__all__:
        assert getattr(oss_wsgi, name) is getattr(public, name)
    assert set(public.__all__) <= set(dir(oss_wsgi))
    assert oss_wsgi.__all__ == public.__all__


def test_a_star_gives_them_all() -> None:
    found: dict[str, object] = {}
    exec("from oss_wsgi import *", found)
    assert set(public.__all__) <= set(found)


def test_another_name_is_an_attribute_error_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'oss_wsgi' has no attribute 'nothing'"):
        oss_wsgi.nothing  # noqa: B018
    assert not hasattr(oss_wsgi, "Any_")
    with pytest.raises(ImportError):
        exec("from oss_wsgi import nothing")


def test_the_import_alone_reads_no_room() -> None:
    code = "import sys, oss_wsgi; print([name for name in sys.modules if name.startswith('oss_wsgi.')])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
