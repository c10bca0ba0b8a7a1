"""The access keys that this OSS accepts, and the checks that all signatures share."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from ..errors import OSSError, access_denied
from .session import ID_PREFIX, Session, SessionPolicy

#: Seconds that the clock of a client may differ.
SKEW = 15 * 60


@dataclass(frozen=True)
class Account:
    """An access key; with a security token it is temporary and works only with that token.

    :param expires: Unix seconds, after which the token is refused.
    :param policy: what the key may do; None for everything.
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires: float | None = None
    policy: SessionPolicy | None = None

    def check_right(self, action: str, bucket: str, key: str = "") -> None:
        """Raise OSSError unless the key may do this with a bucket, or with an object in it."""
        if self.policy and not self.policy.allows(action, f"{bucket}/{key}" if key else bucket or "*"):
            raise access_denied(f"The policy of the security token does not allow {action}.", "0003-00000301")


def check_access_key(access_key_id: str, token: str | None, account: Account, now: float = 0.0) -> Account:
    """Return the key that has this ID: the account's, or a temporary one that AssumeRole made with it.

    :raises OSSError: there is none, it has another token, or it has expired.
    """
    if token and access_key_id.startswith(ID_PREFIX) and access_key_id != account.access_key_id:
        session = Session.read(account.access_key_secret, token)
        if session is None:
            message = "The security token you provided is invalid."
            raise OSSError(403, "InvalidSecurityToken", message, "0002-00000006")
        policy = SessionPolicy.parse(session.policy) if session.policy else None
        account = Account(session.access_key_id, session.access_key_secret, token, session.expires, policy)
    is_known = hmac.compare_digest(access_key_id.encode(), account.access_key_id.encode())
    # A token belongs to a temporary key: neither is known without the other.
    if not is_known or bool(account.security_token) != bool(token):
        message = "The OSS Access Key Id you provided does not exist in our records."
        raise OSSError(403, "InvalidAccessKeyId", message, "0002-00000902", OSSAccessKeyId=access_key_id)
    if token and account.security_token and not hmac.compare_digest(token.encode(), account.security_token.encode()):
        raise OSSError(403, "InvalidSecurityToken", "The security token you provided is invalid.", "0002-00000006")
    if account.expires is not None and now > account.expires:
        message = "The security token you provided has expired."
        raise OSSError(403, "SecurityTokenExpired", message, "0002-00000007")
    return account


def compare_signatures(
    expected: str, provided: str, access_key_id: str, string_to_sign: str, ec: str = "", **members: str
) -> None:
    """Raise OSSError if the two signatures differ; it shows what was signed, so that a client can compare.

    :param members: further members of the error.
    """
    if hmac.compare_digest(expected.encode(), provided.encode()):
        return
    message = (
        "The request signature we calculated does not match the signature you provided."
        " Check your key and signing method."
    )
    raise OSSError(
        403,
        "SignatureDoesNotMatch",
        message,
        ec,
        OSSAccessKeyId=access_key_id,
        SignatureProvided=provided,
        StringToSign=string_to_sign,
        StringToSignBytes=string_to_sign.encode().hex(" ").upper(),
        **members,
    )


def too_skewed(request_time: str, server_time: str) -> OSSError:
    """Return the error for a time more than SKEW seconds from now; both times as the scheme writes them."""
    message = "The difference between the request time and the current time is too large."
    return OSSError(
        403,
        "RequestTimeTooSkewed",
        message,
        "0002-00000504",
        MaxAllowedSkewMilliseconds=str(SKEW * 1000),
        RequestTime=request_time,
        ServerTime=server_time,
    )
