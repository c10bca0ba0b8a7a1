"""A site for each test, and what a machine without the servers does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from oss_wsgi.testing import CallbackSigner

from ..absent import skip_or_fail
from .site import Site
from .starters import missing


@pytest.fixture(scope="session")
def signer() -> CallbackSigner:
    return CallbackSigner()


@pytest.fixture
def site(signer: CallbackSigner) -> Iterator[Site]:
    made = Site(signer)
    yield made
    made.close()


@pytest.fixture
def require() -> Callable[..., None]:
    """Skip by name where something is missing; in CI that is a failure."""

    def require(*needs: str) -> None:
        lacking = missing(*needs)
        if lacking is not None:
            skip_or_fail(lacking)

    return require
