"""The pytest fixtures of oss_wsgi; pytest finds them if the package is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Every pytest run in this environment imports this file, so it imports the package only in the fixtures.
if TYPE_CHECKING:
    from local_oss import LocalOSSServer

    from .testing import Uploaded
    from .testing.local_oss import InProcessOSS


@pytest.fixture
def local_oss(tmp_path: Path) -> Iterator[InProcessOSS]:
    """A local OSS in this process, without a socket; its objects are removed after the test."""
    from .testing.local_oss import InProcessOSS

    with closing(InProcessOSS(directory=tmp_path / "local-oss")) as oss:
        yield oss


@pytest.fixture
def local_oss_server(tmp_path: Path) -> Iterator[LocalOSSServer]:
    """A local OSS on a free port of 127.0.0.1, at ``local_oss_server.url``; it sends callbacks over HTTP."""
    from local_oss import CORSRule, LocalOSS, LocalOSSServer

    rules = [CORSRule(["*"], allowed_methods=("GET", "HEAD", "POST", "PUT", "DELETE"))]
    with LocalOSS(directory=tmp_path / "local-oss-server", cors_rules=rules) as oss:
        server = LocalOSSServer(oss)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def oss_environ(local_oss: InProcessOSS, tmp_path: Path) -> dict[str, str]:
    """The ``OSS_...`` variables with which your application signs for ``local_oss`` and trusts its callbacks."""
    from .testing.local_oss import environ_for

    return environ_for(local_oss, tmp_path)


@pytest.fixture
def oss_upload(local_oss: InProcessOSS) -> Callable[..., Uploaded]:
    """``oss_upload(app, filename, data, **grant)`` uploads through any application to ``local_oss``.

    It returns ``upload``, the Upload that the application got, and ``answer``, the response that the browser gets.
    """
    from .testing import oss_upload

    return partial(oss_upload, oss=local_oss)
