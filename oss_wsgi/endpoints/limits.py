"""Endpoint that tells a page what it may upload, before a person chooses a file."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..signing.presigner import PostPresigner
from ..wsgi.facts import RequestFacts
from ..wsgi.responses import json_response
from .gate import Gate

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ALLOWED = "GET, HEAD, OPTIONS"

log = logging.getLogger(__name__)


class LimitsEndpoint:
    """Application: GET or HEAD returns as JSON what the request may upload.

    ``max_size`` and ``min_size`` are bytes, ``content_types`` is a list (empty for any type), ``expires`` is the number
    of seconds that a signature is valid. ``methods`` names the ways to upload that are on. ``multipart_from`` and
    ``part_size`` are null while uploads in parts are off; ``recover`` says whether the page may ask for an upload whose
    report was lost, and ``forms`` whether a form may bring signed IDs in the place of its files.

    It asks the gate and refuses as ``SignatureEndpoint`` does. A grant's own limits replace the settings'. It signs
    nothing, so it needs no credentials.

    :param recover: whether the page may ask for an upload whose report was lost.
    :param forms: whether ``PostedFiles`` puts files into the forms that the application reads.
    :param part_size: bytes of a part, where uploads in parts are on: a file of that size or more is best sent in parts.
    """

    def __init__(
        self,
        presigner: PostPresigner,
        gate: Gate,
        *,
        recover: bool = False,
        part_size: int | None = None,
        forms: bool = False,
    ) -> None:
        self._presigner = presigner
        self._gate = gate
        self._recover = recover
        self._part_size = part_size
        self._forms = forms

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._gate.answer(log, environ, start_response, _ALLOWED, self._tell)

    def _tell(self, facts: RequestFacts, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        grant = self._gate.grant(environ)
        facts.user = grant.user
        limits = self._presigner.limits(grant)
        payload = {
            "max_size": limits.max_size,
            "min_size": limits.min_size,
            "content_types": limits.content_types,
            "expires": limits.lifetime,
            "methods": ["post", "put"] if self._part_size is None else ["post", "put", "multipart"],
            "multipart_from": self._part_size,
            "part_size": self._part_size,
            "recover": self._recover,
            "forms": self._forms,
        }
        return json_response(environ, start_response, 200, payload)

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request is answered without waiting: true if it calls none of the user's callables."""
        return method == "GET" and self._gate.is_nonblocking
