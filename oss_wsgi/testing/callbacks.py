"""Callbacks for tests: their signature, their body and a clock."""

from __future__ import annotations

import base64
import hashlib
import json
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

#: Where the application under test is served, as far as its settings know.
APPLICATION_URL = "http://127.0.0.1:8080"

#: Only for tests: anybody who reads this line can make tickets with it.
TICKET_SECRET = "a ticket secret for tests and nothing else"  # noqa: S105

_REQUEST_ID = "674EF4EC0000000000000001"


class CallbackSigner:
    """Signs callbacks as OSS does, with a key of its own. Pass its ``public_keys`` to the application under test.

        signer = CallbackSigner()
        application = DirectUpload(app, settings, public_keys=signer.public_keys)
        headers = signer.headers("/oss/callback", body)

    :param private_key: an RSA key; by default a new one of 1,024 bits, which takes milliseconds to make.
    :param url: the URL of the public key, which the callbacks name.
    """

    def __init__(self, private_key: rsa.RSAPrivateKey | None = None, *, url: str = KEY_URL) -> None:
        self._key = private_key or rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - for tests
        self.url = url
        self.pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        self.public_keys = PublicKeyStore({url: self.pem})

    def headers(
        self, target: str, body: bytes, content_type: str = "application/x-www-form-urlencoded"
    ) -> dict[str, str]:
        """Return the headers of a callback with this body (protocol.md 8.1).

        :param target: path and query, percent-encoded.
        """
        text = string_to_sign(target.encode(), body)
        signature = self._key.sign(text, padding.PKCS1v15(), MD5())  # noqa: S303 - OSS's own choice
        return {
            "Authorization": base64.b64encode(signature).decode(),
            "Content-MD5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode(),
            "Content-Type": content_type,
            "User-Agent": "aliyun-oss-callback",
            "x-oss-pub-key-url": base64.b64encode(self.url.encode()).decode(),
            "x-oss-request-id": _REQUEST_ID,
            "x-oss-signature-version": "1.0",
            "x-oss-tag": "CALLBACK",
        }


def callback_body(
    signed: Mapping[str, Any],
    *,
    size: int,
    mime_type: str = "application/octet-stream",
    etag: str = "5B3C1A2E053D763E1B002CC607C5A0FE",
    filename: str = "file",
    **variables: str,
) -> bytes:
    """Return the body that OSS would send for an upload with a signed form, the ticket included.

        signed = app.get("/oss/signature", {"filename": "cat.png", "size": 3}).json
        body = callback_body(signed, size=3)
        app.post("/oss/callback", body, headers=signer.headers("/oss/callback", body))

    :param signed: the JSON object that the signature endpoint returned.
    :param filename: the name that the browser sends; it counts where the form's key has ``${filename}``.
    :param variables: more variables of the body template, dots written as underscores.
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
        "reqId": _REQUEST_ID,
        **{name.replace("_", "."): value for name, value in variables.items()},
        **{name: value for name, value in fields.items() if name.startswith("x:")},
    }
    return re.sub(r"\$\{([^}]*)\}", lambda match: quote(values.get(match[1], ""), safe=""), template).encode()


class FrozenClock:
    """A clock that stands still until it is advanced. Call it for Unix seconds."""

    def __init__(self, now: float = 1733227932.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Advance the clock by ``seconds``."""
        self.now += seconds
