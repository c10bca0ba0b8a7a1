"""Sweeps and events together: which window and checkpoint a sweep has, and what an event does."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import unquote, unquote_plus

from ..bucket import ListedObject
from ..exceptions import BucketError, NotDeliveredError, RecoveryError, SettingsError
from ..ledger.base import Ledger
from ..settings import Settings
from .checkpoint import FileCheckpoint, LedgerCheckpoint
from .events import UPLOAD_EVENTS, EventOutcome, UploadEvent, read_events
from .recovery import Deliver, Recovery
from .sweep import Known, OnOrphan, Reconciliation, Sweep, last_report, moments

log = logging.getLogger(__name__)


class Counters(Protocol):
    """Counts what sweeps and events did, as ``Metrics`` does."""

    def on_reconciled(self, counts: Mapping[str, int]) -> None:
        """Count the outcomes of a sweep."""
        ...

    def on_event(self, outcome: str) -> None:
        """Count the outcome of an event."""
        ...


class Reconciler:
    """Handles the uploads of which no report came: those that a sweep finds, and those that events name.

    :param recovery: returns what asks the bucket. It is called when something must be asked, so that a server that
        never sweeps needs no client of the bucket.
    :param deliver: passes an upload through the ledger to the application.
    :param prefixes: what a sweep lists when it is given none.
    :param known: as of ``DirectUpload``, like ``on_orphan``.
    :param clock: returns Unix seconds.
    """

    def __init__(
        self,
        settings: Settings,
        recovery: Callable[[], Recovery],
        deliver: Deliver,
        ledger: Ledger,
        *,
        prefixes: Sequence[str],
        known: Known | None,
        on_orphan: OnOrphan | None,
        counters: Counters | None,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._recovery = recovery
        self._deliver = deliver
        self._ledger = ledger
        self._checkpoint = LedgerCheckpoint(ledger)
        self._prefixes = prefixes
        self.known = known
        self._on_orphan = on_orphan
        self._counters = counters
        self._clock = clock

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
        checkpoint: str | os.PathLike[str] | None,
    ) -> Reconciliation:
        """Sweep the bucket, as ``DirectUpload.reconcile`` describes."""
        if isinstance(prefixes, str):
            raise TypeError(f"prefixes must be a list of prefixes, not the text {prefixes!r}.")
        known = self.known if known is None else known
        now = self._clock()
        window = moments(since, until, now)
        keep = self._settings.ledger_keep
        if now - window[0] > keep + 1 and known is None and not dry_run:
            raise SettingsError(
                f"The sweep would look back {(now - window[0]) / 3600:.1f} h, but the ledger remembers only "
                f"{keep / 3600:.1f} h, so that older uploads could be handled twice: raise OSS_LEDGER_KEEP, look back "
                "less, or give known=."
            )
        sweep = Sweep(
            self._recovery(),
            self._deliver,
            self._ledger,
            self._checkpoint if checkpoint is None else FileCheckpoint(checkpoint),
            known=known,
            on_orphan=self._on_orphan if on_orphan is None else on_orphan,
            skip_old_days=self._settings.upload_names == "unique",
            sharded=self._settings.name_shards,
        )
        prefixes = self._prefixes if prefixes is None else prefixes
        not_before = min(window[0], now - keep) if known is None else 0.0
        report = sweep.run(prefixes, *window, not_before=not_before, dry_run=dry_run, progress=progress)
        log.info("reconcile: %s", " ".join(f"{name}={count}" for name, count in report.counts.items()))
        if self._counters is not None and not dry_run:
            self._counters.on_reconciled(report.counts)
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
            if self._counters is not None:
                self._counters.on_event(outcome.outcome)
        if postponed is not None:
            raise postponed
        return outcomes

    def oldest_untold_seconds(self) -> float | None:
        """Return the age of the oldest upload that the last sweep had to leave; 0 if none, None without a sweep."""
        report = last_report(self._checkpoint, self._settings.bucket_and_host()[0])
        if report is None:
            return None
        return 0.0 if report.oldest_untold is None else max(0.0, self._clock() - report.oldest_untold)

    def _handle_event(self, event: UploadEvent) -> EventOutcome:
        bucket, _ = self._settings.bucket_and_host()
        if event.bucket != bucket or event.name not in UPLOAD_EVENTS:
            return EventOutcome("ignored", event.key)
        sweep = Sweep(self._recovery(), self._deliver, self._ledger, self._checkpoint, known=self.known)
        listed = ListedObject(event.key, 0, event.etag, self._clock())
        if event.etag and not sweep.unknown([listed]):
            return EventOutcome("known", event.key)
        outcome, reason = sweep.outcome_of(listed, dry_run=False)
        for decoded in dict.fromkeys((unquote(event.key), unquote_plus(event.key))):
            if outcome == "gone" and decoded != event.key:  # OSS does not say whether and how it encodes the name
                listed = listed._replace(key=decoded)
                outcome, reason = sweep.outcome_of(listed, dry_run=False)
        if outcome in ("failed", "unavailable"):
            hint = f"{listed.key!r} was not accepted ({reason or 'no 2xx'}): let the message come again"
            raise NotDeliveredError("not_delivered", hint)
        return EventOutcome(outcome, listed.key, reason)
