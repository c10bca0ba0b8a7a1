"""Settings of an example, which each test completes."""

from __future__ import annotations

from typing import Any

EXAMPLE: dict[str, Any] = {
    "bucket": "examplebucket",
    "region": "cn-hangzhou",
    "access_key_id": "LTAI5tExampleKeyId000001",
    "access_key_secret": "ExampleSecret0000000000000000A",
    "callback_url": "https://app.example.com/oss/callback",
}
