"""The reconciler: it runs sweeps, with their window and checkpoint, and handles events."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Protocol
from urllib.parse import unquote, unquote_plus

from ..bucket import ListedObject
from ..callback.upload import Upload
from ..exceptions import BucketError, NotDeliveredError, RecoveryError, SettingsError
from ..ledger.base import Ledger
from ..settings import Settings
from .checkpoint import CheckpointFile, State, load_state, save_state
from .delivery import Delivered
from .events import UPLOAD_EVENTS, EventOutcome, UploadEvent, read_events
from .recovery import Known, LostUploads, OnOrphan, Recovery
from .sweep import Reconciliation, Sweep, distinct, moments

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
        checkpoint: str | os.PathLike[str] | None,
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
        store: Ledger | CheckpointFile = self.ledger if checkpoint is None else CheckpointFile(checkpoint)
        place = f"{self._name} {hashlib.sha256(json.dumps(prefixes).encode()).hexdigest()[:16]}"
        left: dict[str, float] | None = None

        def save(state: State) -> None:
            nonlocal left
            if dry_run:
                return
            save_state(store, place, state)
            now_left = sweep.left_beside(left or {})
            if now_left != left:  # the server's metrics know no file
                left = now_left
                save_state(self.ledger, self._name, {"untold_since": left})

        with nullcontext() if dry_run else self.ledger.hold(self._name):
            left = self._left_by_sweeps()  # here, where no other sweep changes it
            sweep = Sweep(
                lost,
                prefixes,
                Reconciliation(*window, dry_run),
                {} if dry_run else load_state(store, place),
                save=save,
                progress=progress,
                not_before=min(window[0], now - keep) if known is None else 0.0,
                skip_old_days=self.settings.upload_names == "unique",
                sharded=self.settings.name_shards,
            )
            report = sweep.run()
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
        left = self._left_by_sweeps()
        if not left:
            return None if left is None else 0.0
        return max(0.0, self.clock() - min(left.values()))  # 0 for a clock that was set back

    def _left_by_sweeps(self) -> dict[str, float] | None:
        """Return what ``Sweep.left_beside`` returned last, without damaged values; None before the first sweep."""
        state = load_state(self.ledger, self._name)
        if "untold_since" not in state:
            return None
        left = state["untold_since"] if isinstance(state["untold_since"], dict) else {}
        return {name: since for name, since in left.items() if isinstance(since, int | float) and isfinite(since)}

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
