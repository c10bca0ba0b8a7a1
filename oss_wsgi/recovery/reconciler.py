"""Sweeps and events together: the window and the checkpoint of a sweep, and what becomes of one stored object."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import unquote, unquote_plus

from ..bucket import ListedObject
from ..callback.upload import Upload
from ..exceptions import (
    BucketError,
    BucketRefusedError,
    LedgerUnavailableError,
    NotDeliveredError,
    NotStoredError,
    RecoveryError,
    SettingsError,
    UnverifiedError,
)
from ..ledger.base import Ledger, StoredResponse, UploadIdentity
from ..object_names import has_dot_segment
from ..settings import Settings
from .checkpoint import FileCheckpoint, LedgerCheckpoint, State
from .events import UPLOAD_EVENTS, EventOutcome, UploadEvent, read_events
from .recovery import Deliver, Delivered, Recovery
from .sweep import Outcome, Reconciliation, Sweep, distinct, moments

Pair = tuple[str, str]
Known = Callable[[Sequence[Pair]], Iterable[Pair]]
OnOrphan = Callable[[Upload], object]

_UNREACHABLE: Outcome = "refused", "name_unreachable"
#: What stands in the ledger in the place of an object's name, with a hash of object and ETag.
_ORPHAN = "oss_wsgi orphan"
_TOLD = StoredResponse("200 OK", "", b"")
_NOT_TOLD = StoredResponse("500 Internal Server Error", "", b"")

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
        stored = self._stored_objects(known, on_orphan, now - window[0], dry_run=dry_run)
        prefixes = distinct(self._prefixes if prefixes is None else prefixes)
        places = self._checkpoint if checkpoint is None else FileCheckpoint(checkpoint)
        place = f"{self._name} {hashlib.sha256(json.dumps(prefixes).encode()).hexdigest()[:16]}"
        untold_since = self._checkpoint.load(self._name)

        def save(state: State) -> None:
            nonlocal untold_since
            if dry_run:
                return
            places.save(place, state)
            if untold_since != {"untold_since": sweep.untold_since}:  # the server's metrics know no file
                untold_since = {"untold_since": sweep.untold_since}
                self._checkpoint.save(self._name, untold_since)

        with nullcontext() if dry_run else self._ledger.hold(self._name):
            sweep = Sweep(
                self._recovery().bucket,
                prefixes,
                Reconciliation(*window, dry_run),
                {} if dry_run else places.load(place),
                unknown=stored.unknown,
                handle=stored.handle_listed,
                save=save,
                progress=progress,
                not_before=min(window[0], now - keep) if known is None else 0.0,
                skip_old_days=self._settings.upload_names == "unique",
                sharded=self._settings.name_shards,
            )
            report = sweep.run()
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
        """Return the age of the oldest upload that may be untold; 0 if none, None before the first sweep."""
        state = self._checkpoint.load(self._name)
        if "untold_since" not in state:
            return None
        since = state["untold_since"]
        # A clock that was set back, and what was damaged, is no age.
        return max(0.0, self._clock() - since) if isinstance(since, int | float) else 0.0

    def _handle_event(self, event: UploadEvent) -> EventOutcome:
        if event.bucket != self._bucket_name or event.name not in UPLOAD_EVENTS:
            return EventOutcome("ignored", event.key)
        stored = self._stored_objects(self.known)
        listed = ListedObject(event.key, 0, event.etag, self._clock())
        if event.etag and not stored.unknown([listed]):
            return EventOutcome("known", event.key)
        outcome, reason = stored.handle(listed)
        for decoded in dict.fromkeys((unquote(event.key), unquote_plus(event.key))):
            if outcome == "gone" and decoded != event.key:  # OSS does not say whether and how it encodes the name
                listed = listed._replace(key=decoded)
                outcome, reason = stored.handle(listed)
        if outcome in ("failed", "unavailable"):
            hint = f"{listed.key!r} was not accepted ({reason or 'no 2xx'}): let the message come again"
            raise NotDeliveredError("not_delivered", hint)
        return EventOutcome("refused" if outcome == "settled" else outcome, listed.key, reason)

    def _stored_objects(
        self, known: Known | None, on_orphan: OnOrphan | None = None, look_back: float = 0.0, *, dry_run: bool = False
    ) -> _StoredObjects:
        return _StoredObjects(
            self._recovery(),
            self._deliver,
            self._ledger,
            known=known,
            on_orphan=self._on_orphan if on_orphan is None else on_orphan,
            remember_until=int(self._clock() + max(look_back, self._settings.ledger_keep)),
            dry_run=dry_run,
        )

    @property
    def _bucket_name(self) -> str:
        return self._settings.bucket_and_host()[0]

    @property
    def _name(self) -> str:
        """The name of what all sweeps of the bucket share; a ledger may serve several buckets."""
        return f"sweep {self._bucket_name}"


class _StoredObjects:
    """Handles stored objects of which no report came, one at a time.

    :param known: ``(pairs of object and ETag) -> those that the application has handled``, asked for what the ledger
        does not know.
    :param on_orphan: called with each upload that the checks refuse, through the ledger: once, and again only where an
        exception or the end of the process cut it off.
    :param remember_until: the Unix seconds until which the ledger remembers that.
    :param dry_run: handle nothing, call nothing, store nothing.
    """

    def __init__(
        self,
        recovery: Recovery,
        deliver: Deliver,
        ledger: Ledger,
        *,
        known: Known | None,
        on_orphan: OnOrphan | None,
        remember_until: int,
        dry_run: bool,
    ) -> None:
        self._recovery = recovery
        self._deliver = deliver
        self._ledger = ledger
        self._known = known
        self._on_orphan = on_orphan
        self._remember_until = remember_until
        self._dry_run = dry_run

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

    def handle_listed(self, listed: ListedObject) -> Outcome:
        """Do what ``handle`` does with an object that OSS has listed, so that it is there whatever its name."""
        try:
            outcome, reason = self.handle(listed)
        except BucketRefusedError as error:
            if error.code != "SignatureDoesNotMatch":  # the listing was answered to the same key
                raise
            outcome, reason = _UNREACHABLE
        if (outcome, reason) == _UNREACHABLE:
            hint = "HTTP clients change this name, or OSS refuses it, so no exact form stored it: it is left behind"
            orphan = Upload(self._recovery.bucket_name, listed.key, listed.etag or None, listed.size)
            error = UnverifiedError("name_unreachable", hint)
            return self._refuse(orphan, error.reason, error.hint)
        return outcome, reason

    def handle(self, listed: ListedObject) -> Outcome:
        """Handle one object that the ledger does not know; return its outcome and the reason. Raises BucketError."""
        if has_dot_segment(listed.key):  # nothing of ours: such names are not signed
            return _UNREACHABLE
        try:
            upload, head_request_id = self._recovery.find_by_receipt(listed.key)
        except NotStoredError:
            return "gone", None
        except BucketRefusedError as error:
            if error.code != "InvalidObjectName":
                raise
            return _UNREACHABLE
        except UnverifiedError as error:
            if error.reason == "receipt_missing":
                return "no_receipt", error.reason
            if error.reason.startswith("receipt_"):
                return "foreign", error.reason
            orphan = error.upload if isinstance(error.upload, Upload) else Upload(object=listed.key, etag=listed.etag)
            return self._refuse(orphan, error.reason, error.hint)
        pair = upload.object or "", upload.etag or ""
        if pair != (listed.key, listed.etag) and not self.unknown([listed._replace(key=pair[0], etag=pair[1])]):
            return "known", None
        if self._dry_run:
            return "untold", None
        delivered = self._deliver(upload)
        outcome = _outcome_of(delivered)
        line = "reconcile: outcome=%s object=%r user=%r reason=%s head_request_id=%s"
        log.info(line, outcome, upload.object, upload.user, delivered.reason, head_request_id or "-")
        if outcome == "refused":
            return self._refuse(upload, delivered.reason or outcome, "the application's side refused it")
        return outcome, delivered.reason

    def _refuse(self, orphan: Upload, reason: str, hint: str) -> Outcome:
        """Return the outcome of an upload that can never be handled: ``refused`` when it is told, ``settled`` later."""
        text = json.dumps([self._recovery.bucket_name, orphan.object, orphan.etag])
        digest = hashlib.sha256(text.encode()).hexdigest()  # a database may not store what OSS allows in a name
        identity = UploadIdentity(digest[:32], _ORPHAN, digest, self._remember_until)
        if self._dry_run:
            return ("settled" if self._ledger.known([(_ORPHAN, digest)]) else "refused"), reason
        outcome = "settled"

        def tell(transaction: object | None) -> StoredResponse:
            nonlocal outcome
            outcome = "refused"
            log.warning("reconcile refused %r: reason=%s hint=%r", orphan.object, reason, hint)
            try:
                if self._on_orphan is not None:
                    self._on_orphan(orphan)
            except Exception:
                log.exception("on_orphan raised for %r; it is called again for it", orphan.object)
                return _NOT_TOLD
            return _TOLD

        self._ledger.run_once(identity, tell)
        return outcome, reason


def _outcome_of(delivered: Delivered) -> str:
    """Return the outcome of an upload that was delivered: recovered, known, refused, unavailable or failed."""
    if 200 <= delivered.status < 300:
        return "known" if delivered.reason == "repeated" else "recovered"
    if delivered.reason in ("ticket_used", "not_yours", "not_confirmed", "crc64_mismatch"):
        return "refused"
    return "unavailable" if delivered.status == 503 else "failed"
