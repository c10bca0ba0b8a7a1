"""The sweep: it lists the bucket, and handles each stored upload that the ledger does not know."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import datetime, timedelta, timezone
from math import inf, isfinite, nextafter
from typing import Any, NamedTuple, NoReturn

from ..bucket import ListedObject
from ..callback.ticket import UPLOAD_SECONDS
from ..exceptions import BucketError, BucketRefusedError, BucketUnreachableError
from ..settings import duration
from ..settings_check import MAX_EXPIRES
from .checkpoint import State
from .recovery import LostUploads, Outcome

PAGE = 1000
SAMPLES = 10
#: How many HEAD requests in a row may fail before the sweep gives up: where OSS cannot be reached, and where it refuses
#: all from the beginning, as a policy of the bucket may do for one folder.
_MAX_FAILURES, _MAX_REFUSALS = 3, PAGE
#: With more characters in all sample names, a checkpoint leaves the samples out: a ledger stores 64 KiB under a name.
_MAX_SAMPLES_LENGTH = 10_000

# A unique name in the folder of its day, as `object_names.unique_name` makes it.
_UNIQUE = re.compile(r"((?s:.*/)?)([0-9]{8})/[0-9a-f]{32}(?:\.[^/]*)?")
# A unique name with OSS_NAME_SHARDS: the token's first two digits stand before the day.
_SHARDED = re.compile(r"((?s:.*/)?([0-9a-f]{2})/)([0-9]{8})/\2[0-9a-f]{30}(?:\.[^/]*)?")
_BEHIND_UNIQUE = "f" * 32 + "~"


log = logging.getLogger(__name__)


@dataclass
class Reconciliation:
    """The report of a sweep: how many objects of each outcome were stored in the window.

    ``known``: handled before. ``recovered``: handled now. ``untold``: would be handled (dry run only). ``failed``: the
    application did not accept it; the next sweep tries again. ``unavailable``: OSS or the ledger could not be asked.
    ``refused``: ticket, ledger or ``confirm`` does not allow it, OSS damaged it while joining its parts, or no request
    can name the object. ``settled``: refused, and ``on_orphan`` was called before. ``no_receipt``: the object carries
    none: a prefix form stored it, or it is not an upload. ``foreign``: its receipt was altered, has expired, or was
    sealed with another secret. ``gone``: deleted meanwhile.

    ``since`` and ``until`` bound the window, in Unix seconds. ``listed`` counts its objects, ``samples`` names up to 10
    for each outcome except the good ones, ``reasons`` counts the reason codes of objects that were not handled.
    ``oldest_untold`` is when the oldest failed or unavailable object was stored, in Unix seconds. ``resumed`` says that
    the sweep continues a stopped one, whose counts are included. ``progress`` is the share of prefixes that is done, 0
    to 1.
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
        """The outcomes that leave work to do, with their counts; empty if every upload is handled."""
        return {name: count for name, count in self.counts.items() if count and name in _LEFT}

    def add(self, outcome: str, listed: ListedObject, reason: str | None = None) -> None:
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


class Segment(NamedTuple):
    """A part of the listing that is not done yet, with its window in Unix seconds.

    It continues with the prefix of number ``prefix``, after the name ``after``.
    """

    since: float
    until: float
    prefix: int = 0
    after: str = ""


@dataclass(eq=False, repr=False)
class Sweep:
    """One sweep: lists names under prefixes, and has each unknown object handled.

    Each page of 1,000 names costs one request to the bucket and one look-up in the ledger; only unknown objects cost a
    HEAD. After a sweep was killed, the next one with the same prefixes continues after the last finished object; the
    ledger knows what was handled.

    :param lost: returns which objects of a page are unknown, and handles one object.
    :param report: an empty report with the window. A sweep that continues a stopped one has the window of both.
    :param state: the state that the last sweep saved.
    :param save: stores a state: at the beginning, after each object that needed a HEAD, and after each page.
    :param not_before: Unix seconds: no sweep looks at objects stored before, because the ledger may have forgotten that
        they were handled.
    :param skip_old_days: skip folders of unique names whose day is so old that no upload of a form of that day can be
        in the window.
    :param sharded: unique names have a shard before the day (OSS_NAME_SHARDS). In each of the 256 shards' folders, all
        old days are skipped together once the first name is listed. So a sweep costs two list requests for each shard,
        and one for each 1,000 names in the window, however many years of names there are.
    """

    lost: LostUploads
    prefixes: Sequence[str]
    report: Reconciliation
    state: InitVar[State]
    _: KW_ONLY
    save: Callable[[State], object]
    progress: Callable[[Reconciliation], object] | None
    not_before: float
    skip_old_days: bool
    sharded: bool

    def __post_init__(self, state: State) -> None:
        self._segments = [Segment(self.report.since, self.report.until)]
        #: No finished sweep has looked at objects stored after this time.
        self._unseen_since = self.report.since
        # The errors of HEAD requests that failed in a row, and the sweep's state before the first of them.
        self._failures: list[BucketError] = []
        self._before_failures = self._segments, self.report
        self._has_answered = False
        if state:
            self._take_up(state)

    def _take_up(self, state: State) -> None:
        """Continue a stopped sweep; warn if there is a gap between the last sweep's window and this one's."""
        since, until = self.report.since, self.report.until
        try:
            last, segments, unseen_since = _read(state)
        except ValueError:
            log.warning("the checkpoint of the last sweep cannot be read: the sweep begins anew")
            return
        if not segments:
            if last.until < since:
                line = "no sweep has looked at the %.1f hours before this one's window: sweep once with a longer since"
                log.warning(line, (since - last.until) / 3600)
            self._unseen_since = max(since, last.until)
            oldest = last.oldest_untold
            if oldest is not None and oldest >= self.not_before:
                # The last sweep could not deliver this object and perhaps later ones: the window has all that it looked
                # at since then.
                self._unseen_since = min(oldest, self._unseen_since)
                self.report.since, self.report.until = min(oldest, since), max(until, last.until)
                self._segments = [Segment(self.report.since, self.report.until)]
            return
        first, covered = max(last.since, self.not_before), max(last.until, self.not_before)
        kept = [each for each in segments if each.until >= self.not_before]
        self._segments = [each._replace(since=max(each.since, self.not_before)) for each in kept]
        # The segments, with those that are done, have each name of the stopped sweep's window once.
        if since < first:
            self._add(since, nextafter(first, -inf))
        if covered < until:
            self._add(nextafter(covered, inf), until)
        last.since, last.until, last.resumed = min(since, first), max(covered, until), True
        self.report = last
        self._unseen_since = max(unseen_since, self.not_before)

    def _add(self, since: float, until: float) -> None:
        """Add a time to a segment beside it that has not begun, or else as a segment."""
        for number, each in enumerate(self._segments):
            is_beside = nextafter(each.until, inf) == since or nextafter(each.since, -inf) == until
            if each.prefix == 0 and not each.after and is_beside:
                self._segments[number] = Segment(min(each.since, since), max(each.until, until))
                return
        self._segments.append(Segment(since, until))

    def run(self) -> Reconciliation:
        """Do all segments, and return the report.

        Raises BucketError, after which the next sweep asks again for all objects that OSS gave no answer about, and
        whatever else a callable raises.
        """
        self._save()
        while self._segments:
            since, until, prefix, after = self._segments[0]
            if prefix >= len(self.prefixes):
                self._segments.pop(0)
                continue
            page = self.lost.recovery.bucket.list(self.prefixes[prefix], after, PAGE)
            if page:
                self._handle_page(page, prefix, since, until)
                self._move(prefix, self._next_name(page[-1].key, since))
            else:
                self._move(prefix + 1, "")
            self._show()
            self._save()
        refusals = [error for error in self._failures if isinstance(error, BucketRefusedError)]
        if refusals:
            self._give_up(refusals[-1])
        self.report.progress = 1.0
        self._save()
        return self.report

    def _handle_page(self, page: Sequence[ListedObject], prefix: int, since: float, until: float) -> None:
        inside = [listed for listed in page if since <= listed.last_modified <= until]
        unknown = {listed.key for listed in self.lost.unknown(inside)}
        for listed in inside:
            outcome, reason = self._handle(listed) if listed.key in unknown else ("known", None)
            self.report.listed += 1
            self.report.add(outcome, listed, reason)
            self._move(prefix, listed.key)
            if listed.key in unknown:
                self._show()
                self._save()

    def _handle(self, listed: ListedObject) -> Outcome:
        """Return the outcome of one object; raise BucketError if the sweep must give up."""
        try:
            outcome, reason = self.lost.handle_listed(listed)
        except BucketError as error:
            # Until a first HEAD is answered, a refusal may mean that the key lacks the right to all objects.
            is_of_all = not self._has_answered and error.reason != "bucket_failed"
            if isinstance(error, BucketUnreachableError) or is_of_all:
                if not self._failures:
                    self._before_failures = list(self._segments), deepcopy(self.report)
                self._failures.append(error)
                times_away = sum(isinstance(each, BucketUnreachableError) for each in self._failures)
                if times_away >= _MAX_FAILURES or len(self._failures) >= _MAX_REFUSALS:
                    self._give_up(error)
            return "unavailable", error.reason
        if reason != "name_unreachable":
            self._failures.clear()
            self._has_answered = True
        return outcome, reason

    def _give_up(self, error: BucketError) -> NoReturn:
        """Raise an error; the next sweep asks again for all objects since the first failure."""
        self._segments, self.report = self._before_failures
        self._save()
        raise error

    def _next_name(self, name: str, since: float) -> str:
        """Return the name after which to continue: the end of the folder of a day that is too old, or this name."""
        match = _UNIQUE.fullmatch(name) if self.skip_old_days else None
        first_day = _first_day(since)
        if match is None or match[2] >= first_day:
            return name
        shard = _SHARDED.fullmatch(name) if self.sharded else None
        if shard is not None:  # a shard's folder contains only days
            return f"{shard[1]}{first_day}"
        return f"{match[1]}{match[2]}/{_BEHIND_UNIQUE}"

    def _move(self, prefix: int, after: str) -> None:
        self._segments[0] = self._segments[0]._replace(prefix=prefix, after=after)
        self.report.progress = min(1.0, prefix / len(self.prefixes))

    def _show(self) -> None:
        if self.progress is not None:
            self.progress(self.report)

    def _save(self) -> None:
        report = dict(vars(self.report))
        if sum(len(name) for names in self.report.samples.values() for name in names) > _MAX_SAMPLES_LENGTH:
            report["samples"] = {}
        self.save({"report": report, "segments": self._segments, "unseen_since": self._unseen_since})

    def left_beside(self, others: Mapping[str, float]) -> dict[str, float]:
        """Return when the oldest upload was stored that may not have been handed over, for each sweep that left one.

        The keys are the sweeps' prefixes, as a JSON list. While a sweep is not finished, it has left what came after
        the last finished sweep's window. ``others`` are those of other sweeps; a finished sweep has also looked for
        what they left in its window under its prefixes.
        """
        own = json.dumps(self.prefixes)
        left = {name: since for name, since in others.items() if name != own and not self._has_seen(name, since)}
        moments = [self.report.oldest_untold, self._unseen_since if self._segments else None]
        oldest = min((moment for moment in moments if moment is not None), default=None)
        return left if oldest is None else {**left, own: oldest}

    def _has_seen(self, prefixes: str, since: float) -> bool:
        """Return whether this sweep is finished and has looked under the prefixes at that time, or they are damaged."""
        try:
            is_covered = all(each.startswith(tuple(self.prefixes)) for each in json.loads(prefixes))
        except (AttributeError, TypeError, ValueError):
            return True
        return is_covered and not self._segments and self.report.since <= since


def _read(state: State) -> tuple[Reconciliation, list[Segment], float]:
    """Return a stored state's report, segments to do, and time since which nothing was seen; ValueError if damaged."""
    try:
        report = Reconciliation(**state["report"])
        segments = [Segment(*each) for each in state["segments"]]
        numbers = [report.since, report.until, report.progress, report.listed, report.oldest_untold or 0.0]
        numbers += [*report.counts.values(), *report.reasons.values(), state["unseen_since"]]
        numbers += [number for each in segments for number in (each.since, each.until, each.prefix)]
        has_names = all(isinstance(names, list) for names in report.samples.values())
        has_places = all(type(each.prefix) is int and each.prefix >= 0 for each in segments)
        has_places &= all(isinstance(each.after, str) for each in segments)
        if has_names and has_places and all(map(isfinite, numbers)):
            return report, segments, state["unseen_since"]
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        pass
    raise ValueError("the state is damaged")


def _first_day(since: float) -> str:
    """Return the first day, YYYYMMDD, whose forms may have stored an object after ``since``.

    A name has the day of its signature. A form is valid for up to 7 days, and its upload may take long.
    """
    first = datetime.fromtimestamp(max(since, 0), timezone.utc) - timedelta(seconds=MAX_EXPIRES + UPLOAD_SECONDS)
    return first.strftime("%Y%m%d")


def distinct(prefixes: Sequence[str]) -> list[str]:
    """Return the prefixes sorted, without those that another prefix covers."""
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
