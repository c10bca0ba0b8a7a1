"""Fixtures for the tests of those who use us; pytest finds them by itself where oss_wsgi is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Everyone's pytest reads this file, so it imports nothing else before a fixture is asked for.
if TYPE_CHECKING:
    from .local import LocalOSSServer
    from .testing import Uploaded
    from .testing.local_oss import InProcessOSS


@pytest.fixture
def local_oss(tmp_path: Path) -> Iterator[InProcessOSS]:
    """A local OSS in this process, without a socket; its objects are gone after the test."""
    from .testing.local_oss import InProcessOSS

    with closing(InProcessOSS(directory=tmp_path / "local-oss")) as oss:
        yield oss


@pytest.fixture
def local_oss_server(tmp_path: Path) -> Iterator[LocalOSSServer]:
    """A local OSS on a free port of 127.0.0.1, at ``local_oss_server.url``; it calls back over HTTP."""
    from .local import CORSRule, LocalOSS, LocalOSSServer

    rules = [CORSRule(["*"], allowed_methods=("GET", "HEAD", "POST", "PUT", "DELETE"))]
    with LocalOSS(directory=tmp_path / "local-oss-server", cors_rules=rules) as oss:
        server = LocalOSSServer(oss)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def oss_environ(local_oss: InProcessOSS, tmp_path: Path) -> dict[str, str]:
    """The ``OSS_...`` variables under which an application of yours signs for ``local_oss`` and believes it."""
    from .testing.local_oss import environ_for

    return environ_for(local_oss, tmp_path)


@pytest.fixture
def oss_upload(local_oss: InProcessOSS) -> Callable[..., Uploaded]:
    """``oss_upload(app, filename, data, **grant)``: an upload through any application, with ``local_oss``.

    Gives what the application heard and what the browser was answered: ``upload`` and ``answer``.
    """
    from .testing import oss_upload

    return partial(oss_upload, oss=local_oss)
