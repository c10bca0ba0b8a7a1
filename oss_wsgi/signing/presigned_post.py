"""A signed form, and what the signature endpoint says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

_BASE64 = frozenset({"policy", "callback"})


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
        members = [f'"{name}": {quoted(value)}' for name, value in fields.items() if name not in _BASE64]
        url, policy, callback = quoted(self.url), fields["policy"], fields.get("callback")
        # The order of `fields`, in which policy and callback come after the key.
        members.insert(1, f'"policy": "{policy}"')
        if callback is not None:
            members.insert(2, f'"callback": "{callback}"')
        signature = fields.get("x-oss-signature")
        text = (
            f'{{"method": "POST", "url": {url}, "fields": {{{", ".join(members)}}}, "headers": {{}}, '
            f'"expire": {self.expire}, "accessid": {quoted(self.access_key_id)}, "host": {url}, "policy": "{policy}", '
            f'"signature": {quoted(signature or fields["Signature"])}, "callback": "{callback or ""}", '
            f'"dir": {quoted(self.dir)}'
        )
        if signature is not None:
            version = fields["x-oss-signature-version"]
            text += (
                f', "x_oss_signature_version": "{version}", "version": "{version}", '
                f'"x_oss_credential": {quoted(fields["x-oss-credential"])}, "x_oss_date": "{fields["x-oss-date"]}", '
                f'"security_token": {quoted(fields.get("x-oss-security-token", ""))}'
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
