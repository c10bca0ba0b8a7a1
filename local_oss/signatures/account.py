"""The access keys that this OSS accepts, and the checks that all signatures share."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ..errors import OSSError, access_denied
from ..xml_document import iso_time

#: The first characters of the ID of a temporary key.
ID_PREFIX = "STS."

#: Seconds by which a client's clock may differ.
SKEW = 15 * 60

#: The fields of a resource before the bucket and the key: acs:oss:REGION:ACCOUNT:BUCKET/KEY.
_FIELDS = 4


class PolicyError(ValueError):
    """A policy that is malformed, or uses an unsupported feature; the message names the fault."""


@dataclass(frozen=True)
class Statement:
    """The actions and resources that a policy allows or denies, as patterns with the wildcards * and ?."""

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]

    def is_about(self, action: str, name: str) -> bool:
        """Return whether the statement is about an action on a bucket, or on an object `BUCKET/KEY`."""
        return any(_matches(pattern, action) for pattern in self.actions) and any(
            _is_resource(pattern, name) for pattern in self.resources
        )


@dataclass(frozen=True)
class SessionPolicy:
    """The rights of a session: everything that a statement allows and none denies."""

    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, text: str) -> SessionPolicy:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise PolicyError("it is not JSON") from None
        if not isinstance(document, dict) or document.get("Version") != "1":
            raise PolicyError('it is not an object whose "Version" is "1"')
        _check_names(document, {"Version", "Statement"})
        statements = document.get("Statement")
        if not isinstance(statements, list) or not statements:
            raise PolicyError("its Statement is not a list with members")
        return cls(tuple(_statement(statement) for statement in statements))

    def allows(self, action: str, name: str) -> bool:
        decisions = [statement.allows for statement in self.statements if statement.is_about(action, name)]
        return bool(decisions) and all(decisions)


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
            error = access_denied("Access denied by authorizer's policy.", "0003-00000301")
            error.denied = {"PolicyType": "SessionPolicy", "AuthAction": action}
            raise error

    def begin_session(self, policy: str, expires: int) -> Account:
        """Return a new temporary key, whose token holds the whole key.

        The server stores nothing: the token works in each process that has this key, also after a restart.

        :param policy: JSON, "" for all rights; PolicyError is raised for one that is not understood.
        """
        content = json.dumps({"id": ID_PREFIX + secrets.token_hex(12), "expires": expires, "policy": policy})
        token = base64.b64encode(self._digest("token", content) + content.encode()).decode()
        return self._session(token, content)

    def session(self, token: str) -> Account | None:
        """Return the temporary key of a token; None for a token that this key did not make."""
        try:
            data = base64.b64decode(token, validate=True)
            digest, content = data[:32], data[32:].decode()
        except ValueError:
            return None
        return self._session(token, content) if hmac.compare_digest(digest, self._digest("token", content)) else None

    def _session(self, token: str, content: str) -> Account:
        members = json.loads(content)
        policy = SessionPolicy.parse(members["policy"]) if members["policy"] else None
        return Account(members["id"], self._digest("key", content).hex(), token, members["expires"], policy)

    def _digest(self, purpose: str, content: str) -> bytes:
        return hmac.digest(self.access_key_secret.encode(), f"local-oss-session {purpose} {content}".encode(), "sha256")


def check_access_key(access_key_id: str, token: str | None, account: Account, now: float = 0.0) -> Account:
    """Return the account's key, or the temporary one of the token; raise OSSError unless it is valid."""
    if token and access_key_id.startswith(ID_PREFIX) and access_key_id != account.access_key_id:
        session = account.session(token)
        if session is None:
            raise _invalid_token()
        account = session
    is_known = hmac.compare_digest(access_key_id.encode(), account.access_key_id.encode())
    # A token belongs to a temporary key: neither is known without the other.
    if not is_known or bool(account.security_token) != bool(token):
        message = "The OSS Access Key Id you provided does not exist in our records."
        raise OSSError(403, "InvalidAccessKeyId", message, "0002-00000902", OSSAccessKeyId=access_key_id)
    if token and account.security_token and not hmac.compare_digest(token.encode(), account.security_token.encode()):
        raise _invalid_token()
    if account.expires is not None and now > account.expires:
        message = "The security token you provided has expired."
        raise OSSError(403, "SecurityTokenExpired", message, "0002-00000007")
    return account


def compare_signatures(expected: str, provided: str, string_to_sign: str, ec: str, **members: str) -> None:
    """Raise OSSError if the signatures differ; the error shows what was signed, so that a client can compare.

    :param members: further elements of the error: the access key ID, which OSS and S3 name differently.
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
        SignatureProvided=provided,
        StringToSign=string_to_sign,
        StringToSignBytes=shown_bytes(string_to_sign),
        **members,
    )


def shown_bytes(text: str) -> str:
    """Return the bytes of a text as OSS shows them: in hexadecimal, with a blank behind each."""
    return "".join(f"{byte:02X} " for byte in text.encode())


def _invalid_token() -> OSSError:
    return OSSError(403, "InvalidSecurityToken", "The security token you provided is invalid.", "0002-00000006")


def too_skewed(request_time: float, server_time: float) -> OSSError:
    """Return the error for a time more than SKEW seconds from now; clients use it to correct their clocks."""
    message = "The difference between the request time and the current time is too large."
    return OSSError(
        403,
        "RequestTimeTooSkewed",
        message,
        "0002-00000504",
        MaxAllowedSkewMilliseconds=str(SKEW * 1000),
        RequestTime=iso_time(request_time),
        ServerTime=iso_time(server_time),
    )


def _statement(statement: Any) -> Statement:
    if not isinstance(statement, dict):
        raise PolicyError("a statement is not an object")
    _check_names(statement, {"Effect", "Action", "Resource"})
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError("the Effect of a statement is neither Allow nor Deny")
    return Statement(statement["Effect"] == "Allow", _texts(statement, "Action"), _texts(statement, "Resource"))


def _check_names(members: Mapping[str, Any], known: set[str]) -> None:
    for name in members:
        if name not in known:  # a condition that is ignored would allow what OSS denies
            raise PolicyError(f"the local OSS does not support its {name}: leave it out")


def _texts(statement: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = statement.get(name)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise PolicyError(f"the {name} of a statement is neither a text nor a list of texts")
    return tuple(texts)


def _is_resource(pattern: str, name: str) -> bool:
    if pattern == "*":
        return True
    *fields, resource = pattern.split(":", _FIELDS)
    # A session has only one region and one account, so neither is compared.
    return len(fields) == _FIELDS and fields[:2] == ["acs", "oss"] and _matches(resource, name)


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern fits a whole text; * and ? are its only wildcards."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))
