"""What is known of one request by those who tell of it: the log, the events, the metrics."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from .environ import header, request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from .observers import Events

#: Where the facts of a request stand in its environ.
FACTS_KEY = "oss_wsgi.facts"

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestFacts:
    """Facts that the rooms add as they learn them; what nobody asks for is not worked out.

    ``user`` and ``object`` are what our own grant or a verified report says, never what a stranger claims.
    """

    __slots__ = ("_id", "events", "object", "reason", "user")

    def __init__(self) -> None:
        self._id: str | None = None
        self.events: Events | None = None
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


def facts_of(environ: WSGIEnvironment) -> RequestFacts:
    """Give the facts of a request, and begin to collect them where nobody has."""
    facts = environ.get(FACTS_KEY)
    if not isinstance(facts, RequestFacts):
        facts = environ[FACTS_KEY] = RequestFacts()
    return facts
