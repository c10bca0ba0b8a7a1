"""The reconciler: it runs sweeps, one at a time, keeps what they have reached, and handles events."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Protocol, cast
from urllib.parse import unquote, unquote_plus

from ..bucket import ListedObject
from ..callback.upload import Upload
from ..exceptions import BucketError, NotDeliveredError, RecoveryError, SettingsError
from ..http import json_object
from ..ledger.base import Ledger
from ..settings import Settings
from .delivery import Delivered
from .events import UPLOAD_EVENTS, EventOutcome, UploadEvent, read_events
from .recovery import Known, LostUploads, OnOrphan, Recovery
from .sweep import Reconciliation, Sweep
from .window import State, distinct, moments, next_sweep, untold_beside, untold_by_sweeps

log = logging.getLogger(__name__)


class Counters(Protocol):
    """Counts the outcomes of sweeps and events, as ``Metrics`` does."""

    def on_reconciled(self, counts: Mapping[str, int]) -> None:
        """Count the outcomes of a sweep."""

    def on_event(self, outcome: str) -> None:
        """Count the outcome of an event."""


@dataclass(frozen=True, eq=False, repr=False)
class Reconciler:
    """Handles uploads whose report did not come: those that a sweep finds, and those that events name.

    :param recovery: returns the Recovery that asks the bucket. It is called only when the bucket must be asked, so a
        server that never sweeps needs no client of the bucket.
    :param deliver: passes an upload through the ledger to the application.
    :param prefixes: the prefixes that a sweep lists by default.
    :param known: as for ``DirectUpload``, like ``on_orphan``.
    :param clock: returns Unix seconds.
    """

    settings: Settings
    recovery: Callable[[], Recovery]
    deliver: Callable[[Upload], Delivered]
    ledger: Ledger
    _: KW_ONLY
    prefixes: Sequence[str]
    known: Known | None
    on_orphan: OnOrphan | None
    counters: Counters | None
    clock: Callable[[], float]

    @property
    def _bucket(self) -> str:
        return self.settings.bucket_and_host()[0]

    @property
    def _name(self) -> str:
        """The name of all sweeps of this bucket, since several buckets may share a ledger."""
        return f"sweep {self._bucket}"

    def reconcile(
        self,
        since: float | str | timedelta | datetime,
        until: float | str | timedelta | datetime,
        *,
        dry_run: bool,
        progress: Callable[[Reconciliation], object] | None,
        prefixes: Sequence[str] | None,
        known: Known | None,
        on_orphan: OnOrphan | None,
    ) -> Reconciliation:
        """Sweep the bucket, as ``DirectUpload.reconcile`` describes."""
        if isinstance(prefixes, str):
            raise TypeError(f"prefixes must be a list of prefixes, not the text {prefixes!r}.")
        known = self.known if known is None else known
        now = self.clock()
        window = moments(since, until, now)
        keep = self.settings.ledger_keep
        if now - window[0] > keep + 1 and known is None and not dry_run:
            raise SettingsError(
                f"The sweep would look back {(now - window[0]) / 3600:.1f} h, but the ledger remembers only "
                f"{keep / 3600:.1f} h, so older uploads could be handled twice: raise OSS_LEDGER_KEEP, look back "
                "less, or give known=."
            )
        lost = self._lost_uploads(known, on_orphan, now - window[0], dry_run=dry_run)
        prefixes = distinct(self.prefixes if prefixes is None else prefixes)
        place = f"{self._name} {hashlib.sha256(json.dumps(prefixes).encode()).hexdigest()[:16]}"
        not_before = min(window[0], now - keep) if known is None else 0.0
        with nullcontext() if dry_run else self.ledger.hold(self._name):
            last = None if dry_run else State.read(self.ledger.load(place))
            state = next_sweep(last, *window, not_before)
            report = Reconciliation(cast("float", state.since), state.until, dry_run)
            untold = self._untold_by_sweeps()  # here, where no other sweep changes it

            def save(state: State, seen_since: float) -> None:
                nonlocal untold
                if dry_run:
                    return
                self.ledger.save(place, state.text())
                now_untold = untold_beside(untold or {}, prefixes, state.untold_since, seen_since)
                if now_untold != untold:
                    untold = now_untold
                    self.ledger.save(self._name, json.dumps({"untold_since": untold}))

            def save_running() -> None:
                oldest = state.told if report.oldest_untold is None else min(state.told, report.oldest_untold)
                save(state._replace(told=oldest), inf)

            save_running()
            Sweep(
                lost,
                prefixes,
                report,
                save=save_running,
                clock=self.clock,
                progress=progress,
                skip_old_days=self.settings.upload_names == "unique",
                sharded=self.settings.name_shards,
            ).run()
            save(state.finished(report.oldest_untold), report.since)
        log.info("sweep: %s", " ".join(f"{name}={count}" for name, count in report.counts.items()))
        if self.counters is not None and not dry_run:
            self.counters.on_reconciled(report.counts)
        return report

    def handle_events(self, body: bytes | str) -> list[EventOutcome]:
        """Handle the uploads that a message names, as ``DirectUpload.handle_event`` describes."""
        outcomes: list[EventOutcome] = []
        postponed: RecoveryError | None = None
        for event in read_events(body):
            try:
                outcome = self._handle_event(event)
            except (BucketError, NotDeliveredError) as error:
                postponed = postponed or error
                continue
            outcomes.append(outcome)
            if self.counters is not None:
                self.counters.on_event(outcome.outcome)
        if postponed is not None:
            raise postponed
        return outcomes

    def oldest_untold_seconds(self) -> float | None:
        """Return the age of the oldest upload that may not be handed over; 0 if none, None before the first sweep."""
        untold = self._untold_by_sweeps()
        if not untold:
            return None if untold is None else 0.0
        return max(0.0, self.clock() - min(untold.values()))  # 0 for a clock that was set back

    def _untold_by_sweeps(self) -> dict[str, float] | None:
        """Return since when something may be untold for each list of prefixes; None before the first sweep."""
        state = json_object(self.ledger.load(self._name) or "") or {}
        return untold_by_sweeps(state["untold_since"]) if "untold_since" in state else None

    def _handle_event(self, event: UploadEvent) -> EventOutcome:
        if event.bucket != self._bucket or event.name not in UPLOAD_EVENTS:
            return EventOutcome("ignored", event.key)
        lost = self._lost_uploads(self.known)
        listed = ListedObject(event.key, 0, event.etag, self.clock())
        if event.etag and not lost.unknown([listed]):
            return EventOutcome("known", event.key)
        outcome, reason = lost.handle(listed)
        for decoded in dict.fromkeys((unquote(event.key), unquote_plus(event.key))):
            if outcome == "gone" and decoded != event.key:  # OSS does not document whether it encodes the name, nor how
                listed = listed._replace(key=decoded)
                outcome, reason = lost.handle(listed)
        if outcome in ("failed", "unavailable"):
            hint = (
                f"{listed.key!r} was not accepted ({reason or 'no 2xx'}): do not delete the message, so that it comes "
                "again"
            )
            raise NotDeliveredError("not_delivered", hint)
        return EventOutcome("refused" if outcome == "settled" else outcome, listed.key, reason)

    def _lost_uploads(
        self, known: Known | None, on_orphan: OnOrphan | None = None, look_back: float = 0.0, *, dry_run: bool = False
    ) -> LostUploads:
        return LostUploads(
            self.recovery(),
            self.deliver,
            self.ledger,
            known=known,
            on_orphan=self.on_orphan if on_orphan is None else on_orphan,
            remember_until=int(self.clock() + max(look_back, self.settings.ledger_keep)),
            dry_run=dry_run,
        )
