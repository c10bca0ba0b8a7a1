"""Asks OSS itself whether it holds the object that a callback reports, before the application hears of it.

A ``confirm`` is a callable ``(Upload) -> bool``:

- True: OSS holds exactly this object; the application gets the upload with ``confirmed=True``.
- False: what OSS holds contradicts the report, which is refused, 403. ``NotConfirmedError`` does the same and says why.
- ``ConfirmationUnavailableError``: nothing can be said now, and the report is refused, 503. With ``accept=True`` it is
  accepted all the same, and the application gets the upload with ``confirmed=False``.

Everything else refuses too, 503: an exception of any other kind, and an answer that is no bool, such as the None of a
function that forgot to return. ``SDKConfirmation`` is a ready one.
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
    """Give the upload with what ``confirm`` says of it.

    Raises NotConfirmedError and ConfirmationUnavailableError, and nothing else.
    """
    try:
        answer = confirm(upload)
    except NotConfirmedError:
        raise
    except ConfirmationUnavailableError as error:
        if not error.accept:
            raise
        line = "accepted unconfirmed: reason=%s hint=%r request_id=%r"
        log.warning(line, error.reason, error.hint, upload.request_id or "-")
        return replace(upload, confirmed=False)
    except Exception as error:
        raise ConfirmationUnavailableError("confirm_failed", f"confirm raised {type(error).__name__}") from error
    if answer is True:
        return replace(upload, confirmed=True)
    if answer is False:
        raise NotConfirmedError("not_confirmed", "confirm says that OSS does not hold this object")
    raise ConfirmationUnavailableError(
        "confirm_failed", f"confirm must return True or False, not {type(answer).__name__}"
    )
