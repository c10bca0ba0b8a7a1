"""The `sign` command: prints a signed form for a file name, as JSON, as a curl command or as an HTML page."""

from __future__ import annotations

import html
import json
import os.path
import secrets
import shlex
import time
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from ..callback.ticket import ReceiptBook, TicketBook
from ..credentials import StaticCredentialsProvider
from ..exceptions import SettingsError, UploadRequestError
from ..sdk.credentials import access_key
from ..settings import Settings
from ..signing.grant import Grant
from ..signing.presigner import PostPresigner, PresignedPost
from .options import BUCKET_SETTINGS, EPILOG, add_settings, environ_of, is_set, settings_of
from .terminal import MisuseError, note, waiting

_SIGNING_SETTINGS = frozenset(
    {
        "callback_url",
        "report_by",
        "callback_required",
        "upload_dir",
        "upload_expires",
        "upload_max_size",
        "upload_content_types",
        "upload_names",
        "name_shards",
    }
)
_TO_REPORT = (
    "OSS_REPORT_BY is page: OSS does not report this upload. Whoever sends the file reports it with the ticket of "
    "--json, or a sweep finds it: `oss-wsgi reconcile`."
)

_PAGE = """\
<!DOCTYPE html>
<meta charset="utf-8">
<title>Upload</title>
<form action="{url}" method="post" enctype="multipart/form-data">
{fields}
<input type="file" name="file" required>
<button>Upload</button>
</form>"""


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "sign",
        help="print a signed form for a file name",
        description="Print a signed form for a file name. Anybody who has the form can upload that one file until the "
        "form expires.",
        epilog=f"Example: oss-wsgi sign cat.png --content-type image/png --curl | sh. {EPILOG}",
    )
    parser.add_argument("file", metavar="FILE", help="the file's name; the file need not exist")
    parser.add_argument("--content-type", metavar="TYPE", help="allow only this type, such as image/png")
    parser.add_argument("--size", type=int, metavar="BYTES", help="allow only this size")
    parser.add_argument("--user", metavar="NAME", help="the user that on_upload receives")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_const", const=_as_json, dest="shape", help="as JSON (default)")
    shape.add_argument("--curl", action="store_const", const=_as_curl, dest="shape", help="as a command for a shell")
    shape.add_argument("--html", action="store_const", const=_as_html, dest="shape", help="as an HTML page")
    add_settings(parser, BUCKET_SETTINGS | _SIGNING_SETTINGS)
    parser.set_defaults(run=run, shape=_as_json)


def run(arguments: Namespace) -> int:
    settings = _settings(environ_of(arguments))
    if (settings.callback_urls or settings.pages_report) and not settings.ticket_secret:
        note("OSS_TICKET_SECRET is not set: the application cannot read this ticket, and will refuse the report.")
    if settings.pages_report:
        note(_TO_REPORT)
    ticket_secrets = settings.ticket_secret or [secrets.token_hex(32)]
    tickets = TicketBook(ticket_secrets, clock=time.time)
    receipts = ReceiptBook(ticket_secrets, clock=time.time, keep_seconds=settings.ledger_keep)
    with waiting("Looking for an access key", arguments.environ):
        provider = StaticCredentialsProvider(access_key(settings, time.time))
    presigner = PostPresigner(
        settings,
        provider,
        clock=time.time,
        tickets=tickets,
        receipts=receipts if settings.pages_report else None,
    )
    name = os.path.basename(arguments.file)
    if not name.isprintable():
        raise MisuseError("the file's name has characters that a shell or a page cannot show: rename the file.")
    try:
        form = presigner.presign(
            Grant(user=arguments.user), filename=name, content_type=arguments.content_type, size=arguments.size
        )
    except UploadRequestError as error:
        raise MisuseError(error.hint) from error
    print(arguments.shape(form, arguments))
    return 0


def _settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings; where no bucket is set, the error says how to do without one."""
    try:
        return settings_of(environ, ("bucket", "access_key"))
    except SettingsError as error:
        if is_set(environ, "OSS_BUCKET") or is_set(environ, "OSS_HOST"):
            raise
        fix = "To try it without a bucket: `oss-wsgi local` prints the variables."
        raise SettingsError(*error.problems, fix) from None


def _as_json(form: PresignedPost, arguments: Namespace) -> str:
    return json.dumps(form.payload(), indent=1)


def _as_curl(form: PresignedPost, arguments: Namespace) -> str:
    # curl then shows OSS's answer and fails with it; the status goes where the answer does not.
    words = ["curl", "--globoff", "--fail-with-body", "--write-out", r"%{stderr}\nHTTP status %{http_code}\n"]
    for name, value in form.fields.items():
        words += ["--form-string", f"{name}={value}"]  # --form would read a value that begins with @ or < as a file
    # Within double quotes curl knows these two escapes, and takes `;` and `,` literally.
    path = arguments.file.replace("\\", "\\\\").replace('"', '\\"')
    content_type = f";type={arguments.content_type}" if arguments.content_type else ""
    return shlex.join([*words, "--form", f'file=@"{path}"{content_type}', form.url])


def _as_html(form: PresignedPost, arguments: Namespace) -> str:
    fields = "\n".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in form.fields.items()
    )
    return _PAGE.format(url=html.escape(form.url), fields=fields)
