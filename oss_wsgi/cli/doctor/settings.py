"""Checks of `doctor` on this machine's configuration: settings, ledger, credentials and public keys."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from ...application import public_key_store
from ...callback.public_keys import OSS_PUBLIC_KEY_URLS, fingerprint
from ...exceptions import LedgerUnavailableError, SettingsError
from ...explanations.rows import row_of
from ...explanations.text import Text
from ...ledger.base import Ledger
from ...ledger.memory import MemoryLedger
from ...ledger.url import is_url, ledger_from, shown
from ..refusals import read_refusal
from .context import FIX_BUCKET, CheckContext, Finding, error, ok, warning

#: Minutes below which the remaining life of a temporary key is a warning.
_SHORT_LIFE = 15
#: Refusals of a key, whatever is signed with it.
_KEY_CODES = frozenset(
    {"InvalidAccessKeyId", "InvalidSecurityToken", "SecurityTokenExpired", "AccessKeyIdAndSecurityTokenNotMatch"}
)


def check_settings(context: CheckContext) -> Iterator[Finding]:
    """Check that the settings are valid, agree with each other, and lack nothing that production needs."""
    for problem in context.problems:
        yield error(problem, "Change the variable, or the option, that it names.")
    if context.problems:
        return
    settings = context.settings
    if not settings.configured:
        yield error("no bucket is set", FIX_BUCKET)
        return
    yield ok(
        Text("bucket {1}, region {2}, forms go to {3}", settings.bucket, settings.region or "unknown", settings.host)
    )
    if settings.pages_report:
        yield ok("pages report uploads (OSS_REPORT_BY=page): OSS sends no callbacks")
    elif not settings.callback_url:
        yield warning("no callback: the application is not told of uploads", context.fix_no_url)
    if not settings.ticket_secret:
        yield warning(
            "OSS_TICKET_SECRET is not set: each process makes its own, and refuses uploads that another one signed",
            "Set the same OSS_TICKET_SECRET for all processes, and for this command: its probe needs the secret. "
            "`openssl rand -hex 32` makes one, `export OSS_TICKET_SECRET=THE-VALUE` sets it.",
        )
    yield from _check_ledger(context)
    yield from _check_application(context) if context.app is not None else _check_anonymous(context)


def _check_application(context: CheckContext) -> Iterator[Finding]:
    """Check who may upload, who is told, and what becomes of forms, in the application that was loaded."""
    app = context.app
    if app is None:
        return
    if app.has_authorize:
        yield ok("an authorize callable decides who may upload")
    elif context.settings.allow_anonymous:
        yield warning(
            "anybody may upload: OSS_ALLOW_ANONYMOUS is on, and the DirectUpload has no authorize callable",
            "Pass an authorize callable: `DirectUpload(app, settings, authorize=allow)`.",
        )
    else:
        yield error(
            "nobody gets a signature: the DirectUpload has no authorize callable, and OSS_ALLOW_ANONYMOUS is off",
            "Pass an authorize callable: `DirectUpload(app, settings, authorize=allow)`.",
        )
    if app.has_handler:
        yield ok("the application gets each upload")
    elif app.forms:
        yield ok("the application gets files by its forms, and no upload by itself")
    else:
        yield warning(
            "the application hears of no upload: the DirectUpload has neither on_upload nor forward_callback",
            "Pass one of them, if uploads concern the application: `DirectUpload(app, settings, on_upload=save)`.",
        )
    if app.forms:
        yield ok(Text("forms bring files that went straight to OSS (forms={1})", repr(app.forms)))


def _check_anonymous(context: CheckContext) -> Iterator[Finding]:
    """Say what the setting means for an application that is unknown."""
    if not context.settings.allow_anonymous:
        yield warning(
            "OSS_ALLOW_ANONYMOUS is off: nobody gets a signature unless DirectUpload has an authorize callable",
            "See whether the application has one: `oss-wsgi doctor --app MODULE:NAME`. If it has none, pass one: "
            "`DirectUpload(app, settings, authorize=allow)`. Turn the variable on only where everybody may upload "
            "without a login, as on the page of oss-wsgi serve.",
        )
    elif not context.is_local_oss:
        yield warning(
            "OSS_ALLOW_ANONYMOUS is on: anybody may upload unless DirectUpload has an authorize callable",
            "Pass an authorize callable, or let the server in front decide who may request signatures: "
            "`DirectUpload(app, settings, authorize=allow)`.",
        )


def _check_ledger(context: CheckContext) -> Iterator[Finding]:
    """Check the ledger of the application, or else the one of the settings."""
    app, named = context.app, context.settings.ledger
    if app is not None and not isinstance(app.ledger, MemoryLedger):
        fix = "Check the ledger that the application has, as the user who runs it."
        yield from _check_written(app.ledger, type(app.ledger).__name__, fix)
    elif app is not None or named is None:
        yield warning(
            "OSS_LEDGER is not set: each process remembers handled uploads by itself, until it restarts",
            "Set OSS_LEDGER to a file on a local disk, unless you pass a ledger to DirectUpload: "
            "`export OSS_LEDGER=/var/lib/oss-wsgi/ledger.sqlite3`.",
        )
    else:
        yield from _check_named_ledger(named)


def _check_named_ledger(named: str) -> Iterator[Finding]:
    """Open a ledger and write to it, as the application will; of a file that does not exist yet, check the folder."""
    is_server = is_url(named)
    fix = "Check the file, its folder and their permissions, as the user who runs the application."
    if is_server:
        fix = (
            "Check that the server runs and can be reached from here, and the user, password and database in "
            "OSS_LEDGER."
        )
    elif not os.path.exists(named):
        if not os.access(os.path.dirname(os.path.abspath(named)), os.W_OK | os.X_OK):
            yield error(Text("the ledger {1} cannot be created in its folder", repr(named)), fix)
        return
    try:
        with contextlib.closing(ledger_from(named, clock=time.time, threads=1)) as ledger:
            yield from _check_written(ledger, shown(named) if is_server else repr(named), fix)
    except (SettingsError, LedgerUnavailableError) as cause:
        yield error(getattr(cause, "hint", str(cause)), fix)


def _check_written(ledger: Ledger, name: str, fix: str) -> Iterator[Finding]:
    """Check that a ledger can be written to, and say whether other machines can share it."""
    try:
        ledger.check()
    except LedgerUnavailableError as cause:
        yield error(cause.hint, fix)
        return
    place = getattr(ledger, "place", None)
    if place is None or place.is_of_one_machine:
        yield ok(Text("the ledger {1} can be written to, and belongs to this machine only", name))
    else:
        yield ok(Text("the ledger {1} can be written to, fingerprint {2}", name, place.fingerprint))


def check_credentials(context: CheckContext) -> Iterator[Finding]:
    """Check that there is an access key, whether it expires, and that OSS accepts it."""
    credentials = context.credentials
    shown = f"{credentials.access_key_id[:4]}..."
    if credentials.expiration is not None:
        minutes = (credentials.expiration.timestamp() - time.time()) / 60
        message = Text("{1} is a temporary key, valid for {2} more minutes", shown, f"{minutes:.0f}")
        if minutes < _SHORT_LIFE:
            yield warning(Text("{1}, and its signatures expire with it", message), "Let its provider renew it earlier.")
        else:
            yield ok(Text("{1}, and its provider renews it", message))
    elif credentials.security_token:
        yield warning(
            Text("{1} is a temporary key, and the environment does not say when it expires", shown),
            "Pass DirectUpload a credentials provider that renews it, or use the key of a RAM user.",
        )
    elif credentials.access_key_id.startswith("STS."):
        yield error(Text("{1} is a temporary key without its token", shown), "Set OSS_SESSION_TOKEN too.")
        return
    else:
        yield ok(Text("{1} is a key that does not expire; it should be a RAM user's with oss:PutObject only", shown))
    refusal = read_refusal(context.dry_run_response.body)
    if refusal.code in _KEY_CODES:
        yield error(Text("OSS does not accept the key: {1}", refusal), row_of("code", refusal.code).fix)
    elif refusal.code == "SignatureDoesNotMatch":
        yield error(
            "the secret does not belong to this AccessKey ID", "Set OSS_ACCESS_KEY_SECRET to the secret of this ID."
        )


def check_keys(context: CheckContext) -> Iterator[Finding]:
    """Show size and fingerprint of the public keys that callbacks are verified with."""
    context.require("OSS_TRUSTED_KEYS")
    try:
        store = public_key_store(context.settings)
    except SettingsError as cause:
        yield error(str(cause), "Set KEY_URL=PEM_FILE pairs whose files hold public RSA keys.")
        return
    for url in sorted(store.pinned - {OSS_PUBLIC_KEY_URLS[0]}):
        key = store.get(url)
        message = Text("{1}: {2} bits, SHA-256 {3}", url, key.key_size, fingerprint(key))
        if url in OSS_PUBLIC_KEY_URLS or context.is_local_oss:
            yield ok(message)
        else:
            yield warning(
                Text("{1}, is trusted besides OSS's own", message), "Remove it from OSS_TRUSTED_KEYS in production."
            )
