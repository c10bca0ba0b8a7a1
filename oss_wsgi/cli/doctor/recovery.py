"""Check of `doctor` on what brings a lost report back: receipts, the ledger's memory, and the rights to look."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ...credentials import StaticCredentialsProvider
from ...exceptions import BucketError, BucketRefusedError
from ...sdk.bucket import SDKBucket, has_sdk
from .context import FIX_HOST, TIMEOUT, CheckContext, Finding, NotCheckedError, error, ok, warning

#: How far back `oss-wsgi reconcile` looks unless it is told otherwise, in seconds.
SWEEP_SECONDS = 26 * 3600

_OFF = "OSS_RECOVER is off, so pages do not ask, and a lost callback stays lost: set OSS_RECOVER=on"

_ABSENT = "oss-wsgi-doctor-looks-for-nothing"


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
        message = "oss-wsgi[sdk] is not installed, so OSS cannot be asked for what it holds"
        if settings.recover:
            yield error(message, "Install it: pip install 'oss-wsgi[sdk]'.")
        else:
            yield ok(f"{_OFF}; {message}")
        return
    bucket = SDKBucket(
        settings, credentials=StaticCredentialsProvider(context.credentials), clock=time.time, timeout=TIMEOUT
    )
    missing = error if settings.recover else warning
    try:
        for name, right in (("HEAD", "oss:GetObject"), ("list", "oss:ListObjects")):
            try:
                if name == "HEAD":
                    bucket.head(settings.upload_dir + _ABSENT)
                else:
                    bucket.list(settings.upload_dir, "", 1)
            except BucketRefusedError as cause:
                if cause.code in ("AccessDenied", ""):
                    fix = f"Grant the access key {right}: recover needs oss:GetObject, reconcile oss:ListObjects too."
                else:
                    fix = f"It is not a missing right: run `oss-wsgi explain {cause.code}`."
                yield missing(f"the key may not {name}: {cause.hint}", fix)
            except BucketError as cause:
                offline = _without_a_network(context)
                yield offline or error(cause.hint, FIX_HOST)
                if offline:
                    break  # the other request would end the same way
            else:
                yield ok(f"the key may {name} objects ({right})")
    finally:
        bucket.close()
    if settings.receipts and settings.ledger_keep >= SWEEP_SECONDS:
        pages = "pages ask for lost reports" if settings.recover else _OFF
        days = f"{settings.ledger_keep / 86400:.1f} days"
        yield ok(f"receipts are on, and handled uploads are remembered for {days}; {pages}")


def _without_a_network(context: CheckContext) -> Finding | None:
    """Return the finding that this machine has no network, in the words of the other checks, or None if it has one."""
    try:
        _ = context.unsigned_response
    except NotCheckedError as cause:
        return cause.finding if cause.finding.colour == "yellow" else None
    return None
