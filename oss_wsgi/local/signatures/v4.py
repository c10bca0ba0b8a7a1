"""The text that signature V4 signs, for a header and for a URL alike."""

from __future__ import annotations

import calendar
import hashlib
import re
import time
from dataclasses import dataclass
from urllib.parse import quote

from ..errors import access_denied, invalid_argument
from .form_check import V4, Account, compare, sign_v4
from .signed_request import SignedRequest

DATE = "%Y%m%dT%H%M%SZ"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Credential:
    """Who signed, and for which day: `<access key id>/<day>/<region>/oss/aliyun_v4_request`."""

    access_key_id: str
    day: str
    region: str

    @classmethod
    def parse(cls, text: str, region: str, *, name: str) -> Credential:
        parts = text.split("/")
        if len(parts) != 5 or not parts[0] or parts[3:] != ["oss", "aliyun_v4_request"]:
            message = f"The {name} is not <access key id>/<day>/<region>/oss/aliyun_v4_request."
            raise invalid_argument(message, name=name, value=text)
        if parts[2] != region:
            raise invalid_argument(f"Invalid signing region in {name}.", name=name, value=text)
        return cls(*parts[:3])

    @property
    def scope(self) -> str:
        return f"{self.day}/{self.region}/oss/aliyun_v4_request"


def signed_at(date: str, credential: Credential) -> int:
    """The moment of an `x-oss-date`, in Unix seconds."""
    try:
        if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", date):
            raise ValueError
        moment = calendar.timegm(time.strptime(date, DATE))
    except ValueError:
        raise access_denied("The x-oss-date is not valid.") from None
    if date[:8] != credential.day:
        raise access_denied("The day of the credential is not the day of the x-oss-date.")
    return moment


def canonical_request(request: SignedRequest, additional: str = "") -> str:
    """:param additional: the headers that are signed beside those that always are, joined by `;`."""
    headers = request.headers
    named = sorted({name.strip().lower() for name in additional.split(";")} - {""})
    signed = [name for name in sorted(headers) if _is_always_signed(name) or name in named]
    # A URL cannot hold the signature that it is signed by.
    query = sorted(
        (quote(name, safe=""), quote(value, safe="")) for name, value in request.query if name != b"x-oss-signature"
    )
    return "\n".join(
        (
            request.method,
            quote(request.resource, safe="/"),
            "&".join(f"{name}={value}" if value else name for name, value in query),
            "".join(f"{name}:{headers[name]}\n" for name in signed),
            ";".join(named),
            headers.get("x-oss-content-sha256", UNSIGNED_PAYLOAD),
        )
    )


def check_v4(canonical: str, date: str, credential: Credential, signature: str, account: Account) -> None:
    """Raises OSSError unless `signature` is what `account` makes of the canonical request."""
    text = "\n".join((V4, date, credential.scope, hashlib.sha256(canonical.encode()).hexdigest()))
    expected = sign_v4(account.access_key_secret, credential.day, credential.region, text)
    # The string to sign holds no more of the request than a hash, in which no difference can be seen.
    shown = {"CanonicalRequest": canonical, "CanonicalRequestBytes": canonical.encode().hex(" ").upper()}
    compare(expected, signature, credential.access_key_id, text, "0002-00000201", **shown)


def _is_always_signed(name: str) -> bool:
    return name.startswith("x-oss-") or name in ("content-type", "content-md5")
