"""What a test makes several of, closed when the test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, TypeVar

T = TypeVar("T")


def making(kind: Callable[..., T]) -> Iterator[Callable[..., T]]:
    """Yield a function that makes objects which have a ``close()``; close them afterwards. A fixture yields from it."""
    with ExitStack() as stack:

        def make(*arguments: Any, **options: Any) -> T:
            made: Any = kind(*arguments, **options)
            stack.enter_context(closing(made))
            return made  # type: ignore[no-any-return]

        yield make
