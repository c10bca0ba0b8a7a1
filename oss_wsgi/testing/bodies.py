"""The bodies that are posted: a browser's form to OSS, and OSS's report to the application."""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote


def multipart(
    fields: dict[str, str], filename: str, data: bytes, content_type: str | None = None
) -> tuple[str, bytes]:
    """Make Content-Type and body of a form as browsers send it: the fields in their order, then ``file``.

    As a browser does, it takes the file's type from the end of its name where ``content_type`` is not given.
    """
    boundary = f"----oss_wsgi{hashlib.sha256(data).hexdigest()[:24]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    kind = content_type or mimetypes.guess_type(filename)[0] or "application/octet-stream"
    quoted = filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
        f"Content-Type: {kind}\r\n\r\n"
    )
    return f"multipart/form-data; boundary={boundary}", b"".join(
        [*parts, head.encode(), data, f"\r\n--{boundary}--\r\n".encode()]
    )


def callback_body(
    signed: Mapping[str, Any],
    *,
    size: int,
    mime_type: str = "application/octet-stream",
    etag: str = "5B3C1A2E053D763E1B002CC607C5A0FE",
    filename: str = "file",
    **variables: str,
) -> bytes:
    """Give the body that OSS would report for an upload with a signed form, ticket included.

    ``signed`` is the signature endpoint's JSON; ``filename`` the browser's, where the form's key leaves it open;
    ``variables`` are further variables of the body template, dots written as underscores.

        signed = app.get("/oss/signature", {"filename": "cat.png", "size": 3}).json
        body = callback_body(signed, size=3)
        app.post("/oss/callback", body, headers=signer.headers("/oss/callback", body))
    """
    template = json.loads(base64.b64decode(signed["callback"]))["callbackBody"]
    fields = signed["fields"]
    conditions = json.loads(base64.b64decode(fields["policy"]))["conditions"]
    values = {
        "bucket": next(condition["bucket"] for condition in conditions if "bucket" in condition),
        "object": fields["key"].replace("${filename}", filename),
        "size": str(size),
        "mimeType": mime_type,
        "etag": etag,
        "operation": "PostObject",
        "reqId": "674EF4EC0000000000000001",
        **{name.replace("_", "."): value for name, value in variables.items()},
        **{name: value for name, value in fields.items() if name.startswith("x:")},
    }
    return re.sub(r"\$\{([^}]*)\}", lambda match: quote(values.get(match[1], ""), safe=""), template).encode()
