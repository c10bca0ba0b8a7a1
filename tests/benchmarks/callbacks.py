"""Callbacks in bulk: distinct reports as OSS sends them, each with the ticket of a form that our settings signed."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, quote

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import MD5
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from oss_wsgi import PostPresigner, Settings, TicketBook
from oss_wsgi.callback.parameters import TICKET_MEMBER
from oss_wsgi.ledger.base import UploadIdentity

VECTORS = Path(__file__).parents[1] / "vectors" / "callbacks.json"
KEY_URL = "http://127.0.0.1/key.pem"
SIGNATURE = "/oss/signature?filename=a.png&content_type=image/png&size=5"
CALLBACK = "/oss/callback"
VARIABLES = {
    "size": "5",
    "mimeType": "image%2Fpng",
    "imageInfo.height": "278",
    "imageInfo.width": "200",
    "imageInfo.format": "png",
    "bucket": "examplebucket",
    "etag": "5D41402ABC4B2A76B9719D911017C592",
    "crc64": "3155123217085384032",
    "reqId": "674EF4EC0000000000000001",
    "operation": "PostObject",
}
ENVIRON = {
    "OSS_BUCKET": "examplebucket",
    "OSS_REGION": "cn-hangzhou",
    "OSS_ACCESS_KEY_ID": "id",
    "OSS_ACCESS_KEY_SECRET": "secret",
    "OSS_CALLBACK_URL": f"https://app.example.com{CALLBACK}",
    "OSS_TICKET_SECRET": "t" * 32,
    "OSS_ALLOW_ANONYMOUS": "on",
}


class Report(NamedTuple):
    """One callback: the body, and the value of its Authorization header."""

    body: bytes
    authorization: str

    def request(self, *, closed: bool = False) -> bytes:
        """Return the whole request; ``closed`` asks the server to close the connection, as OSS does."""
        url = base64.b64encode(KEY_URL.encode()).decode()
        connection = "Connection: close\r\n" if closed else ""
        return (
            f"POST {CALLBACK} HTTP/1.1\r\nHost: app.example.com\r\n{connection}Content-Length: {len(self.body)}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nAuthorization: {self.authorization}\r\n"
            f"x-oss-pub-key-url: {url}\r\nUser-Agent: aliyun-oss-callback\r\nx-oss-bucket: examplebucket\r\n"
            "x-oss-request-id: 674EF4EC0000000000000001\r\nx-oss-signature-version: 1.0\r\nx-oss-tag: CALLBACK\r\n\r\n"
        ).encode() + self.body

    def identity(self, tickets: TicketBook) -> UploadIdentity:
        members = parse_qs(self.body.decode())
        ticket = tickets.open(members[TICKET_MEMBER][0])
        return UploadIdentity(ticket.id, members["filename"][0], members["etag"][0], ticket.expires_at)


class Reporter:
    """Makes reports for one server: its settings, its tickets, and the key that it trusts."""

    def __init__(self) -> None:
        settings = Settings.from_environ(ENVIRON)
        self.tickets = TicketBook(settings.ticket_secret, clock=time.time)
        self._presigner = PostPresigner(settings, clock=time.time, tickets=self.tickets)
        self._key = _throwaway_key()

    def report(self, **variables: str) -> Report:
        """Return a new report; ``variables`` replace what OSS says of the upload, percent-encoded."""
        form = self._presigner.presign(filename="a.png", content_type="image/png", size=5)
        text = json.loads(base64.b64decode(form.fields["callback"]))["callbackBody"]
        for name, value in {"object": quote(form.fields["key"], safe=""), **VARIABLES, **variables}.items():
            text = text.replace(f"${{{name}}}", value)
        return self.signed(text.encode())

    def signed(self, body: bytes) -> Report:
        """Return a report of any body, signed as OSS signs it."""
        signature = self._key.sign(f"{CALLBACK}\n".encode() + body, PKCS1v15(), MD5())
        return Report(body, base64.b64encode(signature).decode())

    def reports(self, count: int | None = None) -> Iterator[Report]:
        """Yield ``count`` distinct reports, or reports without end."""
        return islice(iter(self.report, None), count)

    def public_pem(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def environ(self, folder: Path) -> dict[str, str]:
        """Return the variables of a server that believes these reports; the key's file goes into ``folder``."""
        file = folder / "key.pem"
        file.write_bytes(self.public_pem())
        return {**ENVIRON, "OSS_TRUSTED_KEYS": f"{KEY_URL}={file}"}


def _throwaway_key() -> rsa.RSAPrivateKey:
    """Return the throwaway key of 512 bits, OSS's size (protocol.md 8.6)."""
    numbers = json.loads(VECTORS.read_text(encoding="utf-8"))["throwaway_key"]
    n, e, d = (int(numbers[name], 16) for name in ("n", "e", "d"))
    p, q = rsa.rsa_recover_prime_factors(n, e, d)
    private = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, n)
    )
    return private.private_key()
