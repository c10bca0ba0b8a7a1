"""Checks of `doctor` that ask nobody but this machine: settings, credentials and keys."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from ...application import public_key_store
from ...callback.public_keys import OSS_PUBLIC_KEY_URLS
from ...exceptions import LedgerUnavailableError, SettingsError
from ...ledger.sqlite import SQLiteLedger
from ..http_client import read_refusal
from ..verify import fingerprint
from .context import Examination, Finding, green, red, yellow

#: Minutes.
_SHORT = 15
_KEY_CODES = {
    "InvalidAccessKeyId": "Check OSS_ACCESS_KEY_ID in the RAM console: does it exist, is it enabled?",
    "InvalidSecurityToken": "Set OSS_SESSION_TOKEN to the token that came with the key.",
    "SecurityTokenExpired": "Take a new key from STS, or use a credentials provider that renews.",
    "AccessKeyIdAndSecurityTokenNotMatch": "Take ID, secret and token from one answer of STS.",
}


def settings(case: Examination) -> Iterator[Finding]:
    """The settings are well-formed and agree, and nothing that production needs is left out."""
    for problem in case.problems:
        yield red(problem, "Change the variable, or the option, that it names.")
    if case.problems:
        return
    found = case.settings
    if not found.configured:
        yield red("no bucket is set", "Set OSS_BUCKET and OSS_REGION, or OSS_HOST.")
        return
    yield green(f"bucket {found.bucket}, region {found.region or 'unknown'}, forms go to {found.host}")
    if not found.callback_url:
        yield yellow("no callback: the application will not hear of uploads", "Set OSS_CALLBACK_URL.")
    if not found.ticket_secret:
        yield yellow(
            "OSS_TICKET_SECRET is not set: each process makes its own, and refuses the others' uploads",
            "Set it, the same for all processes and for this command, which cannot probe the application without it.",
        )
    if found.ledger is None:
        yield yellow(
            "OSS_LEDGER is not set: what was handled is forgotten at a restart, and by other processes never known",
            "Set it to a file on a local disk, unless DirectUpload is given a ledger.",
        )
    else:
        yield from _ledger(found.ledger)
    if not found.allow_anonymous:
        yield yellow(
            "OSS_ALLOW_ANONYMOUS is off: nobody gets a signature unless DirectUpload is given an authorize",
            "Give it one; `oss-wsgi serve` has none, and needs OSS_ALLOW_ANONYMOUS=on.",
        )
    elif not case.stand_in:
        yield yellow(
            "OSS_ALLOW_ANONYMOUS is on: anybody may upload unless DirectUpload is given an authorize",
            "Give it one, or let the server in front say who may ask for signatures.",
        )


def _ledger(path: str) -> Iterator[Finding]:
    """Open the ledger and write to it, as the application will; where there is none yet, look at its folder."""
    cure = "See the file, its folder and their rights, as the user who runs the application."
    try:
        if os.path.exists(path):
            ledger = SQLiteLedger(path, clock=time.time)
            try:
                ledger.check()
            finally:
                ledger.close()
        elif not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK | os.X_OK):
            yield red(f"the ledger {path!r} cannot be made in its folder", cure)
    except (SettingsError, LedgerUnavailableError) as error:
        yield red(getattr(error, "hint", str(error)), cure)


def credentials(case: Examination) -> Iterator[Finding]:
    """There is an access key, of a known kind, and OSS takes it."""
    found = case.key
    shown = f"{found.access_key_id[:4]}..."
    if found.expiration is not None:
        left = (found.expiration.timestamp() - time.time()) / 60
        said = f"{shown} is a temporary key, good for {left:.0f} more minutes"
        if left < _SHORT:
            yield yellow(f"{said}, and no signature outlives it", "See that its provider renews it before.")
        else:
            yield green(f"{said}, which its provider renews")
    elif found.security_token:
        yield yellow(
            f"{shown} is a temporary key, whose end nobody can see in the environment",
            "Give DirectUpload a credentials provider that renews it, or a RAM user's key.",
        )
    elif found.access_key_id.startswith("STS."):
        yield red(f"{shown} is a temporary key without its token", "Set OSS_SESSION_TOKEN too.")
        return
    else:
        yield green(f"{shown} is a key without an end: let it be a RAM user's that may only oss:PutObject")
    refusal = read_refusal(case.dry_form.body)
    if refusal.code in _KEY_CODES:
        yield red(f"OSS does not take it: {refusal}", _KEY_CODES[refusal.code])
    elif refusal.code == "SignatureDoesNotMatch":
        yield red("the secret is not that of this ID", "Set OSS_ACCESS_KEY_SECRET to the secret of this ID.")


def key(case: Examination) -> Iterator[Finding]:
    """The keys that callbacks are verified with: size and fingerprint."""
    case.need("OSS_TRUSTED_KEYS")
    try:
        store = public_key_store(case.settings)
    except SettingsError as error:
        yield red(str(error), "Give KEY_URL=PEM_FILE pairs whose files hold public RSA keys.")
        return
    for url in sorted(store.pinned - {OSS_PUBLIC_KEY_URLS[0]}):
        found = store.get(url)
        said = f"{url}: {found.key_size} bits, SHA-256 {fingerprint(found)}"
        if url in OSS_PUBLIC_KEY_URLS or case.stand_in:
            yield green(said)
        else:
            yield yellow(f"{said}, is believed beside OSS's own", "Take it out of OSS_TRUSTED_KEYS in production.")
