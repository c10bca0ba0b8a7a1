"""Tells the application's observers what happened; whatever they do, the answer stays what it is."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .environ import header, request_id

if TYPE_CHECKING:
    from ..signing.grant import Grant
    #: ``(grant, facts)``
    OnIssued = Callable[[Grant, Mapping[str, Any]], object]
    #: ``(reason, status, facts)``
    OnRefused = Callable[[str, int, Mapping[str, Any]], object]
    #: ``(endpoint, status, seconds, reason)``
    OnAnswered = Callable[[str, int, float, str | None], object]
    from _typeshed.wsgi import WSGIEnvironment


log = logging.getLogger(__name__)


class Observers:
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


#: Where the facts of a request stand in its environ.
FACTS_KEY = "oss_wsgi.facts"

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """Facts that the rooms add as they learn them; what nobody asks for is not worked out.

    ``user`` and ``object`` are what our own grant or a verified report says, never what a stranger claims.
    """

    __slots__ = ("_id", "events", "object", "reason", "user")

    def __init__(self) -> None:
        self._id: str | None = None
        self.events: Observers | None = None
        self.user: str | None = None
        self.object: str | None = None
        self.reason: str | None = None

    def id(self, environ: WSGIEnvironment) -> str:
        """Give the request's ID: that of ``X-Request-ID``, if it is well-formed, or one made here."""
        if self._id is None:
            given = header(environ, "HTTP_X_REQUEST_ID")
            self._id = given if _WELL_FORMED.fullmatch(given) else secrets.token_hex(8)
        return self._id

    def fields(self, environ: WSGIEnvironment) -> dict[str, Any]:
        """Give what is known, by the names under which a log shows it."""
        oss_id = request_id(environ)
        found = {
            "request_id": self.id(environ),
            "oss_request_id": None if oss_id == "-" else oss_id,
            "address": header(environ, "REMOTE_ADDR"),
            "method": header(environ, "REQUEST_METHOD"),
            "path": header(environ, "SCRIPT_NAME") + header(environ, "PATH_INFO"),
            "reason": self.reason,
            "user": self.user,
            "object": self.object,
        }
        return {name: value for name, value in found.items() if value}


def context_of(environ: WSGIEnvironment) -> RequestContext:
    """Give the facts of a request, and begin to collect them where nobody has."""
    facts = environ.get(FACTS_KEY)
    if not isinstance(facts, RequestContext):
        facts = environ[FACTS_KEY] = RequestContext()
    return facts
