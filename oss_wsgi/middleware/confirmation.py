"""Middleware that passes on only uploads that OSS itself confirms."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..callback.confirm import Confirm, confirmed
from ..callback.upload import UPLOAD_KEY
from ..exceptions import CallbackError
from ..wsgi.facts import facts_of
from ..wsgi.uploads import guarded_upload

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class Confirmation:
    """Middleware behind ``CallbackGuard``: ``app`` finds ``Upload.confirmed`` set in ``environ["oss_wsgi.upload"]``.

    For applications that answer callbacks themselves; ``CallbackEndpoint`` takes a ``confirm`` of its own.

        application = CallbackGuard(Confirmation(legacy_app, SDKConfirmation(settings)), verifier)

    Refusals: 403 when OSS has another object or none, 503 when OSS cannot be asked now. ``oss_wsgi.callback.confirm``
    says what a ``confirm`` returns and raises.
    """

    def __init__(self, app: WSGIApplication, confirm: Confirm) -> None:
        self._app = app
        self._confirm = confirm

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            upload = confirmed(self._confirm, guarded_upload(environ, "Confirmation"))
        except CallbackError as error:
            return facts_of(environ).refuse_error(log, start_response, error)
        return self._app({**environ, UPLOAD_KEY: upload}, start_response)
