"""DirectUpload.handle_event: an event names an object, and ledger, HEAD and receipt decide."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from oss_wsgi import Metrics, SQLiteLedger
from oss_wsgi.exceptions import BucketRefusedError, BucketUnreachableError, MalformedRecoveryError, NotDeliveredError
from oss_wsgi.recovery.events import EventOutcome

from .site import NOW, Site


def event(
    key: str, *, name: str = "ObjectCreated:PostObject", bucket: str = "examplebucket", etag: str = ""
) -> dict[str, Any]:
    return {"eventName": name, "oss": {"bucket": {"name": bucket}, "object": {"key": key, "eTag": etag}}}


def message(*events: dict[str, Any]) -> bytes:
    return base64.b64encode(json.dumps({"events": events}).encode())


ETAG = "5D41402ABC4B2A76B9719D911017C592"


def test_a_lost_upload_is_handled_once_however_often_its_event_comes(site: Site) -> None:
    key = site.upload(name="猫 1.png")
    body = message(event(key, etag=ETAG))
    assert site.application.handle_event(body) == [EventOutcome("recovered", key)]
    assert site.application.handle_event(body) == [EventOutcome("known", key)]
    (upload,) = site.uploads
    assert (upload.object, upload.recovered, upload.confirmed, upload.etag) == (key, True, True, ETAG)
    assert len(site.heads()) == 1, "the ledger knows it"


def test_an_upload_that_its_callback_told_of_is_known_without_a_head(site: Site) -> None:
    key = site.upload(lost=False)
    assert site.application.handle_event(message(event(key, etag=ETAG.lower()))) == [EventOutcome("known", key)]
    assert site.heads() == []


@pytest.mark.parametrize("etag", ["", "0" * 32])
def test_an_event_without_the_right_etag_is_still_decided_by_head(site: Site, etag: str) -> None:
    told, lost = site.upload(lost=False), site.upload()
    outcomes = site.application.handle_event(message(event(told, etag=etag), event(lost, etag=etag)))
    assert [(outcome.outcome, outcome.key) for outcome in outcomes] == [("known", told), ("recovered", lost)]
    assert len(site.uploads) == 2


@pytest.mark.parametrize(
    "name",
    [
        "ObjectCreated:UploadPart",
        "ObjectRemoved:DeleteObject",
        "ObjectDownloaded:GetObject",
        "ObjectCreated:CopyObject",
    ],
)
def test_other_events_are_ignored(site: Site, name: str) -> None:
    key = site.upload()
    assert site.application.handle_event(message(event(key, name=name))) == [EventOutcome("ignored", key)]
    assert site.heads() == []


def test_a_name_is_decoded_only_where_the_bucket_has_none_as_it_came(site: Site) -> None:
    site.put("u/a%20b.png")
    outcomes = site.application.handle_event(message(event("u/a%20b.png"), event("u/gone.png")))
    assert [outcome.outcome for outcome in outcomes] == ["no_receipt", "gone"]
    assert site.heads() == ["u/a%20b.png", "u/gone.png"]


def test_an_upload_that_cannot_be_confirmed_now_comes_again(make: Callable[..., Site]) -> None:
    site = make(confirm=lambda upload: 1 / 0)
    key = site.upload()
    with pytest.raises(NotDeliveredError, match="confirm_failed"):
        site.application.handle_event(message(event(key)))
    assert site.uploads == []


@pytest.mark.parametrize(
    "name", ["oss:ObjectCreated:PostObject", "ObjectCreated:PutObject", "ObjectCreated:CompleteMultipartUpload"]
)
def test_each_event_of_a_finished_upload_counts(site: Site, name: str) -> None:
    key = site.upload()
    assert site.application.handle_event(message(event(key, name=name))) == [EventOutcome("recovered", key)]


def test_an_event_of_another_bucket_is_ignored(site: Site) -> None:
    key = site.upload()
    assert site.application.handle_event(message(event(key, bucket="other"))) == [EventOutcome("ignored", key)]


def test_an_encoded_name_is_found_too(site: Site) -> None:
    key = site.upload()
    site.put("a b/100%.txt")
    encoded = quote(key, safe="")
    assert site.application.handle_event(message(event(encoded))) == [EventOutcome("recovered", key)]
    outcomes = site.application.handle_event(message(event("a b/100%.txt"), event("a%20b/100%25.txt")))
    assert [(outcome.outcome, outcome.key) for outcome in outcomes] == [("no_receipt", "a b/100%.txt")] * 2
    (outcome,) = site.application.handle_event(message(event(quote_plus("a b/100%.txt"))))
    assert outcome.key == "a b/100%.txt", "as forms encode it"


def test_what_does_not_count_is_final_and_named(site: Site) -> None:
    prefix = site.upload(exact=False)
    outcomes = site.application.handle_event(message(event("none.png"), event(prefix)))
    assert outcomes == [
        EventOutcome("gone", "none.png"), EventOutcome("no_receipt", prefix, "receipt_missing"),
    ]  # fmt: skip
    assert site.uploads == []


def test_a_message_comes_again_until_the_application_accepts_it(site: Site) -> None:
    failing, fine, other = site.upload(), site.upload(), site.upload()
    site.failing |= {failing, other}
    body = message(event(failing, etag=ETAG), event(fine, etag=ETAG), event(other, etag=ETAG))
    with pytest.raises(NotDeliveredError, match="handler_failed") as raised:
        site.application.handle_event(body)
    assert raised.value.reason == "not_delivered"
    assert repr(failing) in raised.value.hint, "the first that failed"
    assert [upload.object for upload in site.uploads] == [fine], "the others are not held up"
    site.failing.clear()
    outcomes = site.application.handle_event(body)
    assert [outcome.outcome for outcome in outcomes] == ["recovered", "known", "recovered"]


def test_a_bucket_that_cannot_be_asked_lets_the_message_come_again(site: Site) -> None:
    key = site.upload()
    site.bucket.fail_next(BucketUnreachableError("bucket_unreachable", "no route"))
    with pytest.raises(BucketUnreachableError):
        site.application.handle_event(message(event(key)))
    assert site.application.handle_event(message(event(key)))[0].outcome == "recovered"


@pytest.mark.parametrize("key", ["user/x/../y", "user/x%2F..%2Fy", "./a", "a/.."])
def test_the_event_of_a_name_that_nobody_can_ask_for_ends_at_once(site: Site, key: str) -> None:
    (outcome,) = site.application.handle_event(message(event(key, etag=ETAG)))
    assert (outcome.outcome, outcome.reason) == ("refused", "name_unreachable")
    assert site.heads() in ([], ["user/x%2F..%2Fy"])


def test_a_name_that_oss_refuses_ends_its_event(site: Site) -> None:
    site.bucket.fail_next(BucketRefusedError("bucket_refused", "OSS answered 400", code="InvalidObjectName"))
    outcomes = site.application.handle_event(message(event("user/\0")))
    assert outcomes == [EventOutcome("refused", "user/\0", "name_unreachable")]


@pytest.mark.parametrize(
    "changes", [{"etag": "\ud800"}, {"etag": "A" * 65}, {"etag": "\0"}, {"bucket": "\ud800"}, {"name": "\udfff"}]
)
def test_a_forged_event_is_malformed_at_once_whatever_the_ledger(
    make: Callable[..., Site], tmp_path: Path, changes: dict[str, str]
) -> None:
    site = make(ledger=SQLiteLedger(tmp_path / "ledger.db", clock=lambda: NOW))
    key = site.upload()
    with pytest.raises(MalformedRecoveryError, match="event_malformed"):
        site.application.handle_event(message(event(key, **changes)))
    assert site.application.handle_event(message(event(key, **changes), event(key))) == [EventOutcome("recovered", key)]


@pytest.mark.parametrize("etag", [ETAG, "", "0" * 32], ids=["right", "none", "wrong"])
def test_what_the_application_knows_is_not_handled_again(make: Callable[..., Site], etag: str) -> None:
    site = make(known=lambda pairs: [pair for pair in pairs if pair[1] == ETAG])
    key = site.upload()
    assert site.application.handle_event(message(event(key, etag=etag))) == [EventOutcome("known", key)]
    assert site.uploads == []


def test_metrics_count_events(make: Callable[..., Site]) -> None:
    metrics = Metrics()
    site = make(metrics=metrics)
    key = site.upload()
    site.application.handle_event(message(event(key), event("none.png")))
    text = metrics.text()[1].decode()
    assert 'oss_wsgi_events_total{outcome="recovered"} 1.0' in text
    assert 'oss_wsgi_events_total{outcome="gone"} 1.0' in text
