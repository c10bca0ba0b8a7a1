"""A signed form, and what the signature endpoint says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

_BASE64 = frozenset({"policy", "callback"})
_EMPTY = '""'


@dataclass(frozen=True)
class PresignedPost:
    """A signed form: POST ``fields`` in their order, then the file as ``file``, to ``url`` before ``expire``.

    ``expire`` is in Unix seconds; ``dir`` the prefix of the object's name; ``callback`` the field's text or "".
    """

    url: str
    fields: dict[str, str] = field(repr=False)
    expire: int
    dir: str
    access_key_id: str

    def json(self) -> bytes:
        """Give ``payload`` as JSON: its long texts, which are Base64, are not searched for what needs an escape."""
        fields = self.fields
        written = {
            name: f'"{value}"' if name in _BASE64 else quoted(value) for name, value in fields.items()
        }
        members = [f'"{name}": {text}' for name, text in written.items()]
        url, key = quoted(self.url), quoted(self.access_key_id)
        text = (
            f'{{"method": "POST", "url": {url}, "fields": {{{", ".join(members)}}}, "headers": {{}}, '
            f'"expire": {self.expire}, "accessid": {key}, "host": {url}, "policy": {written["policy"]}, '
            f'"signature": {written.get("Signature") or written["x-oss-signature"]}, '
            f'"callback": {written.get("callback", _EMPTY)}, "dir": {quoted(self.dir)}'
        )
        if "x-oss-signature" in fields:
            version = written["x-oss-signature-version"]
            text += (
                f', "x_oss_signature_version": {version}, "version": {version}, '
                f'"x_oss_credential": {written["x-oss-credential"]}, "x_oss_date": {written["x-oss-date"]}, '
                f'"security_token": {written.get("x-oss-security-token", _EMPTY)}'
            )
        return f"{text}}}".encode()

    def payload(self) -> dict[str, Any]:
        """Give the members of the endpoint's JSON: for any client, the seed's (V1) and the current samples' (V4)."""
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
