"""The sweep: it lists the bucket, and handles each stored upload that the ledger does not know."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import filterfalse

from ..bucket import ListedObject, StoredObject
from ..callback.ticket import UPLOAD_SECONDS
from ..exceptions import BucketError, BucketRefusedError, BucketUnreachableError, LedgerUnavailableError
from ..object_names import has_dot_segment
from ..settings_check import MAX_EXPIRES
from ..threads import calls_ahead
from .recovery import KNOWN, NOTED, LostUploads, Outcome

PAGE = 1000
SAMPLES = 10
#: How many HEAD requests run at once.
_HEADS = 8
#: How many HEAD requests in a row may fail before the sweep gives up: where OSS cannot be reached, and where it refuses
#: all from the beginning, as a policy of the bucket may do for one folder.
_MAX_FAILURES, _MAX_REFUSALS = 3, PAGE

# A unique name in the folder of its day, as `object_names.unique_name` makes it.
_UNIQUE = re.compile(r"((?s:.*/)?)([0-9]{8})/[0-9a-f]{32}(?:\.[^/]*)?")
# A unique name with OSS_NAME_SHARDS: the token's first two digits stand before the day.
_SHARDED = re.compile(r"((?s:.*/)?([0-9a-f]{2})/)([0-9]{8})/\2[0-9a-f]{30}(?:\.[^/]*)?")
_BEHIND_UNIQUE = "f" * 32 + "~"


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
    ``oldest_untold`` is when the oldest failed or unavailable object was stored, in Unix seconds. ``progress`` is the
    share of prefixes that is done, 0 to 1.
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


@dataclass(eq=False, repr=False)
class Sweep:
    """One sweep: lists names under prefixes, and has each unknown object handled.

    Each page of 1,000 names costs one request to the bucket and a few look-ups in the ledger. Only objects that nobody
    has handled or noted cost a HEAD; up to eight of these run at once, while the handlers run one after another, in
    the order of the names.

    :param lost: returns what is known of the objects of a page, handles one object, and notes those that need no more
        looks.
    :param report: an empty report with the window.
    :param save: stores how far the sweep is; called at most once a second.
    :param clock: returns Unix seconds.
    :param skip_old_days: skip folders of unique names whose day is so old that no upload of a form of that day can be
        in the window.
    :param sharded: unique names have a shard before the day (OSS_NAME_SHARDS). In each of the 256 shards' folders, all
        old days are skipped together once the first name is listed. So a sweep costs two list requests for each shard,
        and one for each 1,000 names in the window, however many years of names there are.
    """

    lost: LostUploads
    prefixes: Sequence[str]
    report: Reconciliation
    _: KW_ONLY
    save: Callable[[], object]
    clock: Callable[[], float]
    progress: Callable[[Reconciliation], object] | None
    skip_old_days: bool
    sharded: bool

    def __post_init__(self) -> None:
        self._saved_at = self.clock()
        #: Objects that the ledger has not noted yet, with the reasons.
        self._looked_at: list[tuple[ListedObject, str]] = []
        #: The errors of HEAD requests that failed in a row.
        self._failures: list[BucketError] = []
        self._has_answered = False

    def run(self) -> None:
        """List everything, and fill the report.

        Raises BucketError if OSS gave no answer about so many objects that the window must be swept again, and whatever
        else a callable raises.
        """
        try:
            for number, prefix in enumerate(self.prefixes, start=1):
                self._sweep(prefix)
                self.report.progress = number / len(self.prefixes)
                self._show()
        except BaseException:
            with suppress(LedgerUnavailableError):
                self._note()
            raise
        refusals = [error for error in self._failures if isinstance(error, BucketRefusedError)]
        if refusals:
            raise refusals[-1]
        self.report.progress = 1.0

    def _sweep(self, prefix: str) -> None:
        after = ""
        while page := self.lost.recovery.bucket.list(prefix, after, PAGE):
            self._handle_page(page)
            after = self._next_name(page[-1].key)
            self._show()
            self._save()

    def _handle_page(self, page: Sequence[ListedObject]) -> None:
        inside = [listed for listed in page if self.report.since <= listed.last_modified <= self.report.until]
        unknown = self.lost.unknown(inside)
        noted = self.lost.noted(unknown)
        asked = dict.fromkeys(listed.key for listed in unknown if listed.key not in noted)
        names, head = filterfalse(has_dot_segment, asked), self.lost.recovery.head
        with calls_ahead(head, names, limit=_HEADS, thread_name="oss_wsgi-sweep") as next_head:
            for listed in inside:
                is_asked = listed.key in asked
                outcome, reason = self._handle(listed, next_head) if is_asked else noted.get(listed.key, KNOWN)
                self.report.listed += 1
                self.report.add(outcome, listed, reason)
                if is_asked:
                    self._show()
                    self._save()
        self._note()

    def _handle(self, listed: ListedObject, next_head: Callable[[], StoredObject]) -> Outcome:
        """Return the outcome of one object; raise BucketError if the sweep must give up."""
        try:
            outcome, reason = self.lost.handle_listed(listed, next_head)
        except BucketError as error:
            # Until a first HEAD is answered, a refusal may mean that the key lacks the right to all objects.
            is_of_all = not self._has_answered and error.reason != "bucket_failed"
            if isinstance(error, BucketUnreachableError) or is_of_all:
                self._failures.append(error)
                times_away = sum(isinstance(each, BucketUnreachableError) for each in self._failures)
                if times_away >= _MAX_FAILURES or len(self._failures) >= _MAX_REFUSALS:
                    raise
            return "unavailable", error.reason
        if reason != "name_unreachable":
            self._failures.clear()
            self._has_answered = True
        if reason is not None and NOTED.get(reason) == outcome:
            self._looked_at.append((listed, reason))
        return outcome, reason

    def _next_name(self, name: str) -> str:
        """Return the name after which to continue: the end of the folder of a day that is too old, or this name."""
        match = _UNIQUE.fullmatch(name) if self.skip_old_days else None
        first_day = _first_day(self.report.since)
        if match is None or match[2] >= first_day:
            return name
        shard = _SHARDED.fullmatch(name) if self.sharded else None
        if shard is not None:  # a shard's folder contains only days
            return f"{shard[1]}{first_day}"
        return f"{match[1]}{match[2]}/{_BEHIND_UNIQUE}"

    def _show(self) -> None:
        if self.progress is not None:
            self.progress(self.report)

    def _save(self) -> None:
        now = self.clock()
        if abs(now - self._saved_at) >= 1:
            self._saved_at = now
            self._note()
            self.save()

    def _note(self) -> None:
        self.lost.note(self._looked_at)
        self._looked_at.clear()


def _first_day(since: float) -> str:
    """Return the first day, YYYYMMDD, whose forms may have stored an object after ``since``.

    A name has the day of its signature. A form is valid for up to 7 days, and its upload may take long.
    """
    first = datetime.fromtimestamp(max(since, 0), timezone.utc) - timedelta(seconds=MAX_EXPIRES + UPLOAD_SECONDS)
    return first.strftime("%Y%m%d")
