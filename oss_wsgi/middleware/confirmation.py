"""Lets only uploads through of which OSS itself says that it holds them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..callback.confirm import Confirm, confirmed, refuse_unconfirmed
from ..callback.upload import UPLOAD_KEY, Upload
from ..exceptions import ConfirmationUnavailableError, NotConfirmedError
from ..wsgi.responses import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class Confirmation:
    """Middleware behind ``CallbackGuard``: ``app`` finds ``Upload.confirmed`` set in ``environ["oss_wsgi.upload"]``.

    For applications that answer callbacks themselves; ``CallbackEndpoint`` takes a ``confirm`` of its own.

        application = CallbackGuard(Confirmation(legacy_app, SDKConfirmation(settings)), verifier)

    Refusals: 403 when OSS holds something else or nothing, 503 when nothing can be said now.
    ``oss_wsgi.callback.confirm`` says
    what a ``confirm`` must do.
    """

    def __init__(self, app: WSGIApplication, confirm: Confirm) -> None:
        self._app = app
        self._confirm = confirm

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        upload = environ.get(UPLOAD_KEY)
        if not isinstance(upload, Upload):
            hint = "Confirmation must stand behind CallbackGuard, which puts the verified upload into the environ"
            return refuse(log, environ, start_response, 500, "not_guarded", hint)
        try:
            upload = confirmed(self._confirm, upload)
        except (NotConfirmedError, ConfirmationUnavailableError) as error:
            return refuse_unconfirmed(log, environ, start_response, error)
        return self._app({**environ, UPLOAD_KEY: upload}, start_response)
