"""Signature version 1: HMAC-SHA1, of a PostObject policy or of a string to sign (protocol.md 4)."""

from __future__ import annotations

import base64
import hmac

#: The days from which OSS refuses this version for accounts and for buckets that are made, in phases (protocol.md 4).
REFUSED_TO_ACCOUNTS_SINCE = "2025-03-01"
REFUSED_TO_BUCKETS_SINCE = "2025-09-01"


def identity_fields(access_key_id: str) -> dict[str, str]:
    """Return the form fields that name the signer."""
    return {"OSSAccessKeyId": access_key_id}


def signature(access_key_secret: str, text: str) -> str:
    """Return the signature of a text: the policy's Base64, exactly as in the form, or a string to sign.

    Signature = Base64( HMAC-SHA1( AccessKeySecret, text ) )
    """
    return base64.b64encode(hmac.digest(access_key_secret.encode(), text.encode(), "sha1")).decode()
