"""Signature version 1: the published vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.signing import v1

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "policy_v1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_published_policy_has_its_published_signature(vector: dict[str, Any]) -> None:
    assert v1.signature(vector["secret"], vector["policy"]) == vector["signature"]


def test_the_identity_is_in_the_documented_field() -> None:
    assert v1.identity_fields("LTAI5tExampleKeyId000001") == {"OSSAccessKeyId": "LTAI5tExampleKeyId000001"}
