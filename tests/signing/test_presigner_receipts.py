"""The receipt in a form: issued and pinned in exact forms only, and within OSS's 8 KB of metadata."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from oss_wsgi.bucket import StoredObject
from oss_wsgi.callback.ticket import RECEIPT_FIELD, TRIAL_WITH_HANDLER, ReceiptBook, TicketBook
from oss_wsgi.exceptions import GrantError, UnverifiedError
from oss_wsgi.settings import Settings
from oss_wsgi.signing.grant import Grant
from oss_wsgi.signing.presigner import PostPresigner, PresignedPost

from ..support.example_settings import EXAMPLE

NOW = 1733227932
SECRETS = ["a secret of at least 32 characters"]
RECEIPTS = ReceiptBook(SECRETS, clock=lambda: NOW, keep_seconds=3600)


def presigner(*, receipts: ReceiptBook | None = RECEIPTS, trial: str | None = None, **changes: Any) -> PostPresigner:
    tickets = TicketBook(SECRETS, clock=lambda: NOW)
    settings = Settings(**{**EXAMPLE, **changes})
    return PostPresigner(settings, clock=lambda: NOW, tickets=tickets, receipts=receipts, trial=trial)


def pinned(form: PresignedPost) -> dict[str, str]:
    conditions = json.loads(base64.b64decode(form.fields["policy"]))["conditions"]
    return {name: value for condition in conditions if isinstance(condition, dict) for name, value in condition.items()}


@pytest.mark.parametrize(
    ("version", "request_"), [("v1", {"filename": "a.png"}), ("v4", {"grant": Grant(key="a/b.png")})]
)
def test_an_exact_form_carries_its_receipt_and_pins_it(version: str, request_: dict[str, Any]) -> None:
    form = presigner(signature_version=version).presign(**request_)
    text = form.fields[RECEIPT_FIELD]
    assert pinned(form)[RECEIPT_FIELD] == text
    assert RECEIPTS.open(text).ticket.key == form.fields["key"]
    assert json.loads(form.json()) == form.payload()


def test_a_prefix_form_carries_none() -> None:
    form = presigner().presign()
    assert RECEIPT_FIELD not in form.fields
    assert RECEIPT_FIELD not in pinned(form)


def test_without_receipts_or_a_callback_a_form_carries_none() -> None:
    assert RECEIPT_FIELD not in presigner(receipts=None).presign(filename="a.png").fields
    assert RECEIPT_FIELD not in presigner(callback_url=None).presign(filename="a.png").fields


def test_the_receipt_remembers_the_custom_variables() -> None:
    form = presigner().presign(Grant(user="eric", custom={"album": "summer"}), filename="a.png")
    receipt = RECEIPTS.open(form.fields[RECEIPT_FIELD])
    assert (receipt.custom, receipt.ticket.user) == ({"album": "summer"}, "eric")


@pytest.mark.parametrize("metadata", ["summer", "winter"])
def test_the_receipt_knows_the_metadata_of_its_own_form(metadata: str) -> None:
    """Forms of one second share what they have in common."""
    signer = presigner()
    form = [signer.presign(Grant(metadata={"m": text}), filename="a.png") for text in ("winter", metadata)][-1]
    assert form.fields["x-oss-meta-m"] == pinned(form)["x-oss-meta-m"] == metadata
    stored = StoredObject(form.key, 5, "5B3C", NOW, metadata={"m": metadata})
    receipt = RECEIPTS.open(form.fields[RECEIPT_FIELD])
    receipt.check(stored)
    with pytest.raises(UnverifiedError, match="metadata"):
        receipt.check(stored._replace(metadata={"m": "another"}))


@pytest.mark.parametrize("trial", [None, TRIAL_WITH_HANDLER])
def test_the_ticket_of_a_trial_says_so(trial: str | None) -> None:
    receipt = RECEIPTS.open(presigner(trial=trial).presign(filename="a.png").fields[RECEIPT_FIELD])
    assert receipt.ticket.trial == trial


def test_the_longest_user_and_data_fit_with_the_receipt() -> None:
    grant = Grant(user="u" * 256, data={"text": "d" * 1000}, dir="d" * 200)
    form = presigner().presign(grant, filename="a.png")
    assert 2000 < len(form.fields[RECEIPT_FIELD]) < 4000


def test_metadata_over_8_kb_with_the_receipt_is_refused_with_the_numbers() -> None:
    form = presigner().presign(Grant(metadata={"m": "x"}), filename="a.png")
    sealed = len(RECEIPT_FIELD) + len(form.fields[RECEIPT_FIELD])
    free = 8192 - sealed - len("x-oss-meta-m")
    assert presigner().presign(Grant(metadata={"m": "x" * free}), filename="a.png")
    with pytest.raises(GrantError) as raised:
        presigner().presign(Grant(metadata={"m": "x" * (free + 1)}), filename="a.png")
    numbers = f"metadata is {8193 - sealed} bytes and the receipt of user and data {sealed}: together 8193"
    assert numbers in str(raised.value)
    assert "8192 (8 KB)" in str(raised.value)


def test_a_receipt_that_alone_is_over_8_kb_is_refused() -> None:
    assert presigner().presign(Grant(custom={"note": "x" * 5000}), filename="a.png")
    with pytest.raises(GrantError, match="metadata is 0 bytes"):
        presigner().presign(Grant(custom={"note": "x" * 7000}), filename="a.png")


def test_metadata_over_8_kb_is_refused_without_a_receipt_too() -> None:
    with pytest.raises(GrantError, match="metadata is 8193 bytes"):
        presigner(receipts=None).presign(Grant(metadata={"m": "é" * 4090 + "x"}), filename="a.png")
    assert presigner(receipts=None).presign(Grant(metadata={"m": "é" * 4090}), filename="a.png")
