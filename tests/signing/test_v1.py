"""Signature version 1: the published vectors, and HMAC-SHA1 computed here again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.signing import v1

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "policy_v1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_published_policy_has_its_published_signature(vector: dict[str, Any]) -> None:
    assert v1.signature(vector["secret"], vector["policy"]) == vector["signature"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_the_signature_is_over_the_base64_text(vector: dict[str, Any]) -> None:
    assert base64.b64decode(vector["policy"]).decode() == vector["document"]
    assert v1.signature(vector["secret"], vector["document"]) != vector["signature"]
    assert v1.signature(vector["secret"], vector["policy"].rstrip("=") + "\n") != vector["signature"]


@given(
    secret=st.text(min_size=1, max_size=80).filter(lambda text: text.isprintable()),
    policy=st.text("aZ09+/=", max_size=99),
)
@settings(max_examples=30, deadline=None)
def test_the_signature_is_base64_of_hmac_sha1(secret: str, policy: str) -> None:
    expected = base64.b64encode(hmac.new(secret.encode(), policy.encode(), hashlib.sha1).digest())
    assert v1.signature(secret, policy) == expected.decode()


def test_the_identity_is_in_the_documented_field() -> None:
    assert v1.identity_fields("LTAI5tExampleKeyId000001") == {"OSSAccessKeyId": "LTAI5tExampleKeyId000001"}
