"""Observers, called for signed forms, refusals and responses, and the facts that observers and the log get."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..callback.upload import UPLOAD_KEY, Upload
from .environ import header, request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from ..signing.grant import Grant

    #: ``(grant, facts)``
    OnIssued = Callable[[Grant, Mapping[str, Any]], object]
    #: ``(reason, status, facts)``
    OnRefused = Callable[[str, int, Mapping[str, Any]], object]
    #: ``(endpoint, status, seconds, reason)``
    OnAnswered = Callable[[str, int, float, str | None], object]

#: Environ key of the request's facts.
FACTS_KEY = "oss_wsgi.facts"

# The ID of an upload in parts has at least 300 characters.
_MIN_SEALED = 100
_SEALED = re.compile(rf"/[A-Za-z0-9_-]{{{_MIN_SEALED},}}(?=/|\Z)")
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

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


def _call(name: str, observer: Callable[..., object], *arguments: Any) -> None:
    try:
        observer(*arguments)
    except BaseException:  # SystemExit too: `endpoints.callback` says why
        log.exception("%s raised; the response is unchanged", name)


class RequestFacts:
    """Facts about one request, added as they become known; made only if the log or an observer uses them.

    ``user`` and ``object`` come from our own grant or a verified report, never from the client's own claims. ``reason``
    says why a request was refused, or that it was ``repeated``; ``refused`` is a refusal's status. ``address`` is the
    client's, if the environ is one for a handler and leaves it out. ``may_wait`` is False for a browser's request,
    which must not wait for other requests.
    """

    __slots__ = ("_id", "address", "may_wait", "object", "reason", "refused", "user")

    def __init__(self, user: str | None = None, object: str | None = None) -> None:  # noqa: A002 - the facts' name
        self._id: str | None = None
        self.user = user
        self.object = object
        self.reason: str | None = None
        self.refused: int | None = None
        self.address = ""
        self.may_wait = True

    def id(self, environ: WSGIEnvironment) -> str:
        """Return the request's ID: a well-formed ``X-Request-ID``, or else a random one that stays the same."""
        if self._id is None:
            sent = header(environ, "HTTP_X_REQUEST_ID")
            self._id = sent if _WELL_FORMED_ID.fullmatch(sent) else secrets.token_hex(8)
        return self._id

    def fields(self, environ: WSGIEnvironment) -> dict[str, Any]:
        """Return the known facts, under the names that a log shows."""
        oss_id = request_id(environ)
        fields = {
            "request_id": self.id(environ),
            "oss_request_id": None if oss_id == "-" else oss_id,
            "address": header(environ, "REMOTE_ADDR") or self.address,
            "method": header(environ, "REQUEST_METHOD"),
            "path": shown_path(environ),
            "reason": self.reason,
            "user": self.user,
            "object": self.object,
        }
        return {name: value for name, value in fields.items() if value}


def shown_path(environ: WSGIEnvironment) -> str:
    """Return the path of a request for a log, without the ID of an upload in parts, which is a secret ticket."""
    path = header(environ, "SCRIPT_NAME") + header(environ, "PATH_INFO")
    return _SEALED.sub("/***", path) if len(path) > _MIN_SEALED else path


def facts_of(environ: WSGIEnvironment) -> RequestFacts:
    """Return the facts of a request; if there are none yet, make them from the verified upload, if any.

    Copies of the environ share the facts. On hot paths, call this only if ``FACTS_KEY`` is in the environ.
    """
    facts = environ.get(FACTS_KEY)
    if not isinstance(facts, RequestFacts):
        upload = environ.get(UPLOAD_KEY)
        facts = RequestFacts(upload.user, upload.object) if isinstance(upload, Upload) else RequestFacts()
        environ[FACTS_KEY] = facts
    return facts
