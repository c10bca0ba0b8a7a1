"""Functions for the checks of `doctor` that try rights of the access key by requests that change nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from ...credentials import StaticCredentialsProvider
from ...exceptions import BucketError, BucketRefusedError, NotStoredError
from ...sdk.bucket import SDKBucket
from ..sdk_client import REINSTALL_SDK, SDKRefusedError, sdk_client
from ..terminal import MisuseError
from .context import FIX_HOST, TIMEOUT, CheckContext, Finding, NotCheckedError, error, ok, warning

#: What a request does, the RAM action that it needs, and the request.
Right = tuple[str, str, Callable[[SDKBucket], object]]

#: The end of a name that no object has.
ABSENT = "oss-wsgi-doctor-looks-for-nothing"


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
    bucket = bucket_client(context)
    try:
        try:
            bucket.connect()
        except BucketRefusedError as cause:
            yield missing(cause.hint, REINSTALL_SDK)
            return
        for action, right, send in rights:
            try:
                send(bucket)
            except NotStoredError:
                yield ok(f"the key may {action} ({right})")
            except BucketRefusedError as cause:
                if cause.code in ("AccessDenied", ""):
                    fix = f"Grant the access key {right}: {needs}"
                else:
                    fix = f"It is not a missing right: run `oss-wsgi explain {cause.code}`."
                yield missing(f"the key may not {action}: {cause.hint}", fix)
            except BucketError as cause:
                offline = _without_a_network(context)
                yield offline or error(cause.hint, FIX_HOST)
                if offline:
                    break  # the other requests would end the same way
            else:
                yield ok(f"the key may {action} ({right})")
    finally:
        bucket.close()


def delete_object(key: str, context: CheckContext) -> Finding:
    """Delete a test object, and return whether that worked."""
    try:
        with sdk_client(context.settings, key=context.credentials) as client:
            client.ask("delete_object", "DeleteObjectRequest", key=key)
    except (MisuseError, SDKRefusedError) as cause:
        fix = (
            "Delete it yourself. To have it deleted, grant the key oss:DeleteObject and install the SDK: "
            "`pip install 'oss-wsgi[sdk]'`."
        )
        return warning(f"{key} stays in the bucket: {cause}", fix)
    return ok(f"{key} was deleted")


def _without_a_network(context: CheckContext) -> Finding | None:
    """Return the finding that this machine has no network, in the words of the other checks, or None if it has one."""
    try:
        _ = context.unsigned_response
    except NotCheckedError as cause:
        return cause.finding if cause.finding.colour == "yellow" else None
    return None
