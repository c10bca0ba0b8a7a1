"""Signs callbacks as OSS does, with a key of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import mimetypes
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import MD5
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..callback.public_keys import PublicKeyStore
from ..callback.verifier import string_to_sign

KEY_URL = "http://127.0.0.1/callback_pub_key_test.pem"


class CallbackSigner:
    """Signs callbacks as OSS does, with a key of its own; give ``public_keys`` to what shall believe it.

        signer = CallbackSigner()
        application = DirectUpload(app, settings, public_keys=signer.public_keys)
        headers = signer.headers("/oss/callback", body)

    :param private_key: an RSA key; without it one of 2,048 bits is made.
    """

    def __init__(self, private_key: rsa.RSAPrivateKey | None = None, *, url: str = KEY_URL) -> None:
        self._key = private_key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.url = url
        self.pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.public_keys = PublicKeyStore({url: self.pem})

    def headers(
        self, target: str, body: bytes, content_type: str = "application/x-www-form-urlencoded"
    ) -> dict[str, str]:
        """Give the headers of a callback to ``target`` (path and query, percent-encoded) with this body (P§8.1)."""
        text = string_to_sign(target.encode(), body)
        signature = self._key.sign(text, padding.PKCS1v15(), MD5())  # noqa: S303 - OSS's own choice
        return {
            "Authorization": base64.b64encode(signature).decode(),
            "Content-MD5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
            "Content-Type": content_type,
            "User-Agent": "aliyun-oss-callback",
            "x-oss-pub-key-url": base64.b64encode(self.url.encode()).decode(),
            "x-oss-request-id": "674EF4EC0000000000000001",
            "x-oss-signature-version": "1.0",
            "x-oss-tag": "CALLBACK",
        }


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


class FrozenClock:
    """A clock that stands still until it is moved; call it for Unix seconds."""

    def __init__(self, now: float = 1733227932.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self.now += seconds
