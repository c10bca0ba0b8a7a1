"""Middleware that refuses uploads in parts whose object is not what its parts were."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..callback.upload import UPLOAD_KEY
from ..exceptions import LedgerUnavailableError, PartsCorruptError
from ..parts.expected import ExpectedObjects
from ..wsgi.responses import refuse_error

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class JoinedParts:
    """Middleware before ``OncePerUpload``, for uploads that were found in the bucket.

    Refusals: 500 ``crc64_mismatch`` for a damaged object, however often and on whatever way it comes, so that the
    application never hears of it; 503 when the ledger cannot tell.
    """

    def __init__(self, app: WSGIApplication, expected: ExpectedObjects) -> None:
        self._app = app
        self._expected = expected

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            self._expected.check(environ[UPLOAD_KEY])
        except PartsCorruptError as error:
            message = "The file was damaged in storage: send it again."
            return refuse_error(log, environ, start_response, error, message=message)
        except LedgerUnavailableError as error:
            return refuse_error(log, environ, start_response, error)
        return self._app(environ, start_response)
