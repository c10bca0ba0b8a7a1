"""The signed form of an upload, and the JSON that the signature endpoint answers with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

_BASE64 = frozenset({"policy", "callback"})


@dataclass(frozen=True)
class PresignedPost:
    """A signed form: POST ``fields`` in their order, then the file as ``file``, to ``url`` before ``expire``.

    ``expire`` is in Unix seconds, ``dir`` is the prefix of the object's name, and the secret is nowhere in it.
    """

    url: str
    fields: dict[str, str] = field(repr=False)
    expire: int
    dir: str
    access_key_id: str

    def payload(self) -> dict[str, Any]:
        """Return the members of the endpoint's JSON.

        ``method``, ``url``, ``fields``, ``headers`` and ``expire`` serve any client. The next seven serve clients of
        signature V1, and the ``x_oss_*`` names with ``version`` and ``security_token`` serve OSS's samples for V4.
        """
        fields = self.fields
        members: dict[str, Any] = {
            "method": "POST",
            "url": self.url,
            "fields": fields,
            "headers": {},
            "expire": self.expire,
            "accessid": self.access_key_id,
            "host": self.url,
            "policy": fields["policy"],
            "signature": fields.get("Signature") or fields["x-oss-signature"],
            "callback": fields.get("callback", ""),
            "dir": self.dir,
        }
        if "x-oss-signature" in fields:
            members |= {
                "x_oss_signature_version": fields["x-oss-signature-version"],
                "version": fields["x-oss-signature-version"],
                "x_oss_credential": fields["x-oss-credential"],
                "x_oss_date": fields["x-oss-date"],
                "security_token": fields.get("x-oss-security-token", ""),
            }
        return members

    def json(self) -> bytes:
        """Return ``payload()`` as JSON, the same bytes as ``json.dumps`` makes, in ASCII."""
        # json.dumps searches every text for what needs an escape. Most of the payload is Base64, where nothing does.
        fields = self.fields
        members = [
            f'"{name}": "{value}"' if name in _BASE64 else f'"{name}": {quoted(value)}'
            for name, value in fields.items()
        ]
        url = quoted(self.url)
        signature = fields.get("Signature") or fields["x-oss-signature"]
        text = (
            f'{{"method": "POST", "url": {url}, "fields": {{{", ".join(members)}}}, "headers": {{}}, '
            f'"expire": {self.expire}, "accessid": {quoted(self.access_key_id)}, "host": {url}, '
            f'"policy": "{fields["policy"]}", "signature": {quoted(signature)}, '
            f'"callback": "{fields.get("callback", "")}", "dir": {quoted(self.dir)}'
        )
        if "x-oss-signature" in fields:
            version = fields["x-oss-signature-version"]
            text += (
                f', "x_oss_signature_version": "{version}", "version": "{version}", '
                f'"x_oss_credential": {quoted(fields["x-oss-credential"])}, "x_oss_date": "{fields["x-oss-date"]}", '
                f'"security_token": {quoted(fields.get("x-oss-security-token", ""))}'
            )
        return f"{text}}}".encode()
