"""The public names of `oss_wsgi.local`, each imported when it is first used."""

import subprocess
import sys

import pytest

from oss_wsgi import local


@pytest.mark.parametrize("name", local.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(local, name).__name__ == name


def test_other_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'oss_wsgi\.local' has no attribute 'Bucket'"):
        local.Bucket  # noqa: B018


@pytest.mark.slow
def test_importing_the_package_imports_no_module():
    code = "import sys, oss_wsgi.local; print([name for name in sys.modules if name.startswith('oss_wsgi.local.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
