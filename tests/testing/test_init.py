"""What `oss_wsgi.testing` imports at once, and what it imports on demand."""

from __future__ import annotations

import subprocess
import sys

import pytest

from oss_wsgi import testing


@pytest.mark.slow
def test_nothing_is_imported_that_a_test_may_not_need() -> None:
    code = """if True:
        import sys, oss_wsgi.testing
        print([name for name in ("pytest", "local_oss.application", "fastcrc") if name in sys.modules])
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'oss_wsgi\.testing' has no attribute 'contract'"):
        testing.contract  # noqa: B018
