"""What a ``confirm`` returns and raises: it asks OSS for the reported object before the application gets the report.

A ``confirm`` is a callable ``(Upload) -> bool``:

- True: OSS holds exactly this object; the application gets the upload with ``confirmed=True``.
- False: what OSS holds contradicts the report, so the report is refused, 403. Raising ``NotConfirmedError`` does the
  same, with a reason for the log.
- ``ConfirmationUnavailableError``: OSS could not be asked, so the report is refused, 503. With ``accept=True`` it is
  still accepted, and the application gets the upload with ``confirmed=False``.

Everything else refuses the report with 503: any other exception, SystemExit included, and a result that is not a bool,
such as the None of a function that forgot to return. ``SDKConfirmation`` is a ready-made ``confirm``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from ..exceptions import ConfirmationUnavailableError, NotConfirmedError
from .upload import Upload

log = logging.getLogger(__name__)

Confirm = Callable[[Upload], bool]


def confirmed(confirm: Confirm, upload: Upload) -> Upload:
    """Return the upload with the result of ``confirm``.

    Raises NotConfirmedError or ConfirmationUnavailableError, and nothing else.
    """
    try:
        result = confirm(upload)
    except NotConfirmedError:
        raise
    except ConfirmationUnavailableError as error:
        if not error.accept:
            raise
        message = "accepted unconfirmed: reason=%s hint=%r oss_request_id=%r"
        log.warning(message, error.reason, error.hint, upload.request_id or "-")
        return upload if upload.confirmed else replace(upload, confirmed=False)  # our own HEAD has found it
    except BaseException as error:  # SystemExit too: `endpoints.callback` says why
        raise ConfirmationUnavailableError("confirm_failed", f"confirm raised {type(error).__name__}") from error
    if result is True:
        return replace(upload, confirmed=True)
    if result is False:
        raise NotConfirmedError("not_confirmed", "confirm returned False: OSS does not hold this object")
    raise ConfirmationUnavailableError(
        "confirm_failed", f"confirm must return True or False, not {type(result).__name__}"
    )
