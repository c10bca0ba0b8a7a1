"""Fixtures: applications whose uploads are reported or lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .site import Site


@pytest.fixture
def make() -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(*arguments: Any, **options: Any) -> Site:
        sites.append(Site(*arguments, **options))
        return sites[-1]

    yield make
    for site in sites:
        site.client.close()


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make()
