"""Tells the application's observers what happened; whatever they do, the answer stays what it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..signing.grant import Grant

    #: ``(grant, facts)``
    OnIssued = Callable[[Grant, Mapping[str, Any]], object]
    #: ``(reason, status, facts)``
    OnRefused = Callable[[str, int, Mapping[str, Any]], object]
    #: ``(endpoint, status, seconds, reason)``
    OnAnswered = Callable[[str, int, float, str | None], object]

log = logging.getLogger(__name__)


class Events:
    """Calls observers in order; one that raises is logged, and the others are called all the same.

    ``clock`` gives seconds, of which differences count; it is asked where there is somebody to hear of ``answered``.
    """

    def __init__(
        self,
        *,
        on_issued: Sequence[OnIssued] = (),
        on_refused: Sequence[OnRefused] = (),
        on_answered: Sequence[OnAnswered] = (),
        clock: Callable[[], float],
    ) -> None:
        self._on_issued = tuple(on_issued)
        self._on_refused = tuple(on_refused)
        self._on_answered = tuple(on_answered)
        self.clock = clock

    def issued(self, grant: Grant, facts: Mapping[str, Any]) -> None:
        """Tell of a form that is signed and about to be given away."""
        for observer in self._on_issued:
            _tell("on_issued", observer, grant, dict(facts))

    def refused(self, reason: str, status: int, facts: Mapping[str, Any]) -> None:
        """Tell of a request that is refused."""
        for observer in self._on_refused:
            _tell("on_refused", observer, reason, status, dict(facts))

    def answered(self, endpoint: str, status: int, seconds: float, reason: str | None) -> None:
        """Tell of an answer; ``reason`` says why, where it is a refusal or one that was kept."""
        for observer in self._on_answered:
            _tell("on_answered", observer, endpoint, status, seconds, reason)

    @property
    def times(self) -> bool:
        """Tell whether somebody wants to hear of ``answered``."""
        return bool(self._on_answered)


def _tell(name: str, observer: Callable[..., object], *arguments: Any) -> None:
    try:
        observer(*arguments)
    except Exception:
        log.exception("%s raised; the answer stays what it was", name)
