"""Signs callbacks as OSS does, with a key of its own."""

from __future__ import annotations

import base64
import hashlib

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
