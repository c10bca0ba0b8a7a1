"""The sweep: lists the bucket, and handles each stored upload that the ledger does not know."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta, timezone
from math import isfinite
from typing import Any, NamedTuple

from ..bucket import ListedObject
from ..callback.ticket import UPLOAD_SECONDS
from ..callback.upload import Upload
from ..exceptions import (
    BucketRefusedError,
    BucketUnreachableError,
    LedgerUnavailableError,
    NotStoredError,
    UnverifiedError,
)
from ..ledger.base import Ledger
from ..object_names import has_dot_segment
from ..settings import duration
from ..settings_check import MAX_EXPIRES
from .checkpoint import Checkpoint, State
from .recovery import Deliver, Delivered, Recovery

PAGE = 1000
SAMPLES = 10
#: HEAD requests that may fail one after the other before the sweep gives up.
_MAX_UNREACHABLE = 3
#: How many refused objects a checkpoint remembers, so that each is told once; 16 characters each.
_MAX_SETTLED = 2000
#: Characters of all sample names beyond which a checkpoint leaves them out: a ledger keeps 64 KiB under a name.
_MAX_SAMPLES_LENGTH = 10_000

# A unique name of ours in the folder of its day, as `object_names.unique_name` makes it.
_UNIQUE = re.compile(r"((?s:.*/)?)([0-9]{8})/[0-9a-f]{32}(?:\.[^/]*)?")
# One with OSS_NAME_SHARDS: before the day stand the token's first two digits.
_SHARDED = re.compile(r"((?s:.*/)?([0-9a-f]{2})/)([0-9]{8})/\2[0-9a-f]{30}(?:\.[^/]*)?")
_BEHIND_UNIQUE = "f" * 32 + "~"

Pair = tuple[str, str]
Known = Callable[[Sequence[Pair]], Iterable[Pair]]
OnOrphan = Callable[[Upload], object]

log = logging.getLogger(__name__)


@dataclass
class Reconciliation:
    """What a sweep found: one count for each outcome of an object that was stored in the window.

    ``known``: handled before. ``recovered``: handled now. ``untold``: would be handled (dry run only). ``failed``: the
    application did not accept it; the next sweep tries again. ``unavailable``: OSS or the ledger could not be asked.
    ``refused``: ticket, ledger or ``confirm`` does not allow it, OSS damaged it as it joined its parts, or nobody can
    ask for an object of this name. ``settled``: refused as in an earlier sweep, which told of it.
    ``no_receipt``: it carries none, such as an object of a prefix form, or one that is not an upload. ``foreign``: its
    receipt was altered, has expired, or was sealed with another secret. ``gone``: deleted meanwhile.

    ``since`` and ``until`` bound the window, in Unix seconds. ``listed`` counts its objects, ``samples`` names up to 10
    for each outcome but the good ones, ``reasons`` counts the reason codes of what was not handled. ``oldest_untold``
    is when the oldest failed or unavailable object was stored, in Unix seconds. ``resumed`` says that the sweep goes on
    for one that was stopped, and its counts are included. ``progress`` is the part that is done, 0 to 1, by prefixes.
    """

    since: float
    until: float
    dry_run: bool = False
    listed: int = 0
    known: int = 0
    recovered: int = 0
    untold: int = 0
    failed: int = 0
    unavailable: int = 0
    refused: int = 0
    no_receipt: int = 0
    foreign: int = 0
    gone: int = 0
    samples: dict[str, list[str]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    oldest_untold: float | None = None
    resumed: bool = False
    progress: float = 0.0
    settled: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """The count for each outcome."""
        return {name: getattr(self, name) for name in OUTCOMES}

    @property
    def left(self) -> dict[str, int]:
        """The outcomes that leave something to do, with their counts; empty if every upload is handled."""
        return {name: count for name, count in self.counts.items() if count and name in _LEFT}

    def add(self, outcome: str, listed: ListedObject, reason: str | None = None) -> None:
        """Count one object."""
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome in ("known", "recovered", "settled", "gone"):
            return
        names = self.samples.setdefault(outcome, [])
        if len(names) < SAMPLES:
            names.append(listed.key)
        if reason is not None:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        if outcome in ("failed", "unavailable"):
            self.oldest_untold = min(listed.last_modified, self.oldest_untold or listed.last_modified)


OUTCOMES = (
    "known", "recovered", "untold", "failed", "unavailable", "refused", "settled", "no_receipt", "foreign", "gone",
)  # fmt: skip
_LEFT = frozenset({"untold", "failed", "unavailable", "refused", "no_receipt", "foreign"})


class Position(NamedTuple):
    """Where a listing stands: the number of the prefix, and the name after which it goes on."""

    prefix: int
    after: str


class Segment(NamedTuple):
    """A part of the listing that is still to do, from a position to the end, with its window in Unix seconds."""

    position: Position
    since: float
    until: float


class Sweep:
    """Handles the uploads that are in the bucket and not in the ledger.

    Each page of 1,000 names costs one request of the bucket and one look-up in the ledger; only unknown objects cost a
    HEAD. A killed sweep is resumed by the next one with the same prefixes, from the last object that it had finished;
    what it had handled the ledger knows.

    :param deliver: passes an upload through the ledger to the application.
    :param known: ``(pairs of object and ETag) -> those that the application has handled``, asked for what the ledger
        does not know.
    :param on_orphan: called once with each upload that the checks refuse, as far as the checkpoint remembers. An
        exception is logged, and the next sweep calls it again.
    :param skip_old_days: leave out folders of unique names whose day is so old that no form of it can be in the window.
    :param sharded: unique names have a shard before the day (OSS_NAME_SHARDS). Of each of its 256 folders, the old days
        are left out together, where the first name of the folder is found: a sweep costs two lists a shard, and one for
        each 1,000 names in the window, however many years there are.
    """

    def __init__(
        self,
        recovery: Recovery,
        deliver: Deliver,
        ledger: Ledger,
        checkpoint: Checkpoint,
        *,
        known: Known | None = None,
        on_orphan: OnOrphan | None = None,
        skip_old_days: bool = True,
        sharded: bool = False,
    ) -> None:
        self._recovery = recovery
        self._deliver = deliver
        self._ledger = ledger
        self._checkpoint = checkpoint
        self._known = known
        self._on_orphan = on_orphan
        #: What was refused and told of, in the order of time.
        self.settled: dict[str, None] = {}
        self._skip_old_days = skip_old_days
        self._sharded = sharded

    def run(
        self,
        prefixes: Sequence[str],
        since: float,
        until: float,
        *,
        not_before: float = 0.0,
        dry_run: bool = False,
        progress: Callable[[Reconciliation], object] | None = None,
    ) -> Reconciliation:
        """Sweep the objects below ``prefixes`` that were stored from ``since`` to ``until``, in Unix seconds.

        A sweep that goes on for a stopped one has the window of both, but never begins before ``not_before``: of older
        uploads the ledger may have forgotten that they were handled. What the last sweep could not hand over is tried
        again, also if it is older than ``since``.

        A dry run handles nothing, keeps no checkpoint, and may run beside another sweep.

        Raises SweepRunningError, BucketError and LedgerUnavailableError (then the next sweep goes on from there).
        """
        prefixes = _distinct(prefixes)
        name = _checkpoint_name(self._recovery.bucket_name)
        with nullcontext() if dry_run else self._ledger.hold(name):
            run = _Run(self, prefixes, since, until, not_before=not_before, dry_run=dry_run, progress=progress)
            run.to_the_end()
        return run.report

    def outcome_of(self, listed: ListedObject, *, dry_run: bool) -> tuple[str, str | None]:
        """Handle one object that the ledger does not know; return its outcome and the reason. Raises BucketError."""
        if has_dot_segment(listed.key):  # nothing of ours: such names are not signed
            return self.refuse_name(listed, dry_run=dry_run)
        try:
            upload, head_request_id = self._recovery.find_by_receipt(listed.key)
        except NotStoredError:
            return "gone", None
        except BucketRefusedError as error:
            if error.code != "InvalidObjectName":
                raise
            return self.refuse_name(listed, dry_run=dry_run)
        except UnverifiedError as error:
            if error.reason == "receipt_missing":
                return "no_receipt", error.reason
            if error.reason.startswith("receipt_"):
                return "foreign", error.reason
            orphan = error.upload if isinstance(error.upload, Upload) else Upload(object=listed.key, etag=listed.etag)
            return self._refuse(orphan, error.reason, error.hint, dry_run=dry_run)
        pair = upload.object or "", upload.etag or ""
        if pair != (listed.key, listed.etag) and not self.unknown([listed._replace(key=pair[0], etag=pair[1])]):
            return "known", None
        if dry_run:
            return "untold", None
        delivered = self._deliver(upload)
        outcome = outcome_of(delivered)
        line = "reconcile: outcome=%s object=%r user=%r reason=%s head_request_id=%s"
        log.info(line, outcome, upload.object, upload.user, delivered.reason, head_request_id or "-")
        if outcome == "refused":
            return self._refuse(upload, delivered.reason or outcome, "the application's side refused it", dry_run=False)
        return outcome, delivered.reason

    def refuse_name(self, listed: ListedObject, *, dry_run: bool) -> tuple[str, str | None]:
        """Return the outcome of an object for which nobody can ask, because HTTP clients or OSS refuse its name."""
        orphan = Upload(self._recovery.bucket_name, listed.key, listed.etag or None, listed.size)
        hint = "HTTP clients change this name, or OSS refuses it: the object is of no exact form, and is left behind"
        error = UnverifiedError("name_unreachable", hint)
        return self._refuse(orphan, error.reason, error.hint, dry_run=dry_run)

    def unknown(self, page: Sequence[ListedObject]) -> list[ListedObject]:
        """Return the objects of a page that neither the ledger nor the application knows."""
        pairs = [(listed.key, listed.etag) for listed in page]
        known = self._ledger.known(pairs) if pairs else set()
        rest = [pair for pair in pairs if pair not in known]
        known = known.union(self._known_to_application(rest))
        return [listed for listed, pair in zip(page, pairs, strict=True) if pair not in known]

    def _known_to_application(self, pairs: Sequence[Pair]) -> set[Pair]:
        """Ask the application's ``known``; LedgerUnavailableError if it fails: nothing may be handled then."""
        if not pairs or self._known is None:
            return set()
        try:
            return {(name, etag) for name, etag in self._known(pairs)}
        except Exception as error:
            log.exception("known= failed, so nobody can tell what was handled")
            hint = f"known= must return those of the pairs that were handled, but it raised {type(error).__name__}"
            raise LedgerUnavailableError("known_failed", hint) from error

    def _refuse(self, upload: Upload, reason: str, hint: str, *, dry_run: bool) -> tuple[str, str | None]:
        """Return the outcome of an upload that can never be handled: ``refused`` the first time, when it is told."""
        if dry_run:
            return "refused", reason
        pair = json.dumps([upload.object, upload.etag])
        mark = hashlib.sha256(pair.encode()).hexdigest()[:16]
        if mark in self.settled:
            return "settled", reason
        log.warning("reconcile refused %r: reason=%s hint=%r", upload.object, reason, hint)
        if self._on_orphan is not None:
            try:
                self._on_orphan(upload)
            except Exception:
                log.exception("on_orphan raised for %r; the sweep goes on", upload.object)
                return "refused", reason
        self.settled[mark] = None
        return "refused", reason


class _Run:
    """One run of a sweep: its segments, its report, and the state that a checkpoint keeps of both."""

    def __init__(
        self,
        sweep: Sweep,
        prefixes: Sequence[str],
        since: float,
        until: float,
        *,
        not_before: float,
        dry_run: bool,
        progress: Callable[[Reconciliation], object] | None,
    ) -> None:
        self._sweep = sweep
        self._not_before = not_before
        self._prefixes = prefixes
        self._progress = progress
        self._dry_run = dry_run
        # A ledger, and with it the checkpoint, may serve several buckets.
        self._name = _checkpoint_name(sweep._recovery.bucket_name)
        self._own_name = _checkpoint_name(sweep._recovery.bucket_name, prefixes)
        of_all: State = {} if dry_run else sweep._checkpoint.load(self._name)
        sweep.settled = _read_settled(of_all)
        self._saved_of_all = of_all
        self.report = Reconciliation(since, until, dry_run)
        self._segments = [Segment(Position(0, ""), since, until)]
        self._unreachable = 0
        self._before_unreachable = self._segments[0], self.report
        self._has_answered = False
        self._refusals: list[BucketRefusedError] = []
        self._before_refusal = self._segments, self.report
        state = {} if dry_run else sweep._checkpoint.load(self._own_name)
        if state:
            self._take_up(state, since, until)

    def _take_up(self, state: Any, since: float, until: float) -> None:
        """Go on where a stopped sweep stood; warn if there is a gap between the last sweep's window and this one's."""
        try:
            report = _read_report(state)
            segments = _read_segments(state)
        except ValueError:
            log.warning("the checkpoint of the last sweep cannot be read: the sweep begins anew")
            return
        if not segments:
            if report.until < since:
                line = "no sweep has looked at the %.1f hours before this one's window: sweep once from there"
                log.warning(line, (since - report.until) / 3600)
            oldest = report.oldest_untold
            if oldest is not None and self._not_before <= oldest < since:
                # The last sweep could not hand it over, and this one's window has left it behind.
                self.report.since = oldest
                self._segments = [Segment(Position(0, ""), oldest, until)]
            return
        covered = max(min(segment.until for segment in segments), self._not_before)
        last = max(until, report.until)
        self._segments = [
            Segment(segment.position, max(min(segment.since, since), self._not_before), last) for segment in segments
        ]
        if last > covered:
            # What the stopped sweep had listed already may have new objects by now.
            self._segments.append(Segment(Position(0, ""), covered, last))
        report.since, report.until, report.resumed = min(segment.since for segment in self._segments), last, True
        self.report = report

    def to_the_end(self) -> None:
        """Work through all segments. Save the state first, after each object that needed a HEAD, and after a page."""
        self._save()
        while self._segments:
            position, since, until = self._segments[0]
            if position.prefix >= len(self._prefixes):
                self._segments.pop(0)
                continue
            page = self._sweep._recovery.bucket.list(self._prefixes[position.prefix], position.after, PAGE)
            if page:
                self._handle_page(page, position.prefix, since, until)
                self._move(Position(position.prefix, self._next_name(page[-1].key, since)))
            else:
                self._move(Position(position.prefix + 1, ""))
            self._save()
        if self._refusals and not self._has_answered:
            self._give_up()
        self.report.progress = 1.0
        self._save()

    def _handle_page(self, page: Sequence[ListedObject], prefix: int, since: float, until: float) -> None:
        inside = [listed for listed in page if since <= listed.last_modified <= until]
        unknown = {listed.key for listed in self._sweep.unknown(inside)}
        for listed in inside:
            if listed.key in unknown:
                self._handle(listed)
                self.report.listed += 1
                self._move(Position(prefix, listed.key))
                self._save()
            else:
                self.report.listed += 1
                self.report.known += 1

    def _handle(self, listed: ListedObject) -> None:
        """Handle one object, and count it; raise BucketError if OSS is not to be asked further."""
        try:
            outcome, reason = self._sweep.outcome_of(listed, dry_run=self._dry_run)
        except BucketUnreachableError as error:
            if not self._unreachable:
                self._before_unreachable = self._segments[0], deepcopy(self.report)
            self._unreachable += 1
            if self._unreachable >= _MAX_UNREACHABLE:
                # The next sweep asks for all of these again.
                self._segments[0], self.report = self._before_unreachable
                self._save()
                raise
            outcome, reason = "unavailable", error.reason
        except BucketRefusedError as error:
            if error.code == "SignatureDoesNotMatch":  # the listing was answered to the same key
                outcome, reason = self._sweep.refuse_name(listed, dry_run=self._dry_run)
            else:
                if not (self._has_answered or error.reason == "bucket_failed"):
                    self._note_refusal(error)
                outcome, reason = "unavailable", error.reason
        else:
            if reason != "name_unreachable":
                self._unreachable = 0
                self._has_answered = True
        self.report.add(outcome, listed, reason)

    def _note_refusal(self, error: BucketRefusedError) -> None:
        """Count a HEAD that was refused before any was answered: perhaps the key lacks the right to every object."""
        if not self._refusals:
            self._before_refusal = list(self._segments), deepcopy(self.report)
        self._refusals.append(error)
        if len(self._refusals) >= _MAX_UNREACHABLE:
            self._give_up()

    def _give_up(self) -> None:
        """Raise the last refusal; the next sweep asks for all of these objects again."""
        self._segments, self.report = self._before_refusal
        self._save()
        raise self._refusals[-1]

    def _next_name(self, name: str, since: float) -> str:
        """Return the name after which to go on: behind the folder of a day that is too old, or behind this name."""
        match = _UNIQUE.fullmatch(name) if self._sweep._skip_old_days else None
        first_day = _first_day(since)
        if match is None or match[2] >= first_day:
            return name
        shard = _SHARDED.fullmatch(name) if self._sweep._sharded else None
        if shard is not None:  # nothing but days is in the folder of a shard
            return f"{shard[1]}{first_day}"
        return f"{match[1]}{match[2]}/{_BEHIND_UNIQUE}"

    def _move(self, position: Position) -> None:
        self._segments[0] = self._segments[0]._replace(position=position)
        self.report.progress = min(1.0, position.prefix / len(self._prefixes))
        self._show()

    def _show(self) -> None:
        if self._progress is not None:
            self._progress(self.report)

    def _save(self) -> None:
        if self._dry_run:
            return
        report = asdict(self.report)
        if sum(len(name) for names in self.report.samples.values() for name in names) > _MAX_SAMPLES_LENGTH:
            report["samples"] = {}
        self._sweep._checkpoint.save(self._own_name, {"report": report, "segments": self._segments})
        of_all = {"last": self._own_name, "settled": list(self._sweep.settled)[-_MAX_SETTLED:]}
        if of_all != self._saved_of_all:
            self._sweep._checkpoint.save(self._name, of_all)
            self._saved_of_all = of_all


def outcome_of(delivered: Delivered) -> str:
    """Return the outcome of an upload that was delivered: recovered, known, refused, unavailable or failed."""
    if 200 <= delivered.status < 300:
        return "known" if delivered.reason == "repeated" else "recovered"
    if delivered.reason in ("ticket_used", "not_yours", "not_confirmed", "crc64_mismatch"):
        return "refused"
    return "unavailable" if delivered.status == 503 else "failed"


def last_report(checkpoint: Checkpoint, bucket: str) -> Reconciliation | None:
    """Return the report of a bucket's last sweep, also one that was stopped or still runs; None if there was none."""
    last = checkpoint.load(_checkpoint_name(bucket)).get("last")
    try:
        return _read_report(checkpoint.load(last)) if isinstance(last, str) else None
    except ValueError:
        return None


def _checkpoint_name(bucket: str, prefixes: Sequence[str] | None = None) -> str:
    """Return the name of what all sweeps of a bucket share, or of the state of those with the same prefixes."""
    if prefixes is None:
        return f"sweep {bucket}"
    return f"sweep {bucket} {hashlib.sha256(json.dumps(prefixes).encode()).hexdigest()[:16]}"


def _read_settled(state: State) -> dict[str, None]:
    """Return the marks of what was refused and told of before; none if that is damaged."""
    marks = state.get("settled")
    return dict.fromkeys(mark for mark in marks if isinstance(mark, str)) if isinstance(marks, list) else {}


def _read_report(state: Any) -> Reconciliation:
    """Return the report in a stored state; ValueError if it is damaged."""
    try:
        report = Reconciliation(**state["report"])
        numbers = [report.since, report.until, report.progress, report.listed, report.oldest_untold or 0.0]
        numbers += [*report.counts.values(), *report.reasons.values()]
        are_numbers = all(isinstance(number, int | float) and isfinite(number) for number in numbers)
        if are_numbers and all(isinstance(names, list) for names in report.samples.values()):
            return report
    except (AttributeError, KeyError, TypeError):
        pass
    raise ValueError("it holds no report")


def _read_segments(state: Any) -> list[Segment]:
    """Return what a stored state says is still to do; ValueError if it is damaged."""
    try:
        segments = [Segment(Position(*place), float(first), float(last)) for place, first, last in state["segments"]]
        for (prefix, after), first, last in segments:
            if not (isinstance(prefix, int) and prefix >= 0 and isinstance(after, str) and isfinite(first + last)):
                raise ValueError("a segment is damaged")
    except (KeyError, TypeError) as error:
        raise ValueError("it holds no segments") from error
    return segments


def _first_day(since: float) -> str:
    """Return the first day, YYYYMMDD, whose forms may have stored something after ``since``.

    A name has the day of its signature. A form lives for up to 7 days, and its upload may take long.
    """
    first = datetime.fromtimestamp(max(since, 0), timezone.utc) - timedelta(seconds=MAX_EXPIRES + UPLOAD_SECONDS)
    return first.strftime("%Y%m%d")


def _distinct(prefixes: Sequence[str]) -> list[str]:
    """Return prefixes in order, without those that another one covers."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not any(prefix.startswith(other) for other in kept):
            kept.append(prefix)
    return kept


def moments(since: Any, until: Any, now: float) -> tuple[float, float]:
    """Return a window in Unix seconds.

    Each end is a duration before ``now`` (seconds, timedelta, or a text such as ``26h``) or a moment (a datetime with a
    time zone, or Unix seconds, which are numbers over 10**9). Raises ValueError.
    """
    window = _moment("since", since, now), _moment("until", until, now)
    if window[0] > window[1]:
        raise ValueError("since must be before until: since='26h', until='15m' looks at the time between the two.")
    return window


def _moment(name: str, value: Any, now: float) -> float:
    if isinstance(value, str):
        try:
            return now - duration(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}, not {value!r}.") from None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} must have a time zone: datetime.now(timezone.utc), for example.")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"{name} must be seconds, a timedelta, a text such as '26h' or a datetime, not {value!r}.")
    return float(value) if value > 1e9 else now - value
