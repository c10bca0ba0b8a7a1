"""Signature version 1 of a PostObject policy: HMAC-SHA1 (protocol.md 4)."""

from __future__ import annotations

import base64
import hmac


def identity_fields(access_key_id: str) -> dict[str, str]:
    """Return the form fields that name the signer."""
    return {"OSSAccessKeyId": access_key_id}


def signature(access_key_secret: str, policy: str) -> str:
    """Return the signature of the policy's Base64 text, exactly as the form has it.

    Signature = Base64( HMAC-SHA1( AccessKeySecret, policy ) )
    """
    return base64.b64encode(hmac.digest(access_key_secret.encode(), policy.encode(), "sha1")).decode()
