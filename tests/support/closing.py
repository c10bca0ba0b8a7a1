"""A fixture for what has a ``close``, such as a site or a client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest


def closing_fixture(kind: Callable[..., Any], **defaults: Any) -> Any:
    """Return a fixture that is a function: it calls ``kind``, and what it returned is closed after the test.

    make = closing_fixture(Site)
    """

    @pytest.fixture
    def make() -> Iterator[Callable[..., Any]]:
        with contextlib.ExitStack() as stack:
            yield lambda *arguments, **options: stack.enter_context(
                contextlib.closing(kind(*arguments, **{**defaults, **options}))
            )

    return make
