"""Observers, which are called for signed forms, refusals and responses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .facts import facts_of
from .questions import WouldWaitError
from .responses import ClosingBody

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ..signing.grant import Grant

    #: ``(grant, facts)``
    OnIssued = Callable[[Grant, Mapping[str, Any]], object]
    #: ``(reason, status, facts)``
    OnRefused = Callable[[str, int, Mapping[str, Any]], object]
    #: ``(endpoint, status, seconds, reason)``
    OnAnswered = Callable[[str, int, float, str | None], object]
    #: ``(method, path) -> name of the endpoint``
    Step = Callable[[str, str], str | None]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Observers:
    """Calls observers in order. An exception in one is logged; it affects neither the others nor the response.

    ``clock`` returns seconds; only differences are used. It is called only if there is an ``on_answered``.
    """

    clock: Callable[[], float]
    on_issued: Sequence[OnIssued] = ()
    on_refused: Sequence[OnRefused] = ()
    on_answered: Sequence[OnAnswered] = ()

    def issued(self, grant: Grant, facts: Mapping[str, Any]) -> None:
        """Report a signed form or PUT, before the response is sent."""
        for observer in self.on_issued:
            _call("on_issued", observer, grant, dict(facts))

    def refused(self, reason: str, status: int, facts: Mapping[str, Any]) -> None:
        """Report a refused request, after its response has begun."""
        for observer in self.on_refused:
            _call("on_refused", observer, reason, status, dict(facts))

    def answered(self, endpoint: str, status: int, seconds: float, reason: str | None) -> None:
        """Report a response; ``reason`` is that of a refusal, or ``repeated`` for a stored response."""
        for observer in self.on_answered:
            _call("on_answered", observer, endpoint, status, seconds, reason)


def observed(app: WSGIApplication, name_of: Step, observers: Observers) -> WSGIApplication:
    """Return an application that answers as ``app`` and calls the observers; without a name only for refusals."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        name = name_of(environ["REQUEST_METHOD"], environ.get("PATH_INFO") or "")
        timed = bool(observers.on_answered) and name is not None
        started = observers.clock() if timed else 0.0
        facts = facts_of(environ)
        status = 0

        def start(text: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = int(text[:3])
            return start_response(text, headers, exc_info)

        def observe() -> None:
            if facts.reason is not None and facts.refused is not None:
                observers.refused(facts.reason, facts.refused, facts.fields())
            if timed and name is not None:
                observers.answered(name, status, observers.clock() - started, facts.reason)

        try:
            response = app(environ, start)
        except WouldWaitError:
            raise
        except BaseException:
            observe()
            raise
        if not status:  # the response begins when it is iterated
            return ClosingBody(response, observe)
        observe()
        return response

    return application


def _call(name: str, observer: Callable[..., object], *arguments: Any) -> None:
    try:
        observer(*arguments)
    except BaseException:  # SystemExit too: `endpoints.callback` says why
        log.exception("%s raised; the response is unchanged", name)
