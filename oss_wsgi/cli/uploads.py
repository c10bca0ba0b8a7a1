"""The `uploads` command: lists uploads in parts that nobody finished, and aborts them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TextIO

from .bucket_command import bucket_settings, with_bucket
from .options import EPILOG, add_credentials_library, add_settings, duration_argument
from .sdk_client import SDKClient, SDKRefusedError
from .terminal import confirmed, human_size, note, plain, waiting

if TYPE_CHECKING:
    from argparse import Namespace

_PAGE = 1000
#: Requests at the same time, one for each upload.
_AT_ONCE = 8
#: A part that was on its way survives an abort, so it is repeated until OSS knows no such upload.
_ATTEMPTS = 4


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "uploads",
        help="list or abort uploads in parts that nobody finished",
        description="Uploads in parts that were begun and neither completed nor aborted. Their parts cost money, and "
        "no list of objects shows them. `list` shows them, the oldest first. `abort` removes them and their parts; an "
        "upload that somebody still sends is lost then, so give --older-than. It needs oss-wsgi[sdk], and an access "
        "key with oss:ListMultipartUploads, oss:ListParts and oss:AbortMultipartUpload. To let OSS do it see `oss-wsgi "
        "lifecycle`.",
        epilog=f"Example: oss-wsgi uploads abort --older-than 2d. {EPILOG}",
    )
    parser.add_argument("action", choices=["list", "abort"])
    parser.add_argument(
        "--older-than",
        type=duration_argument,
        default=0,
        metavar="DURATION",
        help="begun so long ago, such as 2d or 12h",
    )
    parser.add_argument("--prefix", metavar="PREFIX", help="of the object names, '' for all; default: OSS_UPLOAD_DIR")
    parser.add_argument("--upload-id", action="append", metavar="ID", help="only this one; may be repeated")
    parser.add_argument("--yes", action="store_true", help="abort without asking")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_credentials_library(parser)
    add_settings(parser)
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class UnfinishedUpload:
    """An upload in parts; ``begun`` in Unix seconds, ``size`` the bytes of the parts that are stored."""

    key: str
    upload_id: str
    begun: float
    parts: int = 0
    size: int = 0

    def members(self) -> dict[str, Any]:
        """Return the upload for JSON."""
        return {**asdict(self), "begun": _moment(self.begun)}


def run(arguments: Namespace) -> int:
    """Run the action; return 1 if OSS refuses or nobody agrees, else 0."""
    settings = bucket_settings(arguments)
    prefix = settings.upload_dir if arguments.prefix is None else arguments.prefix
    rights = ["oss:ListMultipartUploads", "oss:ListParts"]
    if arguments.action == "abort":
        rights.append("oss:AbortMultipartUpload")
    named = f"{', '.join(rights[:-1])} and {rights[-1]}"
    return with_bucket(arguments, settings, named, lambda client: _run(client, prefix, arguments), objects=True)


def _run(client: SDKClient, prefix: str, arguments: Namespace) -> int:
    now = time.time()
    with waiting("Listing the uploads", arguments.environ):
        uploads = [
            upload
            for upload in list_uploads(client, prefix)
            if upload.begun <= now - arguments.older_than
            and (not arguments.upload_id or upload.upload_id in arguments.upload_id)
        ]
    with waiting(f"Listing the parts of {len(uploads)} uploads", arguments.environ):
        uploads = sorted(_with_parts(client, uploads), key=lambda upload: (upload.begun, upload.key))
    if arguments.action == "list":
        if arguments.json:
            print(json.dumps({"uploads": [upload.members() for upload in uploads]}, indent=1))
        else:
            _print(uploads, prefix, now, sys.stdout)
        return 0
    return _abort(client, uploads, prefix, now, arguments)


def _abort(
    client: SDKClient, uploads: Sequence[UnfinishedUpload], prefix: str, now: float, arguments: Namespace
) -> int:
    # Standard output is for the JSON alone; a person who has to agree sees the uploads on standard error.
    if not arguments.json or (uploads and not arguments.yes):
        _print(uploads, prefix, now, sys.stderr if arguments.json else sys.stdout)
    agreed = not uploads or arguments.yes or confirmed(f"Abort {_count(uploads)}?")
    if uploads and agreed:
        with waiting(f"Aborting {len(uploads)} uploads", arguments.environ), ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda upload: abort(client, upload), uploads))
    if arguments.json:
        aborted = uploads if agreed else ()
        members = {"uploads": [upload.members() for upload in uploads], "aborted": len(aborted)}
        print(json.dumps(members, indent=1))
    if uploads:
        note(f"Aborted {_count(uploads)}." if agreed else "Nothing was aborted.")
    return 0 if agreed else 1


def list_uploads(client: SDKClient, prefix: str) -> Iterator[UnfinishedUpload]:
    """Yield all uploads in parts whose names begin with a prefix. Raises SDKRefusedError."""
    markers: dict[str, str] = {}
    while True:
        page = client.ask(
            "list_multipart_uploads",
            "ListMultipartUploadsRequest",
            prefix=prefix or None,
            max_uploads=_PAGE,
            encoding_type="url",
            **markers,
        )
        for upload in page.uploads or ():
            begun = upload.initiated.timestamp() if upload.initiated else 0.0
            yield UnfinishedUpload(upload.key, upload.upload_id, begun)
        if not (page.is_truncated and page.next_key_marker):
            return
        markers = {"key_marker": page.next_key_marker, "upload_id_marker": page.next_upload_id_marker or ""}


def abort(client: SDKClient, upload: UnfinishedUpload) -> None:
    """Abort an upload, and again until OSS has no part of it any more. Raises SDKRefusedError."""
    try:
        for _ in range(_ATTEMPTS):
            client.ask(
                "abort_multipart_upload", "AbortMultipartUploadRequest", key=upload.key, upload_id=upload.upload_id
            )
    except SDKRefusedError as error:
        if error.code != "NoSuchUpload":
            raise


def _with_parts(client: SDKClient, uploads: Sequence[UnfinishedUpload]) -> Iterator[UnfinishedUpload]:
    """Yield the uploads with the parts that they have so far; not those that end meanwhile."""

    def read(upload: UnfinishedUpload) -> UnfinishedUpload | None:
        parts = size = 0
        marker: int | None = None
        while True:
            try:
                page = client.ask(
                    "list_parts",
                    "ListPartsRequest",
                    key=upload.key,
                    upload_id=upload.upload_id,
                    max_parts=_PAGE,
                    part_number_marker=marker,
                )
            except SDKRefusedError as error:
                if error.code == "NoSuchUpload":
                    return None
                raise
            listed = page.parts or []
            parts, size = parts + len(listed), size + sum(part.size or 0 for part in listed)
            if not (page.is_truncated and listed):
                return replace(upload, parts=parts, size=size)
            marker = listed[-1].part_number

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for upload in pool.map(read, uploads):
            if upload is not None:
                yield upload


def _print(uploads: Sequence[UnfinishedUpload], prefix: str, now: float, stream: TextIO) -> None:
    names = f"under {plain(prefix)}" if prefix else "in the bucket"
    if not uploads:
        print(f"No unfinished uploads {names}.", file=stream)
        return
    rows = [("BEGUN", "AGE", "PARTS", "SIZE", "KEY", "UPLOAD ID")]
    rows += [
        (
            _moment(upload.begun),
            _age(now - upload.begun),
            str(upload.parts),
            human_size(upload.size),
            plain(upload.key),
            plain(upload.upload_id),
        )
        for upload in uploads
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip(), file=stream)
    print(f"{_count(uploads)} {names}.", file=stream, flush=True)


def _count(uploads: Sequence[UnfinishedUpload]) -> str:
    size = human_size(sum(upload.size for upload in uploads))
    return f"{len(uploads)} unfinished upload{'' if len(uploads) == 1 else 's'} of {size}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(max(seconds, 0), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _age(seconds: float) -> str:
    minutes = max(int(seconds), 0) // 60
    if minutes < 60:
        return f"{minutes}m"
    return f"{minutes // 60}h" if minutes < 48 * 60 else f"{minutes // 1440}d"
