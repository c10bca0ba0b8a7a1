"""Presigners for the tests, and the rules that their forms must obey."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from oss_wsgi.callback.ticket import ReceiptBook, TicketBook
from oss_wsgi.credentials import Credentials
from oss_wsgi.settings import Settings
from oss_wsgi.signing.grant import Grant
from oss_wsgi.signing.presigner import PostPresigner, PresignedPost

NOW = 1733227932  # 2024-12-03T12:12:12Z
ID = "LTAI5tExampleKeyId000001"
SECRET = "ExampleSecret0000000000000000A"
TOKEN = "CAISexample+Token/With=Padding=="
RANDOM = "0123456789abcdef0123456789abcdef"
HOST = "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
CALLBACK = "https://app.example.com/oss/callback"
SCOPE = f"{ID}/20241203/cn-hangzhou/oss/aliyun_v4_request"
UNPINNED = {"policy", "Signature", "x-oss-signature", "success_action_status"}
V4_FIELDS = ["x-oss-signature-version", "x-oss-credential", "x-oss-date"]


class Provider:
    def __init__(self, credentials: Credentials | Exception) -> None:
        self.credentials = credentials
        self.calls = 0

    def get_credentials(self) -> Credentials:
        self.calls += 1
        if isinstance(self.credentials, Exception):
            raise self.credentials
        return self.credentials


def presigner(
    provider: Provider | None = None,
    clock: Callable[[], float] = lambda: NOW + 0.9,
    tickets: TicketBook | None = None,
    receipts: ReceiptBook | None = None,
    **settings: Any,
) -> PostPresigner:
    usual = {"bucket": "examplebucket", "region": "cn-hangzhou", "access_key_id": ID, "access_key_secret": SECRET}
    return PostPresigner(
        Settings(**{**usual, **settings}),
        provider,
        clock=clock,
        token=lambda: RANDOM,
        tickets=tickets,
        receipts=receipts,
    )


def document(form: PresignedPost) -> dict[str, Any]:
    return json.loads(base64.b64decode(form.fields["policy"], validate=True))


def literal(value: Any) -> Any:
    """Return a value of the policy without its escapes."""
    return [literal(item) for item in value] if isinstance(value, list) else value.replace("\\$", "$")


def conditions(form: PresignedPost) -> list[tuple[Any, ...]]:
    """Return the conditions as ``(operator, field, operand)``, and the range as it is."""
    parsed: list[tuple[Any, ...]] = []
    for condition in document(form)["conditions"]:
        if isinstance(condition, dict):
            ((name, value),) = condition.items()
            parsed.append(("eq", name, literal(value)))
        elif condition[0] == "content-length-range":
            parsed.append(tuple(condition))
        else:
            operator, name, operand = condition
            assert name.startswith("$")
            parsed.append((operator, name[1:], literal(operand)))
    return parsed


def assert_signed(form: PresignedPost, secret: str = SECRET, region: str = "cn-hangzhou") -> None:
    policy = form.fields["policy"].encode()
    if "Signature" in form.fields:
        expected = base64.b64encode(hmac.new(secret.encode(), policy, hashlib.sha1).digest()).decode()
        assert form.fields["Signature"] == expected
        return
    key = b"aliyun_v4" + secret.encode()
    for step in (form.fields["x-oss-date"][:8], region, "oss", "aliyun_v4_request"):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    assert form.fields["x-oss-signature"] == hmac.new(key, policy, hashlib.sha256).hexdigest()


def assert_every_field_is_pinned(form: PresignedPost) -> None:
    pinned = conditions(form)
    assert ("eq", "bucket", "examplebucket") in pinned
    assert sum(condition[0] == "content-length-range" for condition in pinned) == 1
    for name, value in form.fields.items():
        if name in UNPINNED:
            assert all(condition[1] != name for condition in pinned)
        elif name == "key" and value.endswith("${filename}"):
            assert ("starts-with", "key", value.removesuffix("${filename}")) in pinned
        else:
            assert ("eq", name, value) in pinned, name
    names = [condition[1] for condition in pinned if condition[0] != "content-length-range"]
    assert len(names) == len(set(names)), "no field has two conditions"
    assert {name for name in names if name not in form.fields} <= {"bucket", "content-type"}


FULL_GRANT = Grant(
    acl="private",
    storage_class="IA",
    content_disposition='attachment; filename="中$.txt"',
    metadata={"tag": "a$b ${filename}", "owner": "艾瑞克"},
    custom={"order_id": "4&7", "a": ""},
)
