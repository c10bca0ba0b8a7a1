"""Fixtures: applications whose uploads are reported or lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ..support.closing import closing_fixture
from .site import Site

make = closing_fixture(Site)


@pytest.fixture
def site(make: Callable[..., Site]) -> Site:
    return make()
