"""Check of `doctor` on what brings a lost report back: receipts, the ledger's memory, and the rights to look."""

from __future__ import annotations

from collections.abc import Iterator

from ...sdk.bucket import has_sdk
from .context import CheckContext, Finding, error, ok, warning
from .rights import ABSENT, Right, try_rights

#: How far back `oss-wsgi reconcile` looks unless it is told otherwise, in seconds.
SWEEP_SECONDS = 26 * 3600

_OFF = "OSS_RECOVER is off, so pages do not ask, and a lost callback stays lost: set OSS_RECOVER=on"


def check_recovery(context: CheckContext) -> Iterator[Finding]:
    """Check receipts and the ledger's memory, and try the two rights that recovery needs."""
    context.require("OSS_LEDGER_KEEP", "OSS_RECEIPTS", "OSS_RECOVER")
    settings = context.settings
    _ = context.host
    if not settings.receipts:
        yield warning(
            "OSS_RECEIPTS is off: an upload whose report is lost stays lost",
            "Remove OSS_RECEIPTS=off.",
        )
    if settings.ledger_keep < SWEEP_SECONDS:
        yield warning(
            f"OSS_LEDGER_KEEP is {settings.ledger_keep / 3600:.1f} h, less than the {SWEEP_SECONDS // 3600} h that a "
            "sweep looks back",
            "Set OSS_LEDGER_KEEP=7d, or give `oss-wsgi reconcile` a shorter --since.",
        )
    if not has_sdk():
        message = "oss-wsgi[sdk] is not installed, so nothing can ask OSS what it holds"
        if settings.recover:
            yield error(message, "Install it: pip install 'oss-wsgi[sdk]'.")
        else:
            yield ok(f"{_OFF}; {message}")
        return
    rights: list[Right] = [
        ("HEAD objects", "oss:GetObject", lambda bucket: bucket.head(settings.upload_dir + ABSENT)),
        ("list objects", "oss:ListObjects", lambda bucket: bucket.list(settings.upload_dir, "", 1)),
    ]
    missing = error if settings.recover else warning
    needs = "recover needs oss:GetObject, reconcile oss:ListObjects too."
    yield from try_rights(context, rights, missing, needs)
    if settings.receipts and settings.ledger_keep >= SWEEP_SECONDS:
        pages = "pages ask for lost reports" if settings.recover else _OFF
        days = f"{settings.ledger_keep / 86400:.1f} days"
        yield ok(f"receipts are on, and handled uploads are remembered for {days}; {pages}")
