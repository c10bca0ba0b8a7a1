"""The table of HTTP statuses: what each means by who sent it, and what to do (protocol.md 2.5, protocol.md 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OSS = "OSS"
APPLICATION = "this application"
FRONT = "a server in front"

_LOG = "Find the line `refused: status={}` in the application's log, and run `oss-wsgi explain` on it."
_CODE = "Run `oss-wsgi explain` on the whole answer: its code and its EC number say why."
_LATER = "Try again later."


@dataclass(frozen=True)
class StatusRow:
    """What one status means from one sender."""

    status: int
    sender: str
    meaning: str
    fix: str


def _rows(status: int, *entries: tuple[str, str, str]) -> tuple[StatusRow, ...]:
    return tuple(StatusRow(status, sender, meaning, fix) for sender, meaning, fix in entries)


STATUSES = (
    *_rows(
        200,
        (
            OSS,
            "The file is stored. With a callback the body is the application's own answer.",
            "Nothing to do. A page that needs the callback's answer tests for 200, not for response.ok.",
        ),
        (
            APPLICATION,
            "The signature, or the callback, was handled.",
            "Nothing to do.",
        ),
    ),
    *_rows(
        201,
        (OSS, "The file is stored; the form asked for this status by success_action_status.", "Nothing to do."),
    ),
    *_rows(
        203,
        (
            OSS,
            "The file is stored, but the application was not told: the callback failed. The body is an error in XML.",
            "Read its message and EC number with `oss-wsgi explain`, and run `oss-wsgi doctor --only callback`. In a "
            "page test for status 200, because response.ok is true for 203.",
        ),
    ),
    *_rows(
        204,
        (
            OSS,
            "The file is stored. The form had no callback, so the body is empty.",
            "Nothing to do. If the application should be told, set OSS_CALLBACK_URL where it runs.",
        ),
        (APPLICATION, "The answer to a preflight or to OPTIONS.", "Nothing to do."),
    ),
    *_rows(
        206,
        (OSS, "A part of an object, as Range asked for.", "Nothing to do."),
    ),
    *_rows(
        301,
        (
            OSS,
            "The bucket is at another endpoint, or a rule of its static website redirects.",
            "Set OSS_REGION, or OSS_HOST, to the bucket's own: `oss-wsgi doctor --only region`.",
        ),
        (
            FRONT,
            "It moves the request to another URL, often from http to https. OSS does not follow redirects.",
            "Set OSS_CALLBACK_URL to the final URL: `oss-wsgi doctor --only callback` shows it.",
        ),
    ),
    *_rows(
        302,
        (
            FRONT,
            "It sends the request elsewhere, often to a login. OSS does not follow redirects.",
            "Exempt the callback's path from the login: `oss-wsgi doctor --only callback`.",
        ),
    ),
    *_rows(
        303,
        (OSS, "The file is stored; the form asked for a redirect by success_action_redirect.", "Nothing to do."),
        (FRONT, "It sends the request elsewhere. OSS does not follow redirects.", "Exempt the callback's path."),
    ),
    *_rows(
        304,
        (OSS, "The object has not changed since the named time, or still has the named ETag.", "Use your copy."),
        (APPLICATION, "The page's file has not changed.", "Nothing to do."),
    ),
    *_rows(
        307,
        (
            OSS,
            "The bucket is at another endpoint.",
            "Set OSS_REGION, or OSS_HOST, to the bucket's own: `oss-wsgi doctor --only region`.",
        ),
        (
            FRONT,
            "It moves the request to another URL, often from http to https. OSS does not follow redirects.",
            "Set OSS_CALLBACK_URL to the final URL: `oss-wsgi doctor --only callback` shows it.",
        ),
    ),
    *_rows(
        308,
        (
            FRONT,
            "It moves the request to another URL, often from http to https. OSS does not follow redirects.",
            "Set OSS_CALLBACK_URL to the final URL: `oss-wsgi doctor --only callback` shows it.",
        ),
    ),
    *_rows(
        400,
        (
            OSS,
            "The form is malformed, its policy or callback is invalid, or the file is too large or too small "
            "(EntityTooLarge, EntityTooSmall).",
            _CODE,
        ),
        (
            APPLICATION,
            "A parameter of the signature request, or the callback's body, is malformed.",
            f"The answer says which parameter. For a callback: {_LOG.format(400)}",
        ),
    ),
    *_rows(
        401,
        (
            APPLICATION,
            "The authorize callable wants a login.",
            "Log in first, and send the session's cookie: `oss-wsgi upload --headers-from FILE`.",
        ),
        (
            FRONT,
            "It asks for a password.",
            "Exempt the callback's path from it (AuthType None, auth_basic off), for OSS has none.",
        ),
    ),
    *_rows(
        403,
        (
            OSS,
            "The policy has expired or does not allow the form, the signature or the key is wrong, the key lacks a "
            "right, or no CORS rule allows the page.",
            _CODE,
        ),
        (
            APPLICATION,
            "The authorize callable refused, a page of another site asked, the grant does not cover the file, or a "
            "callback is not verified: no trusted signature, or no ticket of this application.",
            _LOG.format(403),
        ),
    ),
    *_rows(
        404,
        (
            OSS,
            "There is no such bucket at this endpoint, or no such object.",
            "Check OSS_BUCKET, OSS_REGION and OSS_HOST: `oss-wsgi doctor --only bucket`.",
        ),
        (
            APPLICATION,
            "Nothing is served at this path.",
            "Check the path and the prefix: the endpoints are below `/oss`, unless `--prefix` or `prefix=` says else.",
        ),
        (
            FRONT,
            "It does not pass this path on.",
            "Pass the whole prefix to the application: `oss-wsgi doctor --only callback --only signature`.",
        ),
    ),
    *_rows(
        405,
        (OSS, "The address takes no such request; forms are posted to the bucket's root.", "Send the form to `url`."),
        (
            APPLICATION,
            "The path does not allow this method: the signature takes GET, the callback POST.",
            "Use the method that the Allow header names; a redirect on the way can turn POST into GET.",
        ),
    ),
    *_rows(
        408,
        (
            APPLICATION,
            "The request did not arrive in time.",
            "Raise --header-timeout or --body-timeout if the clients are slow; else look for the network's fault.",
        ),
    ),
    *_rows(
        409,
        (
            OSS,
            "An object of that name exists and the form forbids overwriting it, or a retention policy protects it.",
            "Keep OSS_UPLOAD_NAMES=unique, or allow overwriting with Grant(forbid_overwrite=False).",
        ),
        (
            APPLICATION,
            "The ticket of this callback was used already, for another object or another content (ticket_used).",
            "Request one signature for each file.",
        ),
    ),
    *_rows(
        411,
        (OSS, "The upload has no Content-Length.", "Send the form with a length, not in chunks."),
        (
            APPLICATION,
            "The callback has no Content-Length (length_required).",
            "Let the proxy in front buffer requests: it sends the body in chunks.",
        ),
    ),
    *_rows(
        412,
        (
            OSS,
            "The object does not meet the request's If-Match or If-Unmodified-Since.",
            "Read the object again, and retry with its current ETag or time.",
        ),
    ),
    *_rows(
        413,
        (
            APPLICATION,
            "The callback's body is over 64 KiB (body_too_large).",
            "Nothing to do: OSS does not send such callbacks, so somebody else did.",
        ),
        (
            FRONT,
            "Its limit for bodies is too low.",
            "Raise it: nginx `client_max_body_size 1m;`, Apache `LimitRequestBody 1048576`. Files do not pass there.",
        ),
    ),
    *_rows(
        416,
        (OSS, "The object does not have the requested range of bytes.", "Request a range within its size."),
    ),
    *_rows(
        429,
        (
            APPLICATION,
            "The user or address exceeded rate_limit (too_many_requests).",
            "Wait as long as Retry-After says, or raise the limit. Behind a proxy, REMOTE_ADDR may be the proxy's "
            "address, the same for all.",
        ),
        (FRONT, "It limits requests by itself.", "Raise its limit (nginx `limit_req`), or ask more slowly."),
    ),
    *_rows(
        431,
        (
            APPLICATION,
            "The request's header is over 32 KiB.",
            "Find out what adds to it; often there are too many cookies.",
        ),
    ),
    *_rows(
        500,
        (OSS, "OSS itself failed (InternalError).", f"{_LATER} If the local OSS answered this, read its log."),
        (
            APPLICATION,
            "A callable of the application failed: on_upload, authorize, rate_limit or a view.",
            "Read the traceback in the application's log. OSS passes this on to the browser as 203.",
        ),
    ),
    *_rows(
        501,
        (OSS, "OSS, or the local OSS, does not have this operation.", "Direct uploads need PostObject only."),
        (APPLICATION, "The server does not know this Transfer-Encoding.", "Send the request with a Content-Length."),
    ),
    *_rows(
        502,
        (
            FRONT,
            "It does not reach the application. OSS reports this status too where TLS or SNI of the callback URL "
            "fails (EC 0007-00000203).",
            "Check that the application runs, the address configured there, and the certificate: "
            "`oss-wsgi doctor --only callback`.",
        ),
    ),
    *_rows(
        503,
        (
            OSS,
            "The bucket, or object names with the same beginning, received too many requests (SlowDown).",
            "Retry later and more slowly.",
        ),
        (
            APPLICATION,
            "No bucket is configured, no access key is available, the ledger or a public key cannot be used now, OSS "
            "could not be asked, or the server is about to end.",
            f"{_LOG.format(503)} `/oss/health/ready` names the part that fails.",
        ),
        (FRONT, "It does not reach the application, or all workers are busy.", "Check that the application runs."),
    ),
    *_rows(
        504,
        (
            FRONT,
            "The application did not answer it in time.",
            "Do slow work after the answer, because OSS waits 5 s, and check that the workers are not all busy.",
        ),
    ),
    *_rows(
        507,
        (
            OSS,
            "The disk, or the quota, of the local OSS is full; nothing was stored. A real OSS never answers this.",
            "Make room in the folder of the local OSS (--local-dir), and upload again.",
        ),
    ),
)  # fmt: skip


def rows_of(status: int, sender: str | None = None) -> Sequence[StatusRow]:
    """Return what a status means: from one sender, or from each that sends it if the sender is not known."""
    rows = [row for row in STATUSES if row.status == status]
    return [row for row in rows if row.sender == sender] or rows
