"""The public names of `local_oss`, each imported when it is first used."""

import subprocess
import sys

import pytest

import local_oss


@pytest.mark.parametrize("name", local_oss.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(local_oss, name).__name__ == name


def test_other_names_are_an_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'local_oss' has no attribute 'Bucket'"):
        local_oss.Bucket  # noqa: B018


@pytest.mark.slow
def test_importing_the_package_imports_no_module():
    code = "import sys, local_oss; print([name for name in sys.modules if name.startswith('local_oss.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
