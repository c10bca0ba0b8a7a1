"""A site for each test, and a skip where a server is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from oss_wsgi.testing import CallbackSigner

from ..support.absent import skip_or_fail
from .site import Site
from .starters import missing


@pytest.fixture(scope="session")
def signer() -> CallbackSigner:
    return CallbackSigner()


@pytest.fixture
def site(signer: CallbackSigner) -> Iterator[Site]:
    site = Site(signer)
    yield site
    site.close()


@pytest.fixture
def require() -> Callable[..., None]:
    """Return a function that skips the test if something is missing, and fails in CI."""

    def require(*needs: str) -> None:
        need = missing(*needs)
        if need is not None:
            skip_or_fail(need)

    return require
