"""Checks of `doctor` on what the access key may do beyond signed forms: recover lost reports, upload in parts.

Rights are tried by requests that change nothing. The bucket's lifecycle rules are read here too.
"""

from __future__ import annotations

import contextlib
import html
import time
from collections.abc import Callable, Iterable, Iterator

from ...credentials import StaticCredentialsProvider
from ...exceptions import BucketError, BucketRefusedError, NotStoredError
from ...explanations.text import Text, sentences
from ...parts.uploads import UPLOAD_LIFETIME
from ...sdk.bucket import SDKBucket
from ...sdk.client import REINSTALL_SDK, SDKCallError, has_sdk
from ..http_client import Response
from ..refusals import fix_sdk_error, say_sdk_error
from .context import FIX_HOST, TIMEOUT, CheckContext, Finding, NotCheckedError, error, ok, warning
from .probe import probe_report

#: What a request does, the RAM action that it needs, and the request.
Right = tuple[str, str, Callable[[SDKBucket], object]]

#: The end of a name that no object has.
ABSENT = "oss-wsgi-doctor-looks-for-nothing"
#: An upload ID that OSS does not know.
_NO_UPLOAD = "0" * 32
_UPLOAD_DAYS = UPLOAD_LIFETIME // 86400
#: Days after which the printed rule deletes uploads, and how many it needs: a form may bring a file for one day.
_EXPIRY_DAYS = 7
_MIN_EXPIRY_DAYS = 2

#: How far back `oss-wsgi reconcile` looks unless it is told otherwise, in seconds.
SWEEP_SECONDS = 26 * 3600

_OFF = "OSS_RECOVER is off, so pages do not ask, and a lost callback stays lost: set OSS_RECOVER=on"


def bucket_client(context: CheckContext) -> SDKBucket:
    """Return a client for the bucket, which the caller closes."""
    provider = StaticCredentialsProvider(context.credentials)
    return SDKBucket(context.settings, credentials=provider, clock=time.time, timeout=TIMEOUT)


def try_rights(
    context: CheckContext, rights: Iterable[Right], missing: Callable[[str, str], Finding], needs: str
) -> Iterator[Finding]:
    """Yield whether the key has each right: an answer that there is no such object or upload proves that it has.

    :param missing: makes the finding of a right that is not there.
    :param needs: a sentence that says what needs the rights.
    """
    with contextlib.closing(bucket_client(context)) as bucket:
        try:
            bucket.connect()
        except BucketRefusedError as cause:
            yield missing(cause.hint, REINSTALL_SDK)
            return
        for action, right, send in rights:
            try:
                send(bucket)
            except NotStoredError:
                yield ok(Text("the key may {1} ({2})", action, right))
            except BucketRefusedError as cause:
                fix = Text("It is not a missing right: run `oss-wsgi explain {1}`.", cause.code)
                if cause.code in ("AccessDenied", ""):
                    fix = Text("Grant the access key {1}: {2}", right, needs)
                yield missing(Text("the key may not {1}: {2}", action, cause.hint), fix)
            except BucketError as cause:
                offline = _without_a_network(context)
                yield offline or error(cause.hint, FIX_HOST)
                if offline:
                    break  # the other requests would end the same way
            else:
                yield ok(Text("the key may {1} ({2})", action, right))


def _without_a_network(context: CheckContext) -> Finding | None:
    """Return the finding that this machine has no network, in the words of the other checks, or None if it has one."""
    try:
        _ = context.unsigned_response
    except NotCheckedError as cause:
        return cause.finding if cause.finding.colour == "yellow" else None
    return None


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
            Text(
                "OSS_LEDGER_KEEP is {1} h, less than the {2} h that a sweep looks back",
                f"{settings.ledger_keep / 3600:.1f}",
                SWEEP_SECONDS // 3600,
            ),
            "Set OSS_LEDGER_KEEP=7d, or give `oss-wsgi reconcile` a shorter --since.",
        )
    if not has_sdk():
        message = "oss-wsgi[sdk] is not installed, so nothing can ask OSS what it holds"
        if settings.recover:
            yield error(message, "Install it: pip install 'oss-wsgi[sdk]'.")
        else:
            yield ok(Text("{1}; {2}", _OFF, message))
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
        if settings.pages_report:
            pages = "pages report uploads, and ask again"
        days = f"{settings.ledger_keep / 86400:.1f}"
        yield ok(Text("receipts are on, and handled uploads are remembered for {1} days; {2}", days, pages))


def check_parts(context: CheckContext) -> Iterator[Finding]:
    """Try the rights that parts need, and look for the rule that removes unfinished ones."""
    context.require("OSS_MULTIPART", "OSS_PART_SIZE", "OSS_UPLOAD_DIR")
    settings = context.settings
    if not settings.multipart:
        yield ok("OSS_MULTIPART is off: each file is one form of 5 GB at most")
        return
    _ = context.host
    if not has_sdk():
        yield error("uploads in parts need oss-wsgi[sdk], which is not installed", "pip install 'oss-wsgi[sdk]'.")
        return
    if settings.signature_version == "v1":
        yield warning(
            "signature V1 does not sign the length of a part, so a wrong size is found only when an upload completes",
            "Set OSS_SIGNATURE_VERSION=v4.",
        )
    key = settings.upload_dir + ABSENT
    rights: list[Right] = [
        ("HEAD objects", "oss:GetObject", lambda bucket: bucket.head(key)),
        ("list parts", "oss:ListParts", lambda bucket: bucket.list_parts(key, _NO_UPLOAD)),
        ("abort uploads in parts", "oss:AbortMultipartUpload", lambda bucket: bucket.abort(key, _NO_UPLOAD)),
    ]
    needs = "parts need oss:PutObject, oss:ListParts, oss:AbortMultipartUpload and oss:GetObject."
    findings = list(try_rights(context, rights, error, needs))
    yield from findings
    if all(finding.colour == "green" for finding in findings):
        yield _check_rule(context)


def _check_rule(context: CheckContext) -> Finding:
    """Check that OSS removes unfinished parts, but not while their upload may still be completed."""
    prefix = context.settings.upload_dir
    names = Text("under {1}", prefix) if prefix else "in the bucket"
    try:
        days = _days_of_rules(context, "abort_multipart_upload")
    except SDKCallError as cause:
        return warning(*_unreadable_rules(cause, context))
    if not days:
        message = Text(
            "no lifecycle rule removes unfinished parts {1}, and they cost money until somebody aborts them", names
        )
        fix = Text(
            "Add the rule in the console, Data Management > Lifecycle > Create Rule: Status: Enabled, Applied To: {1}, "
            "Delete Parts: Validity Period (Days): {2}. As XML, beside the bucket's other rules: `{3}`",
            Text("Files with Specified Prefix: {1}", prefix) if prefix else "Whole Bucket",
            _UPLOAD_DAYS,
            _rule_of("oss-wsgi-parts", prefix, "AbortMultipartUpload", _UPLOAD_DAYS),
        )
        return warning(message, fix)
    if min(days) < _UPLOAD_DAYS:
        message = Text(
            "OSS removes unfinished parts {1} after {2} days, but a page may continue an upload for {3}",
            names,
            min(days),
            _UPLOAD_DAYS,
        )
        fix = Text("Set its days to {1} or more in the console, Data Management > Lifecycle.", _UPLOAD_DAYS)
        return warning(message, fix)
    return ok(Text("OSS removes unfinished parts {1} after {2} days", names, min(days)))


def check_lifecycle(context: CheckContext) -> Iterator[Finding]:
    """Look for a rule that deletes old uploads.

    An application that copies its files, such as one with forms, needs one. One that keeps its objects must have none,
    so a missing rule is yellow only where forms are on.
    """
    context.require("OSS_UPLOAD_DIR")
    prefix = context.settings.upload_dir
    _ = context.host
    has_forms = _has_forms(context)

    def problem(message: str, fix: str) -> Finding:
        return warning(message, fix) if has_forms else ok(message)

    if not prefix:
        message = "OSS_UPLOAD_DIR is empty, so no lifecycle rule can delete old uploads and nothing else"
        fix = "If your application copies the files of forms, set a prefix: `export OSS_UPLOAD_DIR=uploads/`."
        yield problem(message, fix)
        return
    if not has_sdk():
        yield ok("oss-wsgi[sdk] is not installed, so nothing can ask OSS for its lifecycle rules")
        return
    try:
        days = _days_of_rules(context, "expiration")
    except SDKCallError as cause:
        yield problem(*_unreadable_rules(cause, context))
        return
    if not days:
        yield _without_expiry(prefix, has_forms)
    elif min(days) < _MIN_EXPIRY_DAYS:
        message = Text(
            "OSS deletes objects under {1} after {2} days, but a form may bring a file for longer", prefix, min(days)
        )
        fix = Text("Set its days to {1} or more in the console, Data Management > Lifecycle.", _MIN_EXPIRY_DAYS)
        yield problem(message, fix)
    else:
        yield ok(
            Text(
                "OSS deletes objects under {1} after {2} days: your application must have copied by then what it keeps",
                prefix,
                min(days),
            )
        )


def _without_expiry(prefix: str, has_forms: bool) -> Finding:
    """Return the finding for a bucket that keeps all uploads, with the rule that deletes them."""
    rule = Text(
        "Data Management > Lifecycle > Create Rule: Status: Enabled, Applied To: {1}, Object Lifecycle: Validity "
        "Period (Days): {2}, Delete Objects. As XML, beside the bucket's other rules: `{3}`",
        Text("Files with Specified Prefix: {1}", prefix),
        _EXPIRY_DAYS,
        _rule_of("oss-wsgi-uploads", prefix, "Expiration", _EXPIRY_DAYS),
    )
    if has_forms:
        message = Text(
            "forms bring objects under {1}, and no lifecycle rule deletes them after they have served", prefix
        )
        condition = "If your application keeps copies of these files, and not the objects, add the rule in the console"
        return warning(message, Text("{1}: {2}", condition, rule))
    message = Text("no lifecycle rule deletes objects under {1}, so your application may keep them", prefix)
    return Finding("green", message, Text("{1}: {2}", "If it keeps copies instead, add the rule in the console", rule))


def _has_forms(context: CheckContext) -> bool:
    """Return whether the application says that its forms bring files of OSS; False if it cannot be asked."""
    if context.app is not None:
        return bool(context.app.forms)
    try:
        responses = [call.response for call in context.probe_calls]
    except NotCheckedError:
        return False
    reports = [probe_report(response) for response in responses if isinstance(response, Response)]
    return any(report is not None and report.get("forms") is True for report in reports)


def _rule_of(name: str, prefix: str, action: str, days: int) -> str:
    """Return a lifecycle rule as XML."""
    return (
        f"<Rule><ID>{name}</ID><Prefix>{html.escape(prefix, quote=False)}</Prefix><Status>Enabled</Status>"
        f"<{action}><Days>{days}</Days></{action}></Rule>"
    )


def _unreadable_rules(cause: SDKCallError, context: CheckContext) -> tuple[str, str]:
    """Return the message and the fix where OSS does not tell the bucket's rules."""
    fix = fix_sdk_error(cause, "oss:GetBucketLifecycle", context.settings.bucket or "")
    message = Text("the lifecycle rules cannot be read: {1}", say_sdk_error(cause))
    return message, sentences(fix, "Or see in the console whether there is a rule.")


def _days_of_rules(context: CheckContext, action: str) -> list[int]:
    """Return after how many days the bucket's rules do this with everything under the prefix. Raises SDKCallError.

    :param action: its name in the SDK, ``expiration`` or ``abort_multipart_upload``.
    """
    prefix = context.settings.upload_dir
    try:
        with context.sdk_client() as client:
            rules = client.ask("get_bucket_lifecycle", "GetBucketLifecycleRequest").lifecycle_configuration.rules
    except SDKCallError as error:
        if error.code == "NoSuchLifecycle":
            return []
        raise
    actions = [
        getattr(rule, action)
        for rule in rules or ()
        if rule.status == "Enabled" and prefix.startswith(rule.prefix or "") and not rule.tags and not rule.filter
    ]
    return [each.days for each in actions if each and each.days]
