"""The sweep finds exactly the uploads without a report, hands each over once, and asks for nothing twice."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi import Grant, MemoryLedger, Metrics, SQLiteLedger, Upload
from oss_wsgi.bucket import ListedObject
from oss_wsgi.exceptions import (
    BucketRefusedError,
    BucketUnreachableError,
    LedgerUnavailableError,
    NotDeliveredError,
    SettingsError,
    SweepRunningError,
)
from oss_wsgi.ledger.base import Handle, StoredResponse, UploadIdentity
from oss_wsgi.recovery import sweep
from oss_wsgi.recovery.sweep import Reconciliation
from oss_wsgi.testing import FrozenClock

from .site import NOW, Site, legacy
from .test_reconciler_events import event, message

HOUR = 3600
UNREACHABLE = BucketUnreachableError("bucket_unreachable", "no route")


def test_a_report_has_samples_and_reasons_of_what_is_left_and_the_age_of_what_comes_again() -> None:
    report = Reconciliation(0, 9)
    outcomes = [
        *(
            ("refused", "ticket_used"),
            ("unavailable", None),
            ("failed", "handler_failed"),
            ("failed", "handler_failed"),
        ),
        *(("known", None), ("recovered", None), ("settled", "ticket_used"), ("gone", None)),
    ]
    for moment, (outcome, reason) in enumerate(outcomes, start=1):
        report.add(outcome, ListedObject(f"{outcome} {moment}", 5, "E", float(moment)), reason)
    assert report.samples == {
        "refused": ["refused 1"], "unavailable": ["unavailable 2"], "failed": ["failed 3", "failed 4"],
    }  # fmt: skip
    assert report.reasons == {"ticket_used": 1, "handler_failed": 2}
    assert report.left == {"refused": 1, "unavailable": 1, "failed": 2}
    assert report.oldest_untold == 2
    assert sum(report.counts.values()) == 8


def test_it_finds_exactly_the_lost_uploads_and_hands_each_over_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keys = [site.upload(lost=number % 3 == 0, name=f"{number}.png") for number in range(10)]
    lost = sorted(key for number, key in enumerate(keys) if number % 3 == 0)
    told = len(site.uploads)
    report = site.reconcile()
    assert {name: count for name, count in report.counts.items() if count} == {"known": 6, "recovered": 4}
    assert (report.listed, report.left, report.progress) == (10, {}, 1.0)
    assert {"known=6", "recovered=4"} <= {*caplog.text.split()}
    assert sorted(str(upload.object) for upload in site.uploads[told:]) == lost
    assert all(upload.recovered and upload.confirmed for upload in site.uploads[told:])
    assert sorted(site.heads()) == lost, "only unknown objects cost a HEAD"
    again = site.reconcile()
    assert (again.known, again.recovered) == (10, 0)
    assert len(site.uploads) == 10


def test_a_dry_run_counts_and_handles_nothing(site: Site) -> None:
    key = site.upload()
    report = site.reconcile(dry_run=True)
    assert (report.untold, report.left, report.samples) == (1, {"untold": 1}, {"untold": [key]})
    assert site.uploads == []
    assert site.reconcile().recovered == 1


def test_only_the_window_is_looked_at(site: Site) -> None:
    old = site.upload()
    site.clock.advance(30 * HOUR)
    middle = site.upload()
    site.clock.advance(10 * 60)
    fresh = site.upload()
    site.clock.advance(10 * 60)
    report = site.application.reconcile(since="26h", until="15m")
    assert [upload.object for upload in site.uploads] == [middle]
    assert (report.listed, report.since, report.until) == (1, site.clock() - 26 * HOUR, site.clock() - 15 * 60)
    assert site.application.reconcile(since="40h", until=0).recovered == 2
    assert {upload.object for upload in site.uploads} == {old, middle, fresh}


def test_a_handler_that_fails_is_left_for_the_next_sweep(site: Site) -> None:
    key = site.upload()
    site.failing.add(key)
    report = site.reconcile()
    assert (report.failed, report.left, report.samples) == (1, {"failed": 1}, {"failed": [key]})
    assert (report.reasons, report.oldest_untold) == ({"handler_failed": 1}, NOW)
    site.clock.advance(60)
    assert site.application.oldest_untold_seconds() == 60
    site.failing.clear()
    assert site.reconcile().recovered == 1
    assert site.application.oldest_untold_seconds() == 0


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit])
def test_a_view_that_raises_fails_for_its_upload_alone(
    make: Callable[..., Site], raised: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["oss_wsgi.upload"].object == keys[0]:
            raise raised("its own problem")
        return legacy(environ, start_response)

    site = make(app=view, forward_callback=True)
    keys = sorted(site.upload() for _ in range(3))
    report = site.reconcile()
    assert (report.failed, report.recovered, report.samples) == (1, 2, {"failed": keys[:1]})
    assert report.reasons == {"handler_failed": 1}
    assert "its own problem" in caplog.text
    with pytest.raises(NotDeliveredError, match="handler_failed"):
        site.application.handle_event(message(event(keys[0])))


def test_a_ledger_that_is_used_wrongly_ends_the_sweep(make: Callable[..., Site]) -> None:
    class Misused(MemoryLedger):
        def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
            raise SettingsError("share another engine")

    site = make(ledger=Misused(clock=lambda: NOW))
    site.upload()
    with pytest.raises(SettingsError, match="share another engine"):
        site.reconcile()


def test_what_a_sweep_could_not_hand_over_is_tried_again_behind_the_next_ones_window(site: Site) -> None:
    key = site.upload()
    site.failing.add(key)
    for _ in range(4):
        assert site.application.reconcile(since="26h", until=0).left == {"failed": 1}
        site.clock.advance(25 * HOUR)
    site.failing.clear()
    report = site.application.reconcile(since="26h", until=0)
    assert (report.recovered, report.left, report.since) == (1, {}, NOW)
    assert site.application.reconcile(since="26h", until=0).since == site.clock() - 26 * HOUR


def test_a_sweep_of_earlier_days_does_not_forget_what_another_could_not_hand_over(site: Site) -> None:
    site.failing.add(site.upload())
    site.clock.advance(26 * HOUR)
    assert site.reconcile().left == {"failed": 1}
    site.clock.advance(26 * HOUR)
    report = site.application.reconcile(since="7d", until="3d")
    assert (report.left, report.until) == ({"failed": 1}, site.clock() - 26 * HOUR)
    assert site.application.oldest_untold_seconds() == 52 * HOUR
    site.failing.clear()
    assert site.reconcile().recovered == 1


def test_the_age_of_what_was_left_is_kept_by_sweeps_of_other_prefixes(site: Site) -> None:
    site.failing.add(site.upload())
    site.clock.advance(60)
    own, other, every = ["user-dir-prefix/"], ["other/"], ["", "other/"]
    ages = []
    for prefixes in own, other, every:
        site.reconcile(prefixes=prefixes)
        ages.append(site.application.oldest_untold_seconds())
    site.failing.clear()
    for prefixes in other, own, every:
        site.reconcile(prefixes=prefixes)
        ages.append(site.application.oldest_untold_seconds())
    assert ages == [60, 60, 60, 60, 60, 0], "the sweep of all names looks again by itself"


def test_a_sweep_of_all_names_ends_the_age_of_what_it_has_looked_at_under_a_prefix(site: Site) -> None:
    site.failing.add(site.upload())
    site.clock.advance(2 * HOUR)
    site.reconcile(prefixes=["user-dir-prefix/"])
    site.failing.clear()
    site.application.reconcile(since="1h", until=0, prefixes=[""])
    assert site.application.oldest_untold_seconds() == 2 * HOUR
    with pytest.raises(KilledError):
        site.reconcile(prefixes=[""], progress=killing_at(site, 0))
    assert site.application.oldest_untold_seconds() == 2 * HOUR
    site.reconcile(prefixes=[""])
    assert site.application.oldest_untold_seconds() == 0


def test_what_is_older_than_the_ledgers_memory_is_not_tried_again(site: Site) -> None:
    site.failing.add(site.upload())
    assert site.reconcile().failed == 1
    site.clock.advance(8 * 24 * HOUR)
    site.failing.clear()
    report = site.reconcile()
    assert (report.recovered, report.since) == (0, site.clock() - 26 * HOUR)


def test_prefix_forms_are_reported_with_a_sample_and_never_handled(site: Site) -> None:
    keys = [site.upload(exact=False, name=f"{number:02}.png") for number in range(12)]
    site.upload(lost=False, exact=False, name="told.png")
    report = site.reconcile()
    assert (report.no_receipt, report.known) == (12, 1)
    assert report.samples["no_receipt"] == keys[:10]
    assert report.left == {"no_receipt": 12}
    assert len(site.uploads) == 1


def test_what_the_checks_refuse_goes_to_on_orphan_and_is_never_deleted(make: Callable[..., Site]) -> None:
    orphans: list[Upload] = []

    def on_orphan(upload: Upload) -> None:
        orphans.append(upload)
        raise RuntimeError("its own problem")

    site = make(on_orphan=on_orphan)
    key = site.upload()
    stored = site.client.local_oss.storage.bucket("examplebucket").get(key)
    assert stored is not None
    site.put(key, b"another size", stored.headers)
    assert site.reconcile(dry_run=True).refused == 1
    assert orphans == []
    report = site.reconcile()
    assert (report.refused, report.reasons) == (1, {"ticket_mismatch": 1})
    assert [(upload.object, upload.size, upload.ticket_id is not None) for upload in orphans] == [(key, 12, True)]
    assert site.client.local_oss.storage.bucket("examplebucket").get(key) is not None
    assert site.uploads == []


def test_another_content_of_an_object_that_forbids_overwriting_is_refused_by_the_ledger(
    make: Callable[..., Site],
) -> None:
    orphans: list[Upload] = []
    site = make(on_orphan=orphans.append)
    key = site.upload(lost=False)
    stored = site.client.local_oss.storage.bucket("examplebucket").get(key)
    assert stored is not None
    site.put(key, b"HELLO", stored.headers)
    assert site.reconcile().reasons == {"ticket_used": 1}
    assert [upload.object for upload in orphans] == [key]


@pytest.mark.parametrize("where", ["constructor", "call"])
def test_what_a_ledger_forgot_the_application_knows(make: Callable[..., Site], where: str) -> None:
    site = make()
    handled, lost = site.upload(lost=False), site.upload()
    asked: list[Sequence[tuple[str, str]]] = []

    def known(pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        asked.append(pairs)
        return {pair for pair in pairs if pair[0] == handled}

    options = {"known": known} if where == "constructor" else {}
    forgetful = make(bucket_client=site.bucket, ledger=MemoryLedger(clock=site.clock), **options)
    report = forgetful.application.reconcile(until=0, **({} if options else {"known": known}))
    assert (report.known, report.recovered) == (1, 1)
    assert [upload.object for upload in forgetful.uploads] == [lost]
    assert {pair[0] for pair in asked[0]} == {handled, lost}


@pytest.mark.parametrize("answer", [lambda pairs: 1 / 0, lambda pairs: None, lambda pairs: ["ab", "cde"]])
def test_a_known_that_fails_stops_the_sweep_before_anything_is_handled(make: Callable[..., Site], answer: Any) -> None:
    site = make()
    site.upload()
    with pytest.raises(LedgerUnavailableError, match="known= must return"):
        site.reconcile(known=answer)
    assert site.uploads == []
    assert site.reconcile().recovered == 1


def test_a_ledger_that_forgot_hands_over_again_without_known(make: Callable[..., Site]) -> None:
    """This is what OSS_LEDGER_KEEP and known= are for."""
    site = make()
    site.upload(lost=False)
    forgetful = make(bucket_client=site.bucket, ledger=MemoryLedger(clock=site.clock))
    assert forgetful.application.reconcile(until=0).recovered == 1


def test_a_sweep_that_looks_further_back_than_the_ledger_is_refused(make: Callable[..., Site]) -> None:
    site = make({"ledger_keep": 3600})
    with pytest.raises(
        SettingsError, match=r"look back 26\.0 h, but the ledger remembers only 1\.0 h.*OSS_LEDGER_KEEP"
    ):
        site.reconcile()
    assert site.reconcile(dry_run=True).listed == 0
    with pytest.raises(SettingsError, match="OSS_LEDGER_KEEP"):
        site.reconcile(since=site.clock() - 3602)
    assert site.reconcile(since=site.clock() - 3601).listed == 0, "the caller took the time a moment before"
    assert site.reconcile(known=lambda pairs: set()).listed == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_ledger_remembers_for_as_long_as_a_sweep_looks_back(
    make: Callable[..., Site], tmp_path: Path, kind: str
) -> None:
    clock = FrozenClock(NOW)
    ledger: Any = MemoryLedger(clock=clock)
    if kind == "sqlite":
        ledger = SQLiteLedger(tmp_path / "ledger.db", clock=clock)
    site = make(ledger=ledger)
    site.upload(lost=False)
    lost = site.upload()
    site.clock.advance(6 * 24 * HOUR)
    clock.advance(6 * 24 * HOUR)
    for number in range(10):
        site.upload(lost=False, name=f"{number}.png")
    report = site.reconcile(since="7d")
    assert (report.known, report.recovered) == (11, 1)
    site.clock.advance(20 * HOUR)
    clock.advance(20 * HOUR)
    site.upload(lost=False)
    assert site.reconcile(since="7d").recovered == 0
    assert [str(upload.object) for upload in site.uploads].count(lost) == 1
    ledger.close()


class Noting(MemoryLedger):
    """A ledger that notes what it is asked to remember, and for how long."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: NOW)
        self.asked: list[UploadIdentity] = []

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        self.asked.append(identity)
        return super().run_once(identity, handle)


def test_what_is_handled_is_remembered_while_a_sweep_may_find_it(make: Callable[..., Site]) -> None:
    ledger = Noting()
    site = make({"ledger_keep": 48 * HOUR}, ledger=ledger)
    site.upload(lost=False)
    site.upload()
    site.clock.advance(24 * HOUR)  # the tickets have expired
    assert site.reconcile().recovered == 1
    told, found = (identity.expires for identity in ledger.asked)
    assert told == (site.uploads[0].ticket_until or 0) + 48 * HOUR
    assert found == int(NOW) + 24 * HOUR + 48 * HOUR


def test_without_an_authorize_the_upload_dir_is_swept_and_with_one_the_whole_bucket(
    make: Callable[..., Site],
) -> None:
    site = make()
    site.put("elsewhere/a.png")
    assert site.reconcile().listed == 0
    assert [name for method, name in site.bucket.requests if method == "list"] == ["user-dir-prefix/"]
    free = make(authorize=lambda request: Grant(dir="users/eric"))
    free.upload()
    free.put("elsewhere/a.png")
    report = free.reconcile()
    assert (report.recovered, report.no_receipt) == (1, 1)
    assert free.reconcile(prefixes=["users/"]).no_receipt == 0


def test_prefixes_that_cover_each_other_are_listed_once(site: Site) -> None:
    for key in ("a/1", "a/b/2", "b/3", "c/4"):
        site.put(key)
    shares: list[float] = []
    report = site.reconcile(prefixes=["b/", "a/b/", "a/", "b/"], progress=lambda report: shares.append(report.progress))
    assert report.listed == 3
    assert set(shares) == {0.0, 0.5, 1.0}
    assert site.reconcile(prefixes=[]).progress == 1.0
    with pytest.raises(TypeError, match="not the text 'a/'"):
        site.reconcile(prefixes="a/")


def test_many_pages_are_listed_in_order(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAGE", 3)
    keys = {site.upload(name=f"{number}.png") for number in range(10)}
    assert site.reconcile().recovered == 10
    assert {upload.object for upload in site.uploads} == keys


@pytest.mark.slow
def test_folders_of_old_days_are_passed_over_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAGE", 5)
    for day in ("20200101", "20200102"):
        for number in range(100):
            site.put(f"user-dir-prefix/{day}/{number:032x}.png")
        site.put(f"user-dir-prefix/{day}/own name.png")
    site.put("user-dir-prefix/notes.txt")
    lost = site.upload()
    site.clock.advance(20 * HOUR)
    site.bucket.requests.clear()
    report = site.reconcile(since="10h")
    assert report.listed == 0
    assert len(site.bucket.requests) < 10, "not a page for each five objects"
    report = site.reconcile()
    assert report.recovered == 1
    assert site.uploads[0].object == lost


@pytest.mark.slow
def test_shards_are_swept_without_their_old_days(make: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "PAGE", 5)
    site = make({"name_shards": True})
    lost = {site.upload(name=f"{number}.png") for number in range(10)}
    shards = {name.split("/")[1] for name in lost}
    assert all(re.fullmatch(r"user-dir-prefix/([0-9a-f]{2})/20241203/\1[0-9a-f]{30}\.png", name) for name in lost)
    for shard in shards:
        for day in range(8):
            for number in range(6):
                site.put(f"user-dir-prefix/{shard}/202001{day + 10}/{shard}{number:030x}.png")
    site.put("user-dir-prefix/20200101/" + "0" * 32)
    site.put("user-dir-prefix/notes.txt")
    site.clock.advance(20 * HOUR)
    site.bucket.requests.clear()
    assert site.reconcile(since="10h").listed == 0
    assert len(site.bucket.requests) <= 3 * len(shards) + 4, "not one for each old day of each shard"
    report = site.reconcile()
    assert report.recovered == 10
    assert {upload.object for upload in site.uploads} == lost


def test_names_without_shards_are_swept_where_shards_are_on(make: Callable[..., Site]) -> None:
    site = make({"name_shards": True, "upload_dir": "ab/"}, authorize=lambda request: Grant(dir="ab/"))
    lost = site.upload()
    for name in ("ab/20200101/ab" + "0" * 30, "ab/20200102/cd" + "0" * 30, "20200101/" + "0" * 32):
        site.put(name)
    assert site.reconcile().recovered == 1
    assert site.uploads[0].object == lost


@pytest.mark.parametrize(
    ("settings", "old", "new"),
    [
        ({"upload_names": "original"}, f"20200101/{'0' * 32}", f"20200101/{'1' * 32}"),
        ({}, f"ab/20200101/ab{'0' * 30}", "ab/20200102/own name"),
    ],
    ids=["original names", "no shards"],
)
def test_only_the_folders_that_our_names_have_are_passed_over(
    make: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], old: str, new: str
) -> None:
    monkeypatch.setattr(sweep, "PAGE", 1)
    site = make(settings)
    site.put(old)
    site.clock.advance(30 * HOUR)
    site.put(new)
    assert site.reconcile(prefixes=[""]).samples == {"no_receipt": [new]}


def test_an_object_is_found_whose_form_was_signed_days_before(
    make: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A form lives for up to 7 days, an upload for half a day, and the name has the signature's day in UTC."""
    monkeypatch.setattr(sweep, "PAGE", 1)
    monkeypatch.setenv("TZ", "ABC-14")
    site = make(authorize=lambda request: Grant(expires=7 * 24 * HOUR))
    fields = site.client.sign("a.png", content_type="image/png", size=5).json["fields"]
    site.put(f"{fields['key'].rpartition('/')[0]}/{'0' * 32}.png")
    site.clock.advance(7 * 24 * HOUR + 12 * HOUR - 60)  # the next day has begun
    site.put(fields["key"], b"hello", {"x-oss-meta-oss-wsgi": fields["x-oss-meta-oss-wsgi"]})
    time.tzset()
    try:
        assert site.reconcile(since="5m").recovered == 1
    finally:
        monkeypatch.undo()
        time.tzset()


# Stopped and begun again.


class KilledError(BaseException):
    pass


def killing_at(site: Site, number: int) -> Callable[[Reconciliation], None]:
    """Return a progress callable whose nth call ends the sweep as a kill does."""
    calls = iter(range(number))

    def progress(report: Reconciliation) -> None:
        if next(calls, None) is None:
            raise KilledError

    return progress


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_sweep_that_is_stopped_anywhere_goes_on_and_handles_nothing_twice(
    make: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sweep, "PAGE", 4)
    ledger = SQLiteLedger(tmp_path / "ledger.db", clock=lambda: NOW) if kind == "file" else None
    site = make(ledger=ledger)
    keys = [site.upload(lost=number % 2 == 0, name=f"{number}.png") for number in range(20)]
    reports: list[Reconciliation] = []
    for number in range(1, 100):
        try:
            reports.append(site.reconcile(progress=killing_at(site, number)))
        except KilledError:
            continue
        break
    assert sorted(str(upload.object) for upload in site.uploads) == sorted(keys)
    assert reports[0].listed == 20
    assert reports[0].left == {}
    if ledger is not None:
        ledger.close()


def test_what_was_stored_meanwhile_behind_the_place_of_a_stopped_sweep_counts_once(site: Site) -> None:
    for name in ("a", "m", "z"):
        site.put(f"user-dir-prefix/{name}")
        site.clock.advance(60)
    site.put("user-dir-prefix/zz")  # at the end of the window
    with pytest.raises(KilledError):
        site.reconcile(progress=killing_at(site, 1))
    site.clock.advance(60)
    for name in ("b", "n"):
        site.put(f"user-dir-prefix/{name}")
    site.clock.advance(60)
    report = site.reconcile()
    assert (report.listed, report.no_receipt) == (6, 6)


def test_what_a_killed_sweep_has_looked_at_is_not_asked_for_again(site: Site) -> None:
    for number in range(5):
        site.put(f"user-dir-prefix/{number}")
        with pytest.raises(KilledError):
            site.reconcile(progress=killing_at(site, 0))
        site.clock.advance(60)
    site.bucket.requests.clear()
    report = site.reconcile()
    assert (report.listed, report.no_receipt, site.heads()) == (5, 5, [])


def test_the_window_of_a_killed_sweep_is_listed_again_by_a_later_one(site: Site) -> None:
    site.reconcile(since="1h")
    site.clock.advance(HOUR)
    lost = site.upload()
    site.bucket.fail_next(UNREACHABLE)
    with pytest.raises(BucketUnreachableError):
        site.reconcile(since="2h")
    site.clock.advance(40 * HOUR)
    report = site.reconcile(since="1h")
    assert report.since == site.clock() - 42 * HOUR
    assert [upload.object for upload in site.uploads] == [lost]


def test_a_sweep_of_another_bucket_begins_by_itself(make: Callable[..., Site]) -> None:
    ledger = MemoryLedger(clock=lambda: NOW)
    other = make({"bucket": "other-bucket", "host": "http://127.0.0.1:8081/other-bucket"}, ledger=ledger)
    site = make(ledger=ledger)
    for each in (site, other):
        each.put("user-dir-prefix/a")
    site.clock.advance(10 * HOUR)
    with pytest.raises(KilledError):
        site.reconcile(progress=killing_at(site, 0))
    report = other.reconcile(since="1h")
    assert report.since == other.clock() - HOUR
    assert other.reconcile().no_receipt == 1
    assert len(other.heads()) == 1, "what was looked at in one bucket says nothing of another"


def test_a_sweep_that_is_stopped_between_two_prefixes_looks_again_at_the_first(site: Site) -> None:
    for name in ("a/1", "b/1"):
        site.put(name)
    site.clock.advance(1)
    with pytest.raises(KilledError):
        site.reconcile(prefixes=["a/", "b/"], progress=killing_at(site, 3))
    site.clock.advance(60)
    assert site.reconcile(prefixes=["a/", "c/"]).listed == 1
    site.put("a/2")
    report = site.reconcile(prefixes=["a/", "b/"])
    assert (report.listed, report.no_receipt) == (3, 3)


class Remembering(MemoryLedger):
    """A ledger that keeps each text that it is to save, with its name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.saved: list[tuple[str, str]] = []

    def save(self, name: str, text: str) -> None:
        self.saved.append((name, text))
        super().save(name, text)


def test_a_damaged_state_is_begun_anew_with_a_warning(
    make: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Remembering(clock=lambda: NOW)
    site = make(ledger=ledger)
    site.reconcile(prefixes=[""])
    (name,) = {name for name, _ in ledger.saved} - {"sweep examplebucket"}
    ledger.save(name, '{"told": "x"}')
    site.upload()
    assert site.reconcile(prefixes=[""]).recovered == 1
    assert "the state of the last sweep cannot be read" in caplog.text
    assert max(map(len, dict(ledger.saved).values())) < 200, "it is a few numbers"


@pytest.mark.parametrize(
    "state",
    [
        "5",
        "{",
        '{"untold_since": "x"}',
        '{"untold_since": NaN}',
        '{"untold_since": {"[]": NaN}}',
    ],
)
def test_a_damaged_state_of_a_bucket_is_begun_anew(make: Callable[..., Site], state: str) -> None:
    ledger = MemoryLedger(clock=lambda: NOW)
    ledger.save("sweep examplebucket", state)
    site = make(ledger=ledger)
    site.upload()
    assert not site.application.oldest_untold_seconds()
    assert site.reconcile(prefixes=[""]).recovered == 1


@pytest.mark.parametrize("prefixes", ["x", "[5]", "5"])
def test_an_age_of_damaged_prefixes_ends_with_the_next_sweep(make: Callable[..., Site], prefixes: str) -> None:
    ledger = MemoryLedger(clock=lambda: NOW)
    ledger.save("sweep examplebucket", json.dumps({"untold_since": {prefixes: NOW - 60}}))
    site = make(ledger=ledger)
    site.upload()
    assert site.reconcile(prefixes=[""]).recovered == 1
    assert site.application.oldest_untold_seconds() == 0


@pytest.mark.parametrize("known", [None, lambda pairs: ()], ids=["without known", "with known"])
def test_a_sweep_that_was_stopped_long_ago_reaches_behind_the_ledgers_memory_only_with_known(
    site: Site, known: Any
) -> None:
    begin = site.clock() - 26 * HOUR
    site.upload(lost=False)
    site.upload(name="b.png")

    def stop(report: Reconciliation) -> None:
        raise KilledError

    with pytest.raises(KilledError):
        site.reconcile(progress=stop)
    handled = len(site.uploads)
    site.clock.advance(30 * 24 * HOUR)
    for number in range(10):
        site.upload(lost=False, name=f"{number}.png")  # the ledger forgets what has expired
    ages: list[float] = []
    report = site.reconcile(
        known=known, progress=lambda report: ages.append(site.application.oldest_untold_seconds() or 0)
    )
    assert (max(ages) <= 7 * 24 * HOUR) == (known is None), "nobody waits for what no sweep looks at"
    assert report.since == (begin if known else site.clock() - 7 * 24 * HOUR)
    assert len(site.uploads) == handled + 10


def test_a_bucket_that_is_unreachable_three_times_ends_the_sweep_and_the_next_asks_again(site: Site) -> None:
    keys = sorted(site.upload(name=f"{number}.png") for number in range(6))
    failing(site, keys[2:5], UNREACHABLE)
    with pytest.raises(BucketUnreachableError):
        site.reconcile()
    assert [upload.object for upload in site.uploads] == keys[:2]
    report = site.reconcile()
    assert (report.recovered, report.known, report.left) == (4, 2, {})
    assert [upload.object for upload in site.uploads] == keys


def failing(site: Site, names: Iterable[str], error: Exception) -> None:
    """Let the bucket fail at the first HEAD of some objects."""
    original, left = site.bucket.head, set(names)

    def head(key: str) -> Any:
        if key in left:
            left.remove(key)
            raise error
        return original(key)

    site.bucket.head = head  # type: ignore[method-assign]


@pytest.mark.parametrize("method", ["head", "list"])
@pytest.mark.parametrize("error", [BucketRefusedError("bucket_refused", "no right"), UNREACHABLE])
def test_the_alarm_rises_while_each_sweep_fails(make: Callable[..., Site], method: str, error: Exception) -> None:
    site = make()
    site.reconcile()
    assert site.application.oldest_untold_seconds() == 0
    for number in range(4):
        site.upload(name=f"{number}.png")

    def fail(*arguments: Any) -> Any:
        raise error

    original = getattr(site.bucket, method)
    setattr(site.bucket, method, fail)
    for _ in range(3):
        site.clock.advance(HOUR)
        with pytest.raises(type(error)):
            site.reconcile()
    assert site.application.oldest_untold_seconds() == 3 * HOUR
    setattr(site.bucket, method, original)
    assert site.reconcile().recovered == 4
    assert site.application.oldest_untold_seconds() == 0


def test_a_sweep_that_fails_counts_no_object_twice(site: Site) -> None:
    keys = sorted(site.upload(lost=False, name=f"{number}.png") for number in range(6))
    site.failing.update(keys)
    lost = keys[2:]
    for key in lost:
        stored = site.client.local_oss.storage.bucket("examplebucket").get(key)
        assert stored is not None
        site.put(key, b"HELLO", {**stored.headers})
    failing(site, lost, UNREACHABLE)
    with pytest.raises(BucketUnreachableError):
        site.reconcile()
    report = site.reconcile()
    assert (report.listed, report.known, sum(report.counts.values())) == (6, 2, 6)


@pytest.mark.parametrize(
    ("error", "answers"),
    [
        (UNREACHABLE, "no no yes no yes"),
        (UNREACHABLE, "no"),
        (BucketRefusedError("bucket_refused", "no right"), "yes no no no"),
        (BucketRefusedError("bucket_failed", "the SDK raised"), "no no no no yes"),
        (BucketRefusedError("bucket_failed", "the SDK raised"), "no no no"),
    ],
    ids=["two moments and one", "a moment alone", "refused after an answer", "whatever fails of some", "of all"],
)
def test_objects_that_cannot_be_asked_for_are_counted_and_the_sweep_goes_on(
    site: Site, error: Exception, answers: str
) -> None:
    keys = sorted(site.upload(name=f"{number}.png") for number in range(len(answers.split())))
    failing(site, [key for key, answer in zip(keys, answers.split(), strict=True) if answer == "no"], error)
    failed = answers.count("no")
    report = site.reconcile()
    assert (report.recovered, report.left) == (answers.count("yes"), {"unavailable": failed})
    assert site.reconcile().recovered == failed


def refusing(site: Site, names: Callable[[str], bool], code: str) -> None:
    """Let the bucket refuse the HEAD of some objects."""
    original = site.bucket.head

    def head(key: str) -> Any:
        if names(key):
            raise BucketRefusedError("bucket_refused", "refused", code=code, right="oss:GetObject")
        return original(key)

    site.bucket.head = head  # type: ignore[method-assign]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_key_that_may_not_head_is_told_however_few_objects_there_are(site: Site, count: int) -> None:
    for number in range(count):
        site.upload(name=f"{number}.png")
    original = site.bucket.head
    refusing(site, lambda key: True, "AccessDenied")
    for _ in range(2):
        with pytest.raises(BucketRefusedError):
            site.reconcile()
    site.bucket.head = original  # type: ignore[method-assign]
    report = site.reconcile()
    assert (report.recovered, report.left, report.listed) == (count, {}, count)


def test_a_folder_that_the_bucket_refuses_does_not_keep_others_from_being_handled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        site.put(f"private/{number}")
    key = site.upload()
    refusing(site, lambda name: name.startswith("private/"), "AccessDenied")
    report = site.reconcile(prefixes=[""])
    assert ([str(upload.object) for upload in site.uploads], report.left) == ([key], {"unavailable": 6})
    lost = sorted(site.upload() for _ in range(2))
    failing(site, lost[:1], UNREACHABLE)
    report = site.reconcile(prefixes=[""])
    assert (report.recovered, report.left) == (1, {"unavailable": 7}), "one moment without an answer ends nothing"
    assert site.reconcile(prefixes=[""]).recovered == 1
    site.upload()
    monkeypatch.setattr("oss_wsgi.recovery.sweep._MAX_REFUSALS", 6)
    with pytest.raises(BucketRefusedError):
        site.reconcile(prefixes=[""])


def test_an_object_that_cannot_be_asked_for_does_not_keep_others_from_being_handled(site: Site) -> None:
    site.put("a/secret")
    lost = [site.upload(name=f"{number}.png") for number in range(3)]
    refusing(site, lambda key: key == "a/secret", "AccessDenied")
    report = site.reconcile(prefixes=[""])
    assert sorted(str(upload.object) for upload in site.uploads) == sorted(lost)
    assert (report.left, report.samples) == ({"unavailable": 1}, {"unavailable": ["a/secret"]})


@pytest.mark.parametrize(
    ("code", "names"),
    [
        (None, ["user/x/../y", "../a", "user/.", "user/./b", ".."]),
        ("SignatureDoesNotMatch", ["user/a", "user/b", "user/c", "user/d"]),
        ("InvalidObjectName", ["user/\0"]),
    ],
)
def test_a_name_that_nobody_can_ask_for_is_told_once_and_left_behind(
    make: Callable[..., Site], code: str | None, names: list[str]
) -> None:
    orphans: list[Upload] = []
    site = make(on_orphan=orphans.append)
    for name in names:
        site.put(name)
    lost = site.upload()
    refusing(site, names.__contains__, code or "SignatureDoesNotMatch")
    report = site.reconcile(prefixes=[""])
    assert [upload.object for upload in site.uploads] == [lost]
    assert (report.left, report.reasons) == ({"refused": len(names)}, {"name_unreachable": len(names)})
    assert [(upload.object, upload.size, upload.user) for upload in orphans] == [
        (name, 1, None) for name in sorted(names)
    ]
    assert site.application.oldest_untold_seconds() == 0, "no alarm"
    site.clock.advance(25 * HOUR)
    later = site.application.reconcile(since="26h", until=0, prefixes=[""])
    assert (later.settled, later.left, later.since) == (len(names), {}, site.clock() - 26 * HOUR)
    assert len(orphans) == len(names)
    if code is None:
        assert site.heads() == [lost], "OSS is not asked for another name"


def test_a_name_that_is_not_asked_for_does_not_hide_that_the_key_may_not_ask(site: Site) -> None:
    site.put("user-dir-prefix/../a")
    site.upload()
    refusing(site, lambda key: True, "AccessDenied")
    with pytest.raises(BucketRefusedError):
        site.reconcile()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_what_can_never_be_handled_is_told_once_for_each_object_and_etag(
    make: Callable[..., Site], tmp_path: Path, kind: str
) -> None:
    orphans: list[bytes | int | None] = []
    failures = [RuntimeError("its own problem")]

    def on_orphan(upload: Upload) -> None:
        if failures:
            raise failures.pop()
        orphans.append(upload.size)

    memory = MemoryLedger(clock=lambda: NOW)

    def sweep() -> Reconciliation:
        ledger = SQLiteLedger(tmp_path / "ledger.db", clock=lambda: NOW) if kind == "sqlite" else memory
        return make(on_orphan=on_orphan, bucket_client=bucket, ledger=ledger).reconcile()

    site = make()
    bucket = site.bucket
    key = site.upload()
    stored = site.client.local_oss.storage.bucket("examplebucket").get(key)
    assert stored is not None
    site.put(key, b"another size", stored.headers)
    assert (sweep().refused, orphans) == (1, []), "it did not take it"
    assert (sweep().refused, orphans) == (1, [12])
    again = sweep()
    assert (again.settled, again.refused, again.left, again.reasons, orphans) == (1, 0, {}, {}, [12])
    site.put(key, b"a third size", stored.headers)
    assert (sweep().refused, orphans) == (1, [12, 12]), "another ETag is another upload"


def refused_upload(site: Site, name: str = "a.png") -> str:
    """Store an object that no ticket allows, and return its name."""
    key = site.upload(name=name)
    stored = site.client.local_oss.storage.bucket("examplebucket").get(key)
    assert stored is not None
    site.put(key, b"another size", stored.headers)
    return key


def test_an_orphan_is_remembered_for_as_long_as_sweeps_look_back(make: Callable[..., Site]) -> None:
    ledger = Noting()
    told: list[list[Upload]] = [[], []]
    site = make({"ledger_keep": 48 * HOUR}, ledger=ledger, on_orphan=told[0].append)
    refused_upload(site)
    site.reconcile(on_orphan=told[1].append)
    site.reconcile(since="5d", known=lambda pairs: ())
    assert [len(each) for each in told] == [0, 1], "a sweep's own on_orphan takes the place of the application's"
    assert [identity.expires for identity in ledger.asked] == [int(NOW) + 48 * HOUR, int(NOW) + 120 * HOUR]


def test_a_dry_run_counts_what_was_told_as_settled(site: Site) -> None:
    refused_upload(site)
    assert site.reconcile(dry_run=True).refused == 1
    assert site.reconcile().refused == 1
    refused_upload(site, "b.png")
    report = site.reconcile(dry_run=True)
    assert (report.settled, report.refused) == (1, 1)


def test_an_orphan_is_told_once_by_event_and_sweep(make: Callable[..., Site]) -> None:
    orphans: list[Upload] = []
    site = make(on_orphan=orphans.append)
    by_event, by_sweep = refused_upload(site), refused_upload(site, "b.png")
    body = json.dumps({"eventName": "ObjectCreated:PutObject", "oss": {
        "bucket": {"name": "examplebucket"}, "object": {"key": by_event}}})  # fmt: skip
    for _ in range(2):
        (outcome,) = site.application.handle_event(body)
        assert (outcome.outcome, outcome.reason) == ("refused", "ticket_mismatch")
    assert [(upload.object, upload.size) for upload in orphans] == [(by_event, 12)]
    report = site.reconcile()
    assert (report.settled, report.refused) == (1, 1)
    assert [upload.object for upload in orphans] == [by_event, by_sweep]


def test_an_orphan_is_told_again_only_where_its_telling_was_cut_off(make: Callable[..., Site]) -> None:
    orphans: list[Upload] = []
    kills: list[BaseException] = [KilledError()]

    def on_orphan(upload: Upload) -> None:
        orphans.append(upload)
        if kills:
            raise kills.pop()

    site = make(on_orphan=on_orphan)
    refused_upload(site)
    with pytest.raises(KilledError):
        site.reconcile()
    for _ in range(3):
        with pytest.raises(KilledError):
            site.reconcile(progress=killing_at(site, 0))  # told, and killed before it saved its place
    assert len(orphans) == 2
    assert site.reconcile().refused == 0


def test_a_sweep_that_is_stopped_does_not_forget_what_the_one_before_left(site: Site) -> None:
    site.failing.add(site.upload())
    for _ in range(2):
        site.clock.advance(HOUR)
        site.reconcile()
    with pytest.raises(KilledError):
        site.reconcile(progress=killing_at(site, 0))
    assert site.application.oldest_untold_seconds() == 2 * HOUR


# One at a time.


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_one_sweep_runs_at_a_time(make: Callable[..., Site], tmp_path: Path, kind: str) -> None:
    ledger = SQLiteLedger(tmp_path / "ledger.db", clock=lambda: NOW) if kind == "file" else None
    entered, release = threading.Event(), threading.Event()

    def slow(upload: Upload) -> None:
        entered.set()
        assert release.wait(60)

    site = make(ledger=ledger, on_upload=slow)
    site.upload()
    reports: list[Reconciliation] = []
    thread = threading.Thread(target=lambda: reports.append(site.reconcile()))
    thread.start()
    assert entered.wait(60)
    with pytest.raises(SweepRunningError) as raised:
        site.reconcile()
    assert raised.value.reason == "sweep_running"
    assert site.reconcile(dry_run=True).listed == 1, "a dry run disturbs nobody"
    release.set()
    thread.join(60)
    assert reports[0].recovered == 1
    assert site.reconcile().known == 1
    if ledger is not None:
        ledger.close()


# What it says.


def test_progress_is_told_after_each_object_that_is_asked_for_and_each_page(site: Site) -> None:
    for number in range(30):
        site.upload(lost=False, name=f"{number}.png")
    calls: list[int] = []
    site.reconcile(progress=lambda report: calls.append(report.listed))
    assert calls == [30, 30], "the page, and the end of the prefix"
    site.clock.advance(60 * HOUR)
    for number in range(3):
        site.upload(name=f"{number}.png")
    seen: list[tuple[int, float]] = []
    site.reconcile(progress=lambda report: seen.append((report.recovered, report.progress)))
    assert [recovered for recovered, _ in seen][:3] == [1, 2, 3]
    assert [progress for _, progress in seen] == sorted(progress for _, progress in seen)
    assert seen[-1] == (3, 1.0)


def test_metrics_count_the_outcomes_and_show_the_age_of_what_was_left(make: Callable[..., Site]) -> None:
    metrics = Metrics()
    site = make(metrics=metrics)
    assert b"oss_wsgi_oldest_untold_seconds" not in metrics.text()[1]
    site.upload()
    site.failing.add(site.upload())
    site.reconcile(dry_run=True)
    site.reconcile()
    site.clock.advance(90)
    text = metrics.text()[1].decode()
    for line in ('total{outcome="recovered"} 1.0', 'total{outcome="failed"} 1.0', 'total{outcome="untold"} 0.0'):
        assert f"oss_wsgi_reconciled_{line}" in text
    assert "oss_wsgi_oldest_untold_seconds 90.0" in text


def test_a_gap_between_two_sweeps_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.reconcile()
    site.clock.advance(26 * HOUR)
    site.reconcile()
    assert caplog.records == []
    site.clock.advance(36 * HOUR)
    site.reconcile()
    assert "no sweep has looked at the 10.0 hours before this one's window" in caplog.text


# What was looked at in vain.


class Counting(SQLiteLedger):
    """A ledger in a file that counts how often it writes."""

    writes = 0
    noted = 0

    def save(self, name: str, text: str) -> None:
        self.writes += 1
        super().save(name, text)

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        pairs = list(pairs)
        self.writes += 1
        self.noted += len(pairs)
        super().note(pairs, expires)


SECRET, OTHER_SECRET = "the secret of the form " * 2, "the secret of another " * 2


def with_receipt(site: Site) -> tuple[str, dict[str, str]]:
    """Sign a form and send nothing; return the object's name and the header with its receipt."""
    fields = site.client.sign("a.png", content_type="image/png", size=5).json["fields"]
    return fields["key"], {"x-oss-meta-oss-wsgi": fields["x-oss-meta-oss-wsgi"]}


def test_only_the_first_sweep_asks_for_objects_without_a_valid_receipt(
    make: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "PAGE", 50)
    ledger = Counting(tmp_path / "ledger.db", clock=lambda: NOW)
    site = make(ledger=ledger)
    for number in range(98):
        site.put(f"user-dir-prefix/{number:02}")
    for name in ("altered", "copied"):
        site.put(f"user-dir-prefix/{name}", b"x", {"x-oss-meta-oss-wsgi": "altered"})
    site.upload()
    reports, heads, writes = [], [], []
    for _ in range(3):
        site.bucket.requests.clear()
        ledger.writes = 0
        reports.append(site.reconcile())
        heads.append(len(site.heads()))
        writes.append(ledger.writes)
        site.clock.advance(HOUR)
    ledger.close()
    assert (heads, ledger.noted) == ([101, 0, 0], 100)
    assert writes == [7, 4, 4], "three pages of notes; before and after, the state and the age"
    for report in reports:
        assert report.left == {"no_receipt": 98, "foreign": 2}
        assert report.reasons == {"receipt_missing": 98, "receipt_altered": 2}
        assert report.samples["foreign"] == ["user-dir-prefix/altered", "user-dir-prefix/copied"]


def test_an_object_that_is_refused_for_ever_is_asked_for_until_that_is_told(make: Callable[..., Site]) -> None:
    orphans: list[str | None] = []
    failures = [RuntimeError("its own problem")]

    def on_orphan(upload: Upload) -> None:
        if failures:
            raise failures.pop()
        orphans.append(upload.object)

    site = make(on_orphan=on_orphan)
    key = refused_upload(site)
    stored = site.client.local_oss.storage.bucket("examplebucket").get(key)
    assert stored is not None
    site.put("user-dir-prefix/copy", b"hello", stored.headers)
    outcomes, heads = [], []
    for _ in range(4):
        site.bucket.requests.clear()
        report = site.reconcile()
        outcomes.append((report.refused, report.settled))
        heads.append(len(site.heads()))
        site.clock.advance(HOUR)
    assert sorted(map(str, orphans)) == sorted(["user-dir-prefix/copy", key])
    assert outcomes == [(2, 0), (1, 1), (0, 2), (0, 2)]
    assert heads == [2, 2, 1, 0]


@pytest.mark.parametrize("how", ["overwritten", "copied onto itself"])
def test_an_object_that_gets_a_receipt_later_is_asked_for_again(site: Site, how: str) -> None:
    key, receipt = with_receipt(site)
    site.put(key, b"hello" if how == "copied onto itself" else b"olleh")
    assert site.reconcile().no_receipt == 1
    site.clock.advance(60)
    site.put(key, b"hello", receipt)
    assert site.reconcile().recovered == 1


def test_an_event_asks_for_an_object_that_a_sweep_has_looked_at(site: Site) -> None:
    key, receipt = with_receipt(site)
    site.put(key, b"hello")
    assert site.reconcile().no_receipt == 1
    site.put(key, b"hello", receipt)  # in the same moment
    (outcome,) = site.application.handle_event(message(event(key)))
    assert outcome.outcome == "recovered"
    assert site.reconcile().known == 1


@pytest.mark.parametrize("change", [{"ticket_secret": (OTHER_SECRET, SECRET)}, {"ledger_keep": 30 * 24 * HOUR}])
def test_a_receipt_that_did_not_open_is_asked_for_again_with_other_secrets_or_a_longer_memory(
    make: Callable[..., Site], change: dict[str, Any]
) -> None:
    ledger = MemoryLedger(clock=lambda: NOW)
    site = make({"ticket_secret": (SECRET,)}, ledger=ledger)
    site.upload()
    site.put("user-dir-prefix/a")
    if "ledger_keep" in change:
        site.clock.advance(8 * 24 * HOUR)
    settings = {"ticket_secret": (SECRET if "ledger_keep" in change else OTHER_SECRET,)}

    def swept(settings: dict[str, Any]) -> Reconciliation:
        other = make(settings, bucket_client=site.bucket, ledger=ledger, known=lambda pairs: ())
        other.clock.now = site.clock.now
        return other.reconcile(since="20d")

    for _ in range(2):
        assert swept(settings).left == {"foreign": 1, "no_receipt": 1}
    assert len(site.heads()) == 2
    report = swept({**settings, **change})
    assert (report.recovered, report.no_receipt, len(site.heads())) == (1, 1, 3)


def test_an_application_may_know_what_a_sweep_has_looked_at(site: Site) -> None:
    site.put("user-dir-prefix/a")
    assert site.reconcile().no_receipt == 1
    assert site.reconcile(known=lambda pairs: pairs).known == 1


def test_a_dry_run_notes_and_saves_nothing_and_asks_for_nothing_that_was_noted(
    make: Callable[..., Site], tmp_path: Path
) -> None:
    ledger = Counting(tmp_path / "ledger.db", clock=lambda: NOW)
    site = make(ledger=ledger)
    site.put("user-dir-prefix/a")
    for _ in range(2):
        assert site.reconcile(dry_run=True).no_receipt == 1
    assert (len(site.heads()), ledger.writes) == (2, 0)
    site.reconcile()
    assert site.reconcile(dry_run=True).no_receipt == 1
    assert len(site.heads()) == 3
    ledger.close()


def test_what_was_looked_at_is_noted_for_as_long_as_sweeps_look_back(make: Callable[..., Site]) -> None:
    noted: list[int] = []

    class Ledger(MemoryLedger):
        def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
            noted.append(expires)

    site = make({"ledger_keep": 48 * HOUR}, ledger=Ledger(clock=lambda: NOW))
    site.put("user-dir-prefix/a")
    site.reconcile()
    site.reconcile(since="5d", known=lambda pairs: ())
    assert noted == [int(NOW) + 48 * HOUR, int(NOW) + 120 * HOUR]


def test_a_ledger_that_cannot_note_ends_the_sweep_and_the_next_one_asks_again(make: Callable[..., Site]) -> None:
    errors = [LedgerUnavailableError("ledger_unavailable", "the disk is full")] * 2

    class Full(MemoryLedger):
        def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
            if errors:
                raise errors.pop()

    site = make(ledger=Full(clock=lambda: NOW))
    site.put("user-dir-prefix/a")
    with pytest.raises(LedgerUnavailableError):
        site.reconcile()
    assert site.reconcile().no_receipt == 1
    assert len(site.heads()) == 2


def test_a_long_sweep_saves_at_most_once_a_second(
    make: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Counting(tmp_path / "ledger.db", clock=lambda: NOW)
    site = make(ledger=ledger)
    for number in range(100):
        site.put(f"user-dir-prefix/{number:02}")
    site.reconcile(progress=lambda report: site.clock.advance(0.1))
    assert 15 <= ledger.writes <= 26, "in ten seconds, the state and the notes; and at both ends"
    ledger.writes = 0
    monkeypatch.setattr(sweep, "PAGE", 5)
    site.reconcile(progress=lambda report: site.clock.advance(0.5))
    assert 9 <= ledger.writes <= 16, "nothing is asked for, and each page takes half a second"
    ledger.close()


# Several HEADs at once.


def test_eight_heads_run_at_once_and_the_handlers_one_after_another_in_order(site: Site) -> None:
    keys = sorted(site.upload(name=f"{number}.png") for number in range(24))
    all_are_there, lock, now, most = threading.Barrier(8), threading.Lock(), 0, 0
    original = site.bucket.head

    def head(key: str) -> Any:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        all_are_there.wait(60)
        with lock:
            now -= 1
        return original(key)

    site.bucket.head = head  # type: ignore[method-assign]
    threads: set[threading.Thread] = set()
    report = site.reconcile(progress=lambda report: threads.add(threading.current_thread()))
    assert (report.recovered, most, threads) == (24, 8, {threading.current_thread()})
    assert [upload.object for upload in site.uploads] == keys


@pytest.mark.parametrize("raised", [KilledError, KeyboardInterrupt])
def test_a_sweep_that_ends_early_leaves_no_thread(site: Site, raised: type[BaseException]) -> None:
    first, *_ = sorted(site.upload(name=f"{number}.png") for number in range(20))
    before = threading.enumerate()
    original, ending = site.bucket.head, threading.Event()
    begun, ended = [], []

    def head(key: str) -> Any:
        begun.append(key)
        if key != first:
            assert ending.wait(60)
            for _ in range(1000):
                time.sleep(0)
        stored = original(key)
        ended.append(key)
        return stored

    def end(report: Reconciliation) -> None:
        ending.set()
        raise raised

    site.bucket.head = head  # type: ignore[method-assign]
    with pytest.raises(raised):
        site.reconcile(progress=end)
    assert len(begun) == len(ended) == 8
    assert threading.enumerate() == before
