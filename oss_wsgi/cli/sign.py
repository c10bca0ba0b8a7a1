"""Prints a signed form for a file name: as JSON, as a line for curl, or as an HTML form."""

from __future__ import annotations

import html
import json
import os.path
import secrets
import shlex
import time
from typing import TYPE_CHECKING, Any

from ..callback.ticket import TicketBook
from ..exceptions import UploadRequestError
from ..sdk.credentials import SDKCredentialsProvider
from ..settings import Settings
from ..signing.grant import Grant
from ..signing.presigned_post import PresignedPost
from ..signing.presigner import PostPresigner
from .options import EPILOG, add_credentials_library, add_settings, environ_of
from .terminal import MisuseError, note

if TYPE_CHECKING:
    from argparse import Namespace

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
    made = subparsers.add_parser(
        "sign",
        help="print a signed form for a file name",
        description="Print a signed form for a file name. Whoever has it may upload that one file until it expires.",
        epilog=f"Example: oss-wsgi sign cat.png --content-type image/png --curl | sh. {EPILOG}",
    )
    made.add_argument("file", metavar="FILE", help="the file's name; it need not exist")
    made.add_argument("--content-type", metavar="TYPE", help="pin the type, such as image/png")
    made.add_argument("--size", type=int, metavar="BYTES", help="pin the size")
    made.add_argument("--user", metavar="NAME", help="whose upload it is, as on_upload will hear")
    shape = made.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_const", const=_as_json, dest="shape", help="as JSON (default)")
    shape.add_argument("--curl", action="store_const", const=_as_curl, dest="shape", help="as a line for a shell")
    shape.add_argument("--html", action="store_const", const=_as_html, dest="shape", help="as a page")
    add_credentials_library(made)
    add_settings(made)
    made.set_defaults(run=run, shape=_as_json)


def run(arguments: Namespace) -> int:
    settings = Settings.from_environ(environ_of(arguments))
    if settings.callback_url and not settings.ticket_secret:
        note("OSS_TICKET_SECRET is not set: the application will refuse the callback, for it cannot know this ticket.")
    tickets = TicketBook(settings.ticket_secret or [secrets.token_hex(32)], clock=time.time)
    library = SDKCredentialsProvider(settings, clock=time.time) if arguments.credentials_library else None
    presigner = PostPresigner(settings, library, clock=time.time, tickets=tickets)
    name = os.path.basename(arguments.file)
    if not name.isprintable():
        raise MisuseError("the file's name has characters that a shell or a page cannot hold.")
    try:
        form = presigner.presign(
            Grant(user=arguments.user), filename=name, content_type=arguments.content_type, size=arguments.size
        )
    except UploadRequestError as error:
        raise MisuseError(error.hint) from error
    print(arguments.shape(form, arguments))
    return 0


def _as_json(form: PresignedPost, arguments: Namespace) -> str:
    return json.dumps(form.payload(), indent=1)


def _as_curl(form: PresignedPost, arguments: Namespace) -> str:
    """Write a line for a shell; ``--form-string`` takes a value as it is, ``@`` and ``<`` included."""
    words = ["curl", "--globoff"]
    for name, value in form.fields.items():
        words += ["--form-string", f"{name}={value}"]
    # Within double quotes curl knows two escapes, and takes `;` and `,` for what they are.
    path = arguments.file.replace("\\", "\\\\").replace('"', '\\"')
    kind = f";type={arguments.content_type}" if arguments.content_type else ""
    return shlex.join([*words, "--form", f'file=@"{path}"{kind}', form.url])


def _as_html(form: PresignedPost, arguments: Namespace) -> str:
    fields = "\n".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in form.fields.items()
    )
    return _PAGE.format(url=html.escape(form.url), fields=fields)
