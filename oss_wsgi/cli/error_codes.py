"""The table of error codes: what each means for this application, and what to do.

Codes and EC numbers are OSS's (protocol.md 3.6, protocol.md 5.4, protocol.md 10, protocol.md 12); reasons are those in
this application's own log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .http_client import OSSRefusal

_HELP = "https://www.alibabacloud.com/help/en/oss/developer-reference/"
#: The page of an EC number, which stands behind it.
EC_PAGE = "https://api.aliyun.com/troubleshoot?q="

#: Short name -> the page that a row is taken from.
PAGES = {
    "POST": f"OSS help, PostObject ({_HELP}postobject)",
    "V4": "OSS help, Signature version 4 in PostObject",
    "CALLBACK": f"OSS help, Callback ({_HELP}callback)",
    "CORS": "OSS help, PutBucketCors, Options and Configure CORS",
    "TROUBLE": "OSS help, troubleshooting: PostObject errors, Upload callback errors, HTTP status codes",
    "STS": "RAM help, AssumeRole",
    "PAGE": "the sentences of the upload page, static/languages/",
    "SWEEP": "the outcomes of a sweep, docs/never-lost.md",
}


@dataclass(frozen=True)
class Explanation:
    """One row of the table.

    :ivar origins: a short name in ``PAGES`` for a code of OSS; for a reason in this application's log, every module
        that emits it. The texts must fit all of them, so they name none alone.
    """

    code: str
    meaning: str
    fix: str
    origins: tuple[str, ...]

    @property
    def sources(self) -> list[str]:
        """Return the sources in full: the page, an EC number's own page, or the modules that emit a reason."""
        number = [EC_PAGE + self.code] if self.code[:4].isdigit() else []
        return [PAGES.get(origin, f"oss_wsgi.{origin}") for origin in self.origins] + number


def _row(code: str, meaning: str, fix: str, *origins: str) -> Explanation:
    return Explanation(code, meaning, fix, origins)


_CLOCK = "Synchronize the server's clock by NTP: `oss-wsgi doctor --only clock`."
_FORM = "Send `fields` unchanged and in their order, then the file as `file`; the shipped page does so."
_KEY = "Check OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and OSS_REGION: `oss-wsgi doctor --only v4`."
_COMPARE = "See what differs: `oss-wsgi explain --signed SIGNATURE.json < ANSWER.xml`."
_STS = "Take OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and OSS_SESSION_TOKEN from the same answer of STS."
_STS_EXPIRED = "Use a credentials provider that renews the key; a temporary key in the environment expires."
_FIELD_CHANGED = "This application signs it correctly: find out what changed the form on its way to OSS."
_POLICY = (
    "This application's policies have this right: find out what changed `policy`, or what else signs for the bucket."
)
_CALLBACK_URL = "Check OSS_CALLBACK_URL: `oss-wsgi doctor --only callback-url`."
_CALLBACK = "Run `oss-wsgi doctor --only callback` from outside your network."
_NO_CALLBACK_VAR = "Remove `callback-var` from the form, and send custom values as x: fields."
_BUCKET = "Check OSS_BUCKET and OSS_REGION: `oss-wsgi doctor --only bucket`."
_CORS = "Add the rule: `oss-wsgi cors apply https://YOUR-PAGE`."
_PREFLIGHT = "Look for a proxy in front of OSS that removes the header."
_TOO_LARGE = (
    "Raise OSS_UPLOAD_MAX_SIZE or the grant's max_size, or tell the user the limit. A `size` in the request for the "
    "signature is exact to the byte."
)
_TOO_SMALL = "Lower the grant's min_size. A `size` in the request for the signature is exact to the byte."
_SHORTER = "Shorten the metadata and variables that the page adds."
_EXISTS = "Keep OSS_UPLOAD_NAMES=unique, or allow overwriting with Grant(forbid_overwrite=False)."
_BUCKET_NAME_TAKEN = "Choose another name."
_BUCKET_NOT_EMPTY = "Delete its objects and abort its multipart uploads first."
_HEADER_LOST = "The same log line names the web server and the configuration line to add."
_TRACEBACK = "Read the traceback in the log."
_FORGED = "Nothing to do: OSS does not send such callbacks, so somebody else did."

TABLE = (
    # Error codes of OSS.
    _row(
        "AccessDenied",
        "The policy, the key's permissions or the bucket do not allow the upload; the message says which.",
        "`Policy expired`: get a fresh signature. `Policy Condition failed` or `Extra input fields`: the page changed, "
        "added or dropped a field. `no right ... bucket acl`: grant the key oss:PutObject on acs:oss:*:*:BUCKET/DIR/*.",
        "TROUBLE",
    ),
    _row(
        "AccessForbidden",
        "No CORS rule of the bucket allows uploads from this page; the upload itself may be right.",
        _CORS,
        "CORS",
    ),
    _row("AccessKeyIdAndSecurityTokenNotMatch", "The STS token belongs to another AccessKey ID.", _STS, "STS"),
    _row("BadRequest", "OSS cannot read the preflight: a header is missing.", _PREFLIGHT, "CORS"),
    _row(
        "BucketAlreadyExists", "You or somebody else already has a bucket of that name.", _BUCKET_NAME_TAKEN, "TROUBLE"
    ),
    _row("BucketNotEmpty", "The bucket holds objects or unfinished multipart uploads.", _BUCKET_NOT_EMPTY, "TROUBLE"),
    _row(
        "CORSRuleBeyondLimit",
        "The bucket already has the maximum number of CORS rules.",
        "Merge rules or remove old ones in the console; `oss-wsgi cors diff` shows the one that uploads need.",
        "CORS",
    ),
    _row(
        "CallbackFailed",
        "Status 203: the file is stored, but the application was not reached, or OSS did not accept its answer.",
        "Read the message and the EC number, and run `oss-wsgi doctor --only callback`. In a page test for status 200, "
        "not for response.ok.",
        "CALLBACK",
    ),
    _row("EntityTooLarge", "The file is larger than the policy allows, or over 5 GB in a form.", _TOO_LARGE, "TROUBLE"),
    _row(
        "EntityTooSmall",
        "The file is smaller than the policy allows, or a part but the last than 100 KB.",
        _TOO_SMALL,
        "TROUBLE",
    ),
    _row("FieldItemTooLong", "A form field's name or value is too long.", _SHORTER, "TROUBLE"),
    _row(
        "FileAlreadyExists",
        "An object of that name exists, and the form or the PUT forbids overwriting it.",
        _EXISTS,
        "POST",
    ),
    _row(
        "FileImmutable", "A retention policy of the bucket protects the object.", "Use another object name.", "TROUBLE"
    ),
    _row(
        "IncompleteBody",
        "The body is shorter than its Content-Length.",
        "Look for a proxy or a time-out that cuts uploads off.",
        "TROUBLE",
    ),
    _row(
        "IncorrectNumberOfFilesInPOSTRequest",
        "The form holds more than one file.",
        "Send one form for each file.",
        "POST",
    ),
    _row(
        "InsufficientStorage",
        "The disk, or the quota, of the local OSS is full; nothing was stored. A real OSS never answers this.",
        "Make room in the folder of the local OSS (--local-dir), and upload again.",
        "TROUBLE",
    ),
    _row(
        "InternalError",
        "OSS itself failed.",
        "Try again. If the local OSS answered this, read the traceback in its log.",
        "TROUBLE",
    ),
    _row(
        "InvalidAccessKeyId",
        "The AccessKey ID is unknown or disabled, or it is a temporary one that expired or came without its token.",
        "Check the key in the RAM console. For a temporary key set OSS_SESSION_TOKEN too, or use a credentials "
        "provider that renews it.",
        "TROUBLE",
    ),
    _row(
        "InvalidArgument",
        "A form field or a callback parameter is invalid; ArgumentName says which.",
        f"Look up the EC number of the answer. {_FORM}",
        "TROUBLE",
    ),
    _row(
        "InvalidBucketName",
        "Invalid bucket name.",
        "Check OSS_BUCKET: 3 to 63 lower-case letters, digits and hyphens.",
        "TROUBLE",
    ),
    _row(
        "InvalidDigest",
        "The body does not match Content-MD5.",
        "Send no Content-MD5 with a form, or compute it over the whole body.",
        "TROUBLE",
    ),
    _row(
        "InvalidEncryptionAlgorithmError",
        "The form asks for an encryption that OSS does not have.",
        "Remove x-oss-server-side-encryption from the page's form.",
        "POST",
    ),
    _row(
        "InvalidObjectName",
        "The object name is empty, over 1,023 bytes, or begins with / or \\.",
        "Send `filename` with the request for the signature, and check OSS_UPLOAD_DIR.",
        "POST",
    ),
    _row(
        "InvalidPart",
        "A part of the multipart upload is missing or has another ETag.",
        "Upload that part again.",
        "TROUBLE",
    ),
    _row(
        "InvalidPartOrder",
        "The parts of the multipart upload are not in ascending order.",
        "Sort them by part number.",
        "TROUBLE",
    ),
    _row(
        "InvalidPolicyDocument",
        "The policy is malformed.",
        f"{_POLICY} Check a grant of your own for contradictions.",
        "POST",
    ),
    _row(
        "InvalidRange",
        "The object does not have the requested range of bytes.",
        "Request a range within its size.",
        "TROUBLE",
    ),
    _row("InvalidSecurityToken", "Malformed STS token.", _STS, "STS"),
    _row("MalformedPOSTRequest", "The form is malformed, or the file is missing or not last.", _FORM, "POST"),
    _row(
        "MalformedXML",
        "OSS cannot read the XML in the request.",
        "Let an SDK write it; for CORS rules use `oss-wsgi cors print`.",
        "TROUBLE",
    ),
    _row(
        "MaxPOSTPreDataLengthExceededError",
        "The fields before the file are over 8 MB in total.",
        f"{_FORM} {_SHORTER}",
        "POST",
    ),
    _row(
        "MethodNotAllowed",
        "The bucket's host received another method than it allows there.",
        "Use POST to send the form to `url`.",
        "TROUBLE",
    ),
    _row(
        "MissingContentLength",
        "The upload has no Content-Length.",
        "Send the form with a length, not in chunks.",
        "TROUBLE",
    ),
    _row("NoSuchBucket", "This endpoint has no such bucket.", _BUCKET, "TROUBLE"),
    _row(
        "NoSuchCORSConfiguration",
        "The bucket has no CORS rules, so pages cannot read OSS's answers.",
        _CORS,
        "CORS",
    ),
    _row(
        "NoSuchKey",
        "The object does not exist, or OSS read OSS_HOST's path as an object name.",
        "Check the name, OSS_BUCKET and OSS_HOST.",
        "TROUBLE",
    ),
    _row(
        "NoSuchLifecycle",
        "The bucket has no lifecycle rules, so parts that nobody finished stay in it.",
        "Add the rule: `oss-wsgi lifecycle apply`.",
        "TROUBLE",
    ),
    _row(
        "NoSuchUpload",
        "The multipart upload does not exist: it was completed or aborted, or never started.",
        "Start a new one.",
        "TROUBLE",
    ),
    _row(
        "NotImplemented",
        "OSS, or the local OSS, does not have this operation.",
        "Direct uploads need PostObject only; docs/reference/local-oss.md lists the operations of the local OSS.",
        "TROUBLE",
    ),
    _row(
        "NotModified",
        "The object has not changed since the named time, or still has the named ETag.",
        "Use the copy that you have.",
        "TROUBLE",
    ),
    _row(
        "PartAlreadyExist",
        "The upload is sequential, and a part of that number is stored already.",
        "List the parts and go on after the last one. Only `sequential` uploads refuse a second part of a number.",
        "TROUBLE",
    ),
    _row(
        "PartNotSequential",
        "The upload is sequential, and the part does not follow the last one that is stored.",
        "Send the parts one after the other, or begin the upload without `sequential`.",
        "TROUBLE",
    ),
    _row(
        "PreconditionFailed",
        "The object does not meet the request's If-Match or If-Unmodified-Since.",
        "Read the object again, and retry with its current ETag or time.",
        "TROUBLE",
    ),
    _row(
        "PublicEndpointForbidden",
        "The bucket accepts no uploads at the default domain (new accounts, since March 2025).",
        "Bind a domain of your own to the bucket, and set OSS_HOST to it.",
        "TROUBLE",
    ),
    _row(
        "RequestIsNotMultiPartContent",
        "The form was not sent as multipart/form-data.",
        "Send a FormData, and set no Content-Type yourself.",
        "TROUBLE",
    ),
    _row(
        "RequestTimeTooSkewed",
        "The signature's time is more than 15 minutes off OSS's clock.",
        _CLOCK,
        "TROUBLE",
    ),
    _row("SecurityTokenExpired", "The STS token has expired.", _STS_EXPIRED, "STS"),
    _row(
        "SignatureDoesNotMatch",
        "What was signed was changed (`policy`; in a signed URL its query, or a header, mostly Content-Type), or the "
        "secret does not belong to the AccessKey ID.",
        f"{_COMPARE} {_KEY}",
        "TROUBLE",
    ),
    _row(
        "SlowDown",
        "The bucket, or object names with the same beginning, received too many requests.",
        "Retry later and more slowly. Unique names already spread by day and at random.",
        "TROUBLE",
    ),
    # EC numbers of OSS.
    _row("0002-00000006", "Malformed STS token.", _STS, "STS"),
    _row("0002-00000007", "The STS token has expired.", _STS_EXPIRED, "STS"),
    _row(
        "0002-00000040",
        "The V1 signature in an Authorization header or a URL is wrong: another secret, or a changed request.",
        f"{_COMPARE} {_KEY}",
        "TROUBLE",
    ),
    _row("0002-00000069", "The signed URL has expired.", "Ask for a new one, and use it before `expire`.", "TROUBLE"),
    _row("0002-00000070", "The signed URL's Expires is not a Unix time.", "Let an SDK sign the URL.", "TROUBLE"),
    _row(
        "0002-00000076",
        "The signed URL has an empty x-oss-additional-headers.",
        "Leave the parameter out, or name headers in it.",
        "TROUBLE",
    ),
    _row(
        "0002-00000077",
        "The signed URL's x-oss-additional-headers names a header that the request does not have.",
        "Send the header with the value that was signed; content-length is the length of the body.",
        "TROUBLE",
    ),
    _row(
        "0002-00000201",
        "A request's V4 signature is wrong: another secret, another region, or a changed request.",
        f"{_COMPARE} {_KEY}",
        "V4",
    ),
    _row(
        "0002-00000209",
        "The Authorization header has an empty AdditionalHeaders.",
        "Leave the member out, or name headers in it.",
        "TROUBLE",
    ),
    _row(
        "0002-00000215",
        "The signed URL's x-oss-expires is not a number of seconds from 1 to 604800 (7 days).",
        "Sign a new one with fewer seconds: it is the URL's life, not a Unix time.",
        "TROUBLE",
    ),
    _row("0002-00000504", "The request's time is more than 15 minutes off OSS's clock.", _CLOCK, "TROUBLE"),
    _row("0002-00000701", "Unknown x-oss-signature-version.", _FIELD_CHANGED, "V4"),
    _row("0002-00000702", "The form is signed but has no policy.", _FIELD_CHANGED, "V4"),
    _row("0002-00000703", "The form has no signature.", _FIELD_CHANGED, "V4"),
    _row("0002-00000704", "The signature is empty.", _FIELD_CHANGED, "V4"),
    _row(
        "0002-00000705",
        "The signature is wrong: another secret, another region, or a policy changed after signing.",
        _KEY,
        "V4",
    ),
    _row("0002-00000706", "The form has a V1 signature but no OSSAccessKeyId.", _FIELD_CHANGED, "POST"),
    _row("0002-00000707", "The AccessKey ID is empty.", _KEY, "POST"),
    _row("0002-00000708", "Malformed AccessKey ID in x-oss-credential.", _KEY, "V4"),
    _row("0002-00000709", "The signature's date is malformed, or too far from today.", _CLOCK, "V4"),
    _row("0002-00000710", "x-oss-credential does not end in aliyun_v4_request.", _FIELD_CHANGED, "V4"),
    _row("0002-00000902", "Unknown AccessKey ID.", _KEY, "TROUBLE"),
    _row(
        "0003-00000001",
        "The key lacks the permission, or a bucket policy or RAM policy denies it.",
        "Grant the RAM user oss:PutObject on acs:oss:*:*:BUCKET/DIR/*, and check that no policy denies it.",
        "TROUBLE",
    ),
    _row("0003-00000601", "The bucket has no CORS rules.", _CORS, "CORS"),
    _row(
        "0003-00000602",
        "No CORS rule matches the page's origin, method and headers.",
        "Run `oss-wsgi cors diff`, which shows what is missing.",
        "CORS",
    ),
    _row("0006-00000003", "The file is larger than the policy allows, or over 5 GB.", _TOO_LARGE, "POST"),
    _row("0006-00000004", "The file is smaller than the policy allows.", _TOO_SMALL, "POST"),
    _row(
        "0006-00000104",
        "The form has no file, the file is not last, or the body was cut off.",
        "Append the file after all fields, and look for a proxy that cuts uploads off.",
        "POST",
    ),
    _row("0006-00000107", "The form has no field `file`.", "Append the file under the name `file`.", "POST"),
    _row("0006-00000110", "A form field's name or value is too long.", _SHORTER, "POST"),
    _row("0006-00000112", "The fields before the file are over 8 MB in total.", _SHORTER, "POST"),
    _row("0006-00000117", "x-oss-forbid-overwrite is neither true nor false.", _FIELD_CHANGED, "POST"),
    _row("0006-00000201", "The policy is invalid.", _POLICY, "POST"),
    _row("0006-00000202", "The policy is not Base64.", _POLICY, "POST"),
    _row("0006-00000204", "The policy is not JSON.", _POLICY, "POST"),
    _row("0006-00000205", "The policy is missing or blank.", _POLICY, "POST"),
    _row("0006-00000206", "The policy has members besides expiration and conditions.", _POLICY, "POST"),
    _row("0006-00000207", "The policy has no conditions.", _POLICY, "POST"),
    _row("0006-00000208", "The policy has no expiration.", _POLICY, "POST"),
    _row("0006-00000209", "The policy has neither expiration nor conditions.", _POLICY, "POST"),
    _row("0006-00000210", "The policy's expiration is not a text.", _POLICY, "POST"),
    _row("0006-00000211", "The policy's expiration is empty.", _POLICY, "POST"),
    _row("0006-00000212", "The policy's expiration is not ISO 8601 in UTC.", _POLICY, "POST"),
    _row(
        "0006-00000213",
        "The policy has expired.",
        "Get a fresh signature before each upload, raise OSS_UPLOAD_EXPIRES for slow users, and check the clock: "
        "`oss-wsgi doctor --only clock`.",
        "POST",
    ),
    _row("0006-00000214", "The policy's conditions are not a list.", _POLICY, "POST"),
    _row("0006-00000215", "The policy's list of conditions is empty.", _POLICY, "POST"),
    _row("0006-00000216", "A condition of the policy has no operator.", _POLICY, "POST"),
    _row("0006-00000217", "A condition of the policy has an unknown operator.", _POLICY, "POST"),
    _row("0006-00000218", "A condition of the policy has the wrong number of items.", _POLICY, "POST"),
    _row(
        "0006-00000219",
        "The policy's size range ends before it begins.",
        "Set the grant's min_size to no more than its max_size.",
        "POST",
    ),
    _row("0006-00000221", "The policy's size range does not hold whole numbers.", _POLICY, "POST"),
    _row("0006-00000222", "A condition of the policy is neither an object nor a list.", _POLICY, "POST"),
    _row("0006-00000224", "A value in a condition of the policy has the wrong type.", _POLICY, "POST"),
    _row(
        "0006-00000226",
        "The form lacks a field that the policy requires; the message names it.",
        "Send every field of `fields`: the page or a proxy dropped that one.",
        "POST",
    ),
    _row(
        "0006-00000227",
        "A field does not match the policy; the message quotes the condition.",
        "Send `fields` unchanged. `$key`: another name or prefix than granted. `$callback`: a changed callback. "
        "`$content-type`: the file has another type than the one requested.",
        "POST",
    ),
    _row(
        "0006-00000228",
        "The form has a signing field that the policy does not name.",
        "Send the fields of one signature only; do not mix two.",
        "V4",
    ),
    _row(
        "0007-00000001",
        "The callback is over 5 KB after Base64.",
        "Shorten the URLs, the variables, or the grant's user and data.",
        "CALLBACK",
    ),
    _row("0007-00000002", "The callback is not Base64.", _FIELD_CHANGED, "CALLBACK"),
    _row("0007-00000003", "The callback is not JSON.", _FIELD_CHANGED, "CALLBACK"),
    _row("0007-00000004", "OSS does not accept the callback URL.", _CALLBACK_URL, "CALLBACK"),
    _row("0007-00000005", "The callback has more than five URLs.", _CALLBACK_URL, "CALLBACK"),
    _row(
        "0007-00000007",
        "The callback URL's host name does not resolve.",
        "Publish the name in the public DNS.",
        "CALLBACK",
    ),
    _row(
        "0007-00000008",
        "The callback URL's host has a private address.",
        "Use a public name, because OSS calls public addresses only. For development use a tunnel or the local OSS.",
        "CALLBACK",
    ),
    _row("0007-00000009", "callbackHost is not a host.", _FIELD_CHANGED, "CALLBACK"),
    _row("0007-00000010", "The callback body is invalid.", _FIELD_CHANGED, "CALLBACK"),
    _row("0007-00000011", "The callback body is empty.", _FIELD_CHANGED, "CALLBACK"),
    _row("0007-00000012", "callbackBodyType is invalid.", _FIELD_CHANGED, "CALLBACK"),
    _row("0007-00000013", "OSS does not support this callbackBodyType.", _FIELD_CHANGED, "CALLBACK"),
    _row("0007-00000014", "callbackSNI is not a boolean.", _FIELD_CHANGED, "CALLBACK"),
    _row(
        "0007-00000027",
        "The callback came both in a header and in the form.",
        "Send it in the form only.",
        "CALLBACK",
    ),
    _row("0007-00000101", "callback-var is too long.", _NO_CALLBACK_VAR, "CALLBACK"),
    _row("0007-00000102", "callback-var is not Base64.", _NO_CALLBACK_VAR, "CALLBACK"),
    _row("0007-00000103", "callback-var is not JSON.", _NO_CALLBACK_VAR, "CALLBACK"),
    _row(
        "0007-00000202",
        "The application took longer than 5 seconds to answer; the file is stored.",
        f"Do slow work after the answer. {_CALLBACK}",
        "CALLBACK",
    ),
    _row(
        "0007-00000203",
        "The application did not answer 200, or could not be reached; the file is stored.",
        "`Error status : 403`: read the reason and the fix in the application's log. `502`: check TLS and SNI. `-1`: "
        f"no connection, or no answer within 5 seconds. {_CALLBACK}",
        "CALLBACK",
    ),
    _row(
        "0007-00000205",
        "The application's answer is not JSON; the file is stored.",
        "Answer JSON without a BOM, and check that no proxy replaces the answer with a page of its own.",
        "CALLBACK",
    ),
    _row("0015-00000101", "This endpoint has no such bucket.", _BUCKET, "TROUBLE"),
    _row("0015-00000104", "You or somebody else already has a bucket of that name.", _BUCKET_NAME_TAKEN, "TROUBLE"),
    _row("0015-00000301", "The bucket holds objects or unfinished multipart uploads.", _BUCKET_NOT_EMPTY, "TROUBLE"),
    _row("0026-00000001", "The object does not exist.", "Check the name, OSS_BUCKET and OSS_HOST.", "TROUBLE"),
    _row("0026-00000121", "An object of that name exists, and the upload forbids overwriting it.", _EXISTS, "POST"),
    _row(
        "0034-00000006",
        "The bucket already has the maximum number of CORS rules.",
        "Merge rules or remove old ones.",
        "CORS",
    ),
    _row(
        "0034-00000009",
        "OSS does not accept an origin of the CORS rule.",
        "Write scheme://host[:port] with at most one *, which must not stand for the whole host.",
        "CORS",
    ),
    _row("0034-00000013", "An exposed header of the CORS rule contains a *.", "List each header by name.", "CORS"),
    _row("0034-00000101", "The preflight has no Origin.", _PREFLIGHT, "CORS"),
    _row("0034-00000102", "The preflight has no Access-Control-Request-Method.", _PREFLIGHT, "CORS"),
    _row(
        "0042-00000002",
        "The multipart upload does not exist: it was completed or aborted, or never started.",
        "Start a new one.",
        "TROUBLE",
    ),
    _row(
        "0042-00000216",
        "A request that completes an upload in parts has x-oss-complete-all, and a body too.",
        "Leave the body out, or the header.",
        "TROUBLE",
    ),
    # Reasons in this application's log.
    _row(
        "anonymous",
        "Nobody may upload yet.",
        "Pass an authorize callable to DirectUpload, or set OSS_ALLOW_ANONYMOUS=on.",
        "endpoints.gate",
    ),
    _row(
        "authorization_malformed",
        "The callback's Authorization header is not one Base64 text.",
        _HEADER_LOST,
        "callback.verifier",
    ),
    _row(
        "authorization_missing",
        "The callback's Authorization header did not reach the application.",
        _HEADER_LOST,
        "callback.verifier",
    ),
    _row(
        "authorize_failed",
        "authorize raised an exception, or returned neither a Grant nor None.",
        f"Fix your authorize callable. {_TRACEBACK}",
        "endpoints.gate",
    ),
    _row(
        "body_malformed",
        "The callback's body does not match its content type.",
        "Record a callback with CallbackRecorder, and run `oss-wsgi verify` on it.",
        "callback.upload",
    ),
    _row("body_too_large", "The callback's body is over 64 KiB.", _FORGED, "wsgi.environ"),
    _row(
        "body_truncated",
        "The body is shorter than its Content-Length.",
        "Look for a proxy or a time-out that cuts the connection.",
        "wsgi.environ",
    ),
    _row(
        "bucket_failed",
        "The SDK that asks the bucket failed in an unexpected way.",
        "Read the hint in the log, and check the version of alibabacloud-oss-v2.",
        "sdk.bucket",
    ),
    _row(
        "bucket_foreign",
        "The callback names another bucket, or none.",
        "Check OSS_BUCKET. If it is right, somebody else sent the callback.",
        "middleware.callback_guard",
    ),
    _row(
        "bucket_refused",
        "OSS refused what the bucket was asked, so nobody knows now what it holds.",
        "Grant the access key the right that the hint names: oss:GetObject to recover, oss:ListObjects too to sweep.",
        "sdk.bucket",
    ),
    _row(
        "bucket_unreachable",
        "OSS did not answer what the bucket was asked, or answered 5xx.",
        "Allow the server to reach OSS; page, sweep and event consumer ask again.",
        "sdk.bucket",
    ),
    _row(
        "confirm_failed",
        "The confirm callable raised an unexpected error, or did not return True or False.",
        "Read the error in the log. Fix your own confirm callable; for SDKConfirmation check the SDK's version and the "
        "settings.",
        "callback.confirm",
        "sdk.confirmation",
    ),
    _row(
        "confirmation_refused",
        "OSS did not let the application's key look up the object.",
        "Grant the key oss:GetObject.",
        "sdk.confirmation",
    ),
    _row("content_length_malformed", "The callback's Content-Length is not a number.", _FORGED, "wsgi.environ"),
    _row(
        "content_type_malformed",
        "The requested content_type is not a media type, or came twice.",
        "Send one such as image/png, or leave it out.",
        "endpoints.signature",
        "signing.presigner",
    ),
    _row(
        "content_type_not_allowed",
        "The grant does not allow the requested content type.",
        "Tell the user which types are allowed, or add the type to OSS_UPLOAD_CONTENT_TYPES or to the grant's "
        "content_types.",
        "signing.presigner",
    ),
    _row(
        "content_type_required",
        "A PUT (method=put) was asked for without the file's type.",
        "Send `content_type`: file.type, or application/octet-stream where it is empty.",
        "signing.presigner",
    ),
    _row(
        "crc64_mismatch",
        "OSS joined something else than the parts that it had listed.",
        "Send the file again, and report the request ID to Alibaba Cloud.",
        "ledger.base",
    ),
    _row(
        "credentials_unavailable",
        "No access key is available now.",
        "Check the credentials provider: `oss-wsgi doctor --only credentials`.",
        "sdk.bucket",
        "sdk.confirmation",
        "endpoints.gate",
    ),
    _row(
        "event_malformed",
        "The message is not an event of OSS, or does not name event, bucket and object.",
        "Check the queue's rule, or the target's format: the whole event must arrive, as JSON or its Base64.",
        "recovery.events",
    ),
    _row(
        "file_exists",
        "There is an object of the upload's name, and the grant forbids to overwrite it.",
        "Let the server make the names (OSS_UPLOAD_NAMES=unique), or set forbid_overwrite=False.",
        "parts.uploads",
    ),
    _row(
        "filename_malformed",
        "The requested filename cannot become an object name, or came twice.",
        "Send the bare name of the file; the answer says what is wrong with this one.",
        "endpoints.signature",
        "signing.presigner",
    ),
    _row(
        "filename_required",
        "The grant, or a PUT, is for named files only.",
        "Send `filename` with the request.",
        "signing.presigner",
        "endpoints.multipart",
    ),
    _row(
        "grant_refused",
        "The grant from authorize contradicts itself or the settings.",
        "Fix the grant; the hint in the log names the contradiction.",
        "endpoints.gate",
    ),
    _row(
        "handler_committed",
        "The handler committed or rolled back by itself, before its answer was stored, or left an error: OSS gets 500.",
        "Leave commit and rollback out of the handler: the ledger commits both together. Put a savepoint around what "
        "may fail.",
        "ledger.sql",
        "ledger.transactional",
    ),
    _row(
        "handler_failed",
        "on_upload raised an exception, or returned neither a dict nor None; OSS is answered 500.",
        f"Fix your on_upload callable. {_TRACEBACK}",
        "endpoints.callback",
    ),
    _row(
        "key_malformed",
        "A request about an upload in parts does not name its object, or names several.",
        "Send ?key=KEY, as it was answered when the upload began.",
        "endpoints.multipart",
    ),
    _row(
        "key_unavailable",
        "The public key is not available, so the callback cannot be verified.",
        "Allow the server to reach https://gosspublic.alicdn.com, or pin the key with OSS_TRUSTED_KEYS.",
        "callback.public_keys",
    ),
    _row(
        "known_failed",
        "The application's known= raised, or returned no pairs, so nobody can tell what was handled.",
        "Read the traceback in the log: known= gets pairs of object and ETag, and returns those that it knows.",
        "recovery.sweep",
    ),
    _row(
        "ledger_busy",
        "Another request still handles the same upload, and one waits for it already, or this one may not wait.",
        "A page asks again by itself. Of a callback, find out in the log why that one takes so long, or which process "
        "died; OSS does not repeat callbacks.",
        "ledger.base",
        "ledger.redis",
    ),
    _row(
        "ledger_unavailable",
        "The ledger cannot be used.",
        "Check the file that OSS_LEDGER names, its folder, the disk and the permissions; or that its server answers. "
        "After a COMMIT without an answer nothing is to be done: the next report, or a sweep, finds the truth.",
        "ledger.redis",
        "ledger.sqlite",
        "ledger.transactional",
    ),
    _row(
        "length_required",
        "The callback has no Content-Length.",
        "Let the proxy in front buffer requests: it sends the body in chunks.",
        "wsgi.environ",
    ),
    _row(
        "member_repeated",
        "The callback's body names a member twice.",
        "Nothing to do: this application's forms do not produce such a callback.",
        "callback.upload",
    ),
    _row(
        "method_malformed",
        "The requested method is neither post nor put, or came twice.",
        "Send method=put for a PUT; leave it out for a form.",
        "endpoints.signature",
    ),
    _row(
        "method_not_allowed",
        "The path does not allow this method.",
        "Use the method that the Allow header names. OSS posts its callbacks; browsers post forms to OSS.",
        "wsgi.responses",
    ),
    _row(
        "multipart_malformed",
        "The body of a request about an upload in parts is not the JSON that it must be.",
        "Send what docs/reference/http.md describes; Uppy does so by itself.",
        "endpoints.multipart",
    ),
    _row(
        "multipart_failed",
        "Your bucket_client, or with forward_callback your view, raised an exception during an upload in parts.",
        f"Fix it: the client may ask again. {_TRACEBACK}",
        "endpoints.multipart",
    ),
    _row(
        "multipart_off",
        "A page asks for an upload in parts, and they are off.",
        "Set OSS_MULTIPART=on, and install oss-wsgi[sdk].",
        "endpoints.multipart",
    ),
    _row(
        "not_authorized",
        "authorize refused.",
        "Check in your authorize callable why it refuses this user.",
        "endpoints.gate",
    ),
    _row(
        "not_configured",
        "No bucket is configured.",
        "Set OSS_BUCKET, OSS_REGION and the key: `oss-wsgi doctor --only settings`.",
        "site",
    ),
    _row(
        "not_confirmed",
        "OSS does not hold the object as reported, or the report says too little to compare.",
        "Read the hint in the log; if it names nothing that your callback body lacks, the report is false.",
        "callback.confirm",
        "sdk.confirmation",
    ),
    _row(
        "not_delivered",
        "An event named an upload that the application did not accept now.",
        "Let the message come again: do not delete it. The log before tells the cause.",
        "recovery.reconciler",
    ),
    _row(
        "not_found",
        "Nothing is served at this path.",
        "Check the path and the prefix of the endpoints.",
        "wsgi.responses",
    ),
    _row(
        "not_guarded",
        "The request carries no upload that CallbackGuard verified, or no ticket where one is needed.",
        "Wrap the application that the hint names in CallbackGuard, with `tickets=` if the hint says so.",
        "endpoints.callback",
        "middleware.confirmation",
        "middleware.once",
    ),
    _row(
        "not_signed",
        "The form could not be signed, and the browser is not the cause.",
        "Read the cause in the log's hint.",
        "endpoints.gate",
    ),
    _row(
        "not_stored",
        "OSS holds no object of this name, or no such upload in parts.",
        "Nothing to do: the file may be sent again.",
        "recovery.recovery",
        "sdk.bucket",
    ),
    _row(
        "name_unreachable",
        "Nobody can ask OSS for an object of this name: a part of it is `.` or `..`, or OSS refuses the name.",
        "No form with an exact name stores such an object. Delete it with a tool that lists, or leave it.",
        "recovery.sweep",
    ),
    _row(
        "not_yours",
        "The object has no receipt of the ticket that asks for it, or OSS reported it with another ticket.",
        "Check whether OSS_RECEIPTS was off, or a prefix form stored it. Otherwise somebody asks for another object.",
        "middleware.once",
        "recovery.recovery",
    ),
    _row(
        "origin_foreign",
        "A page of another origin requested a signature.",
        "If that page may upload, list its origin in OSS_ALLOWED_ORIGINS.",
        "endpoints.gate",
    ),
    _row(
        "oss_unreachable",
        "OSS did not answer whether it holds the object.",
        'Allow the server to reach OSS, or use SDKConfirmation(when_unreachable="accept").',
        "sdk.confirmation",
    ),
    _row(
        "part_not_allowed",
        "A page asked for the URL of a part that a file of the allowed size cannot have.",
        "Cut the file by the part_size that the answer to the beginning names; otherwise somebody tries a ticket.",
        "parts.uploads",
    ),
    _row(
        "part_size_malformed",
        "The part_size is no number of bytes from 100 KB to 5 GB.",
        "Leave it out, or send one in these limits.",
        "parts.uploads",
        "endpoints.multipart",
    ),
    _row(
        "part_too_small",
        "A part that is not the last has less than 100 KB, which OSS does not join.",
        "Send larger parts.",
        "parts.uploads",
    ),
    _row(
        "parts_mismatch",
        "The ID of an upload in parts came with another object's name than its own, or to the application of another "
        "bucket.",
        "Send the key and the uploadId of one answer, to the server that gave it; if the page does, somebody tries "
        "tickets.",
        "parts.uploads",
    ),
    _row(
        "parts_missing",
        "The parts that a page has sent are not those that OSS lists.",
        "Nothing to do: the page lists the parts and sends what is missing. A part of another tab counts as different.",
        "parts.uploads",
    ),
    _row(
        "parts_size",
        "The parts have another size together than the grant or the page's own size allows; they were removed.",
        "Tell the user the limit. If the page checks it, somebody sent more than was allowed.",
        "parts.uploads",
    ),
    _row(
        "pub_key_url_malformed",
        "The x-oss-pub-key-url header is not one Base64 text.",
        _HEADER_LOST,
        "callback.verifier",
    ),
    _row(
        "pub_key_url_missing",
        "The x-oss-pub-key-url header did not reach the application.",
        "Let proxies pass all headers. If they do, the request is not a callback of OSS.",
        "callback.verifier",
    ),
    _row(
        "pub_key_url_untrusted",
        "The callback names no key that is trusted here.",
        "For a stand-in of OSS set OSS_TRUSTED_KEYS. Otherwise the callback is forged.",
        "callback.public_keys",
        "callback.verifier",
    ),
    _row(
        "query_malformed",
        "The query of the request is not percent-encoded UTF-8, has too many parameters, or is over 16 KiB.",
        "Build it with URLSearchParams.",
        "wsgi.environ",
        "endpoints.multipart",
    ),
    _row(
        "rate_limit_failed",
        "rate_limit raised an exception, or returned neither None nor seconds.",
        f"Fix your rate_limit callable. {_TRACEBACK}",
        "endpoints.gate",
    ),
    _row(
        "receipt_altered",
        "The object's receipt was changed, or is not a receipt.",
        "Check who else may write into the bucket.",
        "callback.ticket",
    ),
    _row(
        "receipt_expired",
        "The object's receipt is older than OSS_LEDGER_KEEP.",
        "Look at the object yourself: nobody knows whether it was handled. Raise OSS_LEDGER_KEEP to look back further.",
        "callback.ticket",
    ),
    _row(
        "receipt_foreign",
        "The object's receipt was sealed with another secret.",
        "Keep former secrets in OSS_TICKET_SECRET for as long as sweeps look back.",
        "callback.ticket",
    ),
    _row(
        "receipt_missing",
        "The object has no receipt, so nobody knows whose it is.",
        "Request a signature for each file name, with OSS_RECEIPTS=on. Objects that are no uploads have none.",
        "callback.ticket",
    ),
    _row(
        "recover_malformed",
        "The body of a request to recover an upload is not the JSON that it must be.",
        "Send the members ticket (the ticket, or the form's callback field) and object (the key), as JSON.",
        "endpoints.recover",
    ),
    _row(
        "recover_mismatch",
        "A page asked for another object than its ticket is for.",
        "Send the key of the form that the ticket came with; if the page does, somebody tries tickets.",
        "recovery.recovery",
    ),
    _row(
        "repeated",
        "The same callback came again; it got the stored answer and was not handled again.",
        "Nothing to do.",
        "middleware.once",
    ),
    _row(
        "signature_wrong",
        "The signature does not match the path, query and body as they arrived.",
        "Record a callback with CallbackRecorder; `oss-wsgi verify` finds out what changed on its way.",
        "callback.verifier",
    ),
    _row(
        "size_malformed",
        "The requested size is not a number of bytes, or came twice.",
        "Send file.size, or leave it out.",
        "endpoints.signature",
        "endpoints.multipart",
    ),
    _row(
        "size_not_allowed",
        "The grant does not allow the requested size.",
        "Tell the user the limit, or change OSS_UPLOAD_MAX_SIZE or the grant's sizes.",
        "signing.presigner",
    ),
    _row(
        "size_required",
        "A PUT (method=put) was asked for without the file's size.",
        "Send `size`: file.size, in bytes.",
        "signing.presigner",
    ),
    _row(
        "slots_taken",
        "As many requests of browsers hold a thread as may, or two of this ticket, user or address.",
        "Nothing to do where it passes: the page asks again. Where it comes often, give the server more threads, and "
        "behind a proxy each grant a user.",
        "endpoints.slots",
    ),
    _row(
        "sweep_running",
        "Another thread, process or machine sweeps already.",
        "Wait for its end; if it hangs, end it, and the next sweep goes on.",
        "ledger.base",
    ),
    _row(
        "ticket_altered",
        "The ticket was changed after it was issued.",
        "Check that your callback body template carries it whole. If it does, somebody changed the ticket.",
        "callback.ticket",
    ),
    _row(
        "ticket_expired",
        "The ticket has expired: it is valid for the signature's life and 12 hours more.",
        "If uploads are fresh, check the clock: `oss-wsgi doctor --only clock`.",
        "callback.ticket",
    ),
    _row(
        "ticket_foreign",
        "The ticket was sealed with another secret.",
        "Set the same OSS_TICKET_SECRET in all processes. To rotate it, set OLD,NEW everywhere, then NEW,OLD.",
        "callback.ticket",
    ),
    _row(
        "ticket_mismatch",
        "The ticket does not allow the reported bucket, object, size or type, or a found object is of another upload.",
        "Check whether the page sends another x-oss-content-type. Otherwise somebody misuses a ticket or a receipt.",
        "callback.ticket",
    ),
    _row(
        "ticket_missing",
        "The callback has no ticket: this application did not sign the upload.",
        "Check whether something else signs for the bucket with this callback URL. If not, the callback is forged.",
        "callback.ticket",
    ),
    _row(
        "ticket_used",
        "The ticket was already used for another object, or for another content of one that cannot be overwritten; a "
        "ticket without an exact name was used for as many objects as Grant(max_objects=...) allows.",
        "Request one signature for each file. If a page sends many files with one form, raise max_objects.",
        "ledger.base",
    ),
    _row(
        "too_many_requests",
        "The user or address exceeded the rate limit.",
        "Check rate_limit. Behind a proxy, REMOTE_ADDR may be the proxy's address.",
        "endpoints.gate",
    ),
    _row(
        "upload_gone",
        "OSS has neither the upload in parts nor its object.",
        "Begin again; it was aborted, removed by the lifecycle rule, or its object was deleted.",
        "parts.uploads",
    ),
    _row(
        "upload_unsettled",
        "OSS did not answer when it was told to join an upload's parts, and shows no object yet.",
        "Nothing to do: the page asks again, and within a minute the object is there or the upload is gone.",
        "parts.uploads",
    ),
    _row(
        "failed",
        "The application did not accept an upload that a sweep handed it.",
        "Read the traceback in the log; the next sweep tries again.",
        "SWEEP",
    ),
    _row(
        "foreign",
        "The object's receipt was altered, has expired, or was sealed with another secret.",
        "The sweep's `reasons` say which; explain that one.",
        "SWEEP",
    ),
    _row("gone", "The object was deleted between the sweep's listing and its HEAD.", "Nothing to do.", "SWEEP"),
    _row("known", "The ledger or the application knows the upload: it was handled before.", "Nothing to do.", "SWEEP"),
    _row(
        "no_receipt",
        "The object carries no receipt: a form without a file name stored it, or it is not an upload.",
        "Request a signature for each file name, with OSS_RECEIPTS=on, or look at the samples yourself. A prefix of "
        "its own for other objects keeps them out of the sweep.",
        "SWEEP",
    ),
    _row("recovered", "The sweep handed the upload to the application, which accepted it.", "Nothing to do.", "SWEEP"),
    _row(
        "refused",
        "Ticket, ledger, `confirm` or the CRC of its parts does not allow the application to get this upload.",
        "The sweep's `reasons` say why; explain that one. `on_orphan` gets the upload, once.",
        "SWEEP",
    ),
    _row("settled", "An earlier sweep refused the object, and told `on_orphan` then.", "Nothing to do.", "SWEEP"),
    _row(
        "unavailable",
        "OSS or the ledger could not be asked about the object.",
        "The sweep's `reasons` say which; the next sweep tries again.",
        "SWEEP",
    ),
    _row(
        "untold",
        "The application has not heard of the upload; a sweep without --dry-run would hand it over.",
        "Run the sweep without --dry-run.",
        "SWEEP",
    ),
)

BY_CODE = {row.code.lower(): row for row in TABLE}

# As logs, OSS's documents and these commands write a code.
_WRITTEN_CODE = re.compile(r"\(?(?:ec[\s:=]*(?=[0-9])|(?:reason|code)[\s:=]+)?([a-z0-9_.-]+?)[.,;]?\)?")


def find(code: str) -> Explanation | None:
    """Return the row of a code, in any case, alone or as in `(EC 0006-00000213)` and `reason=ticket_foreign`."""
    written = _WRITTEN_CODE.fullmatch(code.strip().lower())
    return BY_CODE.get(written[1]) if written else None


def see_also(refusal: OSSRefusal) -> str:
    """Return a sentence that says where a refusal is explained: in the table if it has a row; "" where nowhere."""
    for code in (refusal.ec, refusal.code):
        if code and find(code) is not None:
            return f"For more run `oss-wsgi explain {code}`."
    if refusal.ec:
        return f"For more see {EC_PAGE}{refusal.ec}."
    return f"See {refusal.code} in the help of OSS." if refusal.code else ""
