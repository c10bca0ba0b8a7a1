"""A site, databases, and Django's settings, which its modules need when they are imported."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..ledger.conftest import mariadb, postgresql
from . import project

if TYPE_CHECKING:
    from .site import Site

__all__ = ["mariadb", "postgresql"]

project.configure()


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    from .site import Site

    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Site:
            return stack.enter_context(contextlib.closing(Site(tmp_path, **options)))

        yield make


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """Return a site where eric is logged in."""
    site = make_site()
    site.log_in()
    return site
