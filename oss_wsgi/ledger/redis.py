"""A ledger on Redis or Valkey, for many machines: claims are leases, and scripts on the server decide."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from hashlib import blake2b
from secrets import token_bytes
from types import TracebackType
from typing import Any, NamedTuple

from ..exceptions import LedgerUnavailableError, SettingsError
from .base import (
    DEFAULT_WAIT_TIMEOUT,
    Handle,
    StoredResponse,
    UploadIdentity,
    already_waiting_error,
    ledger_busy_error,
    ticket_used_error,
)
from .redis_client import REFUSED_PARAMETERS, RedisConnection, Run, Script, checked_prefix, import_redis, server_errors
from .steady_time import MARGIN

#: Seconds for which a claim holds unless it is renewed.
LEASE = 12.0

DEFAULT_PREFIX = "oss-wsgi"

#: Milliseconds for which WAITAOF waits at the most. With `appendfsync everysec` the disk may take over a second.
_SYNC_MILLISECONDS = 2000

#: Seconds between two questions of a waiting call, from the first to the last.
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 0.2

# A claim that ran out stays for as long: its holder may still finish it where nobody has taken it over.
_GRACE_MILLISECONDS = 60_000

_INDEX_PARTS = 256

log = logging.getLogger(__name__)

_NOW = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
"""

# KEYS: claims, answers. Claims are fields of pair -> token (12 bytes), object (16), end of the lease in milliseconds.
# Answers: 'r' and pair -> response, 'o' and object -> '', 'n' -> how many objects have a response, where a ticket is
# valid for several.
_CLAIM = Script.of(
    f"""{_NOW}
local claims, answers = KEYS[1], KEYS[2]
local object, pair, token, lease, most, once = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local response = redis.call('HGET', answers, 'r' .. pair)
if response then return {{'kept', response}} end
local stored = redis.call('HEXISTS', answers, 'o' .. object) == 1
if stored and once == '1' then return {{'used', 1}} end
local handling, rest, claimed, new, others = 0, nil, false, 0, {{}}
local mine = false
local fields = redis.call('HGETALL', claims)
for i = 1, #fields, 2 do
    local owner, name = string.sub(fields[i + 1], 1, 12), string.sub(fields[i + 1], 13, 28)
    local ends = tonumber(string.sub(fields[i + 1], 29))
    if owner == token and fields[i] == pair then
        mine = true
    elseif ends <= now then
        redis.call('HDEL', claims, fields[i])
    else
        handling = handling + 1
        if name == object then
            claimed = true
            if fields[i] == pair or once == '1' then rest = math.max(rest or 0, ends - now) end
        elseif not others[name] and redis.call('HEXISTS', answers, 'o' .. name) == 0 then
            others[name] = true
            new = new + 1
        end
    end
end
if not mine then
    if rest then return {{'busy', handling, rest}} end
    if not stored and not claimed then
        local count
        if most == 1 then
            count = redis.call('HLEN', answers)
        else
            count = tonumber(redis.call('HGET', answers, 'n') or '0')
        end
        if count >= most then return {{'used', most}} end
        if count + new >= most then return {{'busy', handling, lease}} end
    end
end
redis.call('HSET', claims, pair, token .. object .. string.format('%.0f', now + lease))
if redis.call('PTTL', claims) < lease + {_GRACE_MILLISECONDS} then
    redis.call('PEXPIRE', claims, lease + {_GRACE_MILLISECONDS})
end
return {{'mine'}}
"""
)

# The response is written first, and the claim deleted last: a server without memory stops the script at a write.
_FINISH = Script.of(
    f"""{_NOW}
local claims, answers = KEYS[1], KEYS[2]
local object, pair, token, response, expires = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]) * 1000
local most = tonumber(ARGV[6])
local claim = redis.call('HGET', claims, pair)
if not claim or string.sub(claim, 1, 12) ~= token then
    local kept = redis.call('HGET', answers, 'r' .. pair)
    if kept then return {{'kept', kept}} end
    return {{'lost'}}
end
local added = redis.call('HSET', answers, 'r' .. pair, response, 'o' .. object, '')
if most > 1 and added == 2 then redis.call('HINCRBY', answers, 'n', 1) end
local life = math.max(0, expires - now) + {MARGIN * 1000}
if redis.call('PTTL', answers) < life then redis.call('PEXPIRE', answers, string.format('%.0f', life)) end
redis.call('HDEL', claims, pair)
return {{'stored'}}
"""
)

# KEYS: the mark of a pair of object and ETag, which holds the ticket that it was last stored for; the counts of
# responses by the hour in which they are forgotten.
_INDEX = Script.of(
    f"""{_NOW}
local life = math.max(0, tonumber(ARGV[1]) * 1000 - now) + {MARGIN * 1000}
local former = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], ARGV[2], 'PX', string.format('%.0f', life))
if former == ARGV[2] then return 0 end
if redis.call('HINCRBY', KEYS[2], string.format('%.0f', math.floor((now + life) / 3600000)), 1) == 1
        and redis.call('PTTL', KEYS[2]) < life + 3600000 then
    redis.call('PEXPIRE', KEYS[2], string.format('%.0f', life + 3600000))
end
return 1
"""
)

_ABANDON = Script.of(
    """
local claim = redis.call('HGET', KEYS[1], ARGV[1])
if claim and string.sub(claim, 1, 12) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
return 0
"""
)

_RENEW = Script.of(
    f"""{_NOW}
local claim = redis.call('HGET', KEYS[1], ARGV[1])
if not claim or string.sub(claim, 1, 12) ~= ARGV[2] then return 0 end
local lease = tonumber(ARGV[3])
redis.call('HSET', KEYS[1], ARGV[1], string.sub(claim, 1, 28) .. string.format('%.0f', now + lease))
if redis.call('PTTL', KEYS[1]) < lease + {_GRACE_MILLISECONDS} then
    redis.call('PEXPIRE', KEYS[1], lease + {_GRACE_MILLISECONDS})
end
return 1
"""
)

# Returns the count of responses that are not forgotten yet, and deletes the counts of former hours.
_COUNT = Script.of(
    f"""{_NOW}
local total, fields = 0, redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if (tonumber(fields[i]) + 1) * 3600000 < now then
        redis.call('HDEL', KEYS[1], fields[i])
    else
        total = total + tonumber(fields[i + 1])
    end
end
return total
"""
)

# Writes as an upload would, so that a replica, a full memory or a disk that fails shows itself.
_CHECK = Script.of("redis.call('SET', KEYS[1], '', 'PX', 1000) return redis.call('DEL', KEYS[1])")


class RedisLedger:
    """A ledger on Redis or Valkey (6.2 or later), which many processes and machines share.

    An upload is handled **at least once**, and once as long as nothing stalls and no server fails:

    - A process that stands still for longer than the lease (a paused machine, a long collection of garbage) may find
      that another one has handled its upload too. Its own response is not stored then: the token of its claim no longer
      fits. ``handle`` has run twice.
    - A process that dies leaves its claim for as long as the lease: its upload is refused (``ledger_busy``) until then,
      and ``recover`` or ``reconcile`` brings it back.
    - Replication is asynchronous. A failover forgets what the new primary had not got, and those uploads are handled
      again when they are reported again.
    - A crash of the server forgets what its disk had not got: nothing with ``appendfsync always``; with ``everysec``
      nothing that ``wait_for_sync`` waited for; up to everything without ``appendonly``.

    So let ``on_upload`` do the same when it runs twice. Where that cannot be, use a ledger on SQL.

    All time is the server's: no clock of this machine decides. A response is forgotten a day after its ticket, and
    OSS_LEDGER_KEEP, have ended by the server's clock; the day covers a server's clock that was wrong or is set.

    The keys of a ticket are in one slot, so a cluster works. ``maxmemory-policy`` must be ``noeviction``, which is
    checked. A user of the server's ACL needs ``~PREFIX:*`` and ``+@read +@write +@scripting +@connection +info
    +time``; ``+config|get`` and ``+waitaof`` are used where they are allowed, and ``+cluster`` in a cluster.

    :param url_or_client: ``redis://``, ``rediss://`` (TLS), ``valkey://``, ``valkeys://`` or ``unix://``; or a
        ``redis.Redis`` or ``redis.RedisCluster`` of the application's own, which stays open. A URL may end in
        ``?wait_for_sync=off`` or ``?prefix=NAME``.
    :param clock: is not read; it is taken because other ledgers need one.
    :param prefix: begins the names of all keys. Applications that share a server have different ones.
    :param wait_timeout: seconds for which a call waits for others, as in MemoryLedger. Each process has at the most as
        many waiting calls for a ticket as all processes are handling uploads of it.
    :param lease: seconds for which a claim holds; one thread in each process renews the claims of its calls.
    :param wait_for_sync: return only when the server has the response on its disk, where it has WAITAOF (Redis 7.2,
        Valkey) and ``appendonly``. With ``appendfsync everysec`` an upload then takes up to a second longer; with
        ``always`` it costs nothing.

    Raises SettingsError for a URL or a server that cannot be used, or one that evicts keys.
    """

    def __init__(
        self,
        url_or_client: Any,
        *,
        clock: Callable[[], float] | None = None,
        prefix: str = DEFAULT_PREFIX,
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
        lease: float = LEASE,
        wait_for_sync: bool = True,
    ) -> None:
        if not 0.1 <= lease <= 3600:
            raise ValueError(f"lease must be 0.1 to 3600 seconds, not {lease!r}.")
        self._connection = RedisConnection(url_or_client, own_options=("prefix", "wait_for_sync"))
        self._prefix = checked_prefix(self._connection.options.get("prefix", prefix))
        self._wait_for_sync = _read_switch(self._connection.options.get("wait_for_sync"), wait_for_sync)
        self._wait_timeout = wait_timeout
        self._lease = round(lease * 1000)
        self._leases = _Leases(self._connection, self._lease)
        self._waiting: dict[str, int] = {}  # calls by ticket
        self._lock = threading.Lock()
        self._sync_milliseconds = 0
        try:
            self._check_policy()
            if self._wait_for_sync:
                self._sync_milliseconds = self._examine_disk()
        except (*server_errors(), *REFUSED_PARAMETERS) as error:
            self._connection.close()
            if isinstance(error, SettingsError):
                raise
            message = self._connection.message(error).removesuffix(".")
            raise SettingsError(f"The ledger {self.url} cannot be used: {message}.") from None
        _ledgers.add(self)

    def __repr__(self) -> str:
        return f"RedisLedger({self.url!r})"

    def __enter__(self) -> RedisLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Return the number of stored responses, by the hour in which they end; LedgerUnavailableError if unknown."""
        try:
            runs = [Run(_COUNT, [f"{self._prefix}:{{{part:02x}}}:n"], ()) for part in range(_INDEX_PARTS)]
            if self._connection.is_cluster:
                return sum(int(self._connection.run(run)) for run in runs)
            return sum(map(int, self._connection.run_all(runs)[0]))
        except server_errors() as error:
            raise self._unavailable(error) from None

    @property
    def url(self) -> str:
        """The server's URL, without user, password and parameters."""
        return self._connection.shown

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the pairs of object and ETag that were handled, as ``Ledger.known`` describes."""
        asked = list(dict.fromkeys(pairs))
        if not asked:
            return set()
        try:
            pipeline = self._connection.client.pipeline(transaction=False)
            for name, etag in asked:
                pipeline.exists(self._mark(_digest(name, etag)))
            found = pipeline.execute()
        except server_errors() as error:
            raise self._unavailable(error) from None
        return {pair for pair, exists in zip(asked, found, strict=True) if exists}

    def check(self) -> None:
        """Write a key and delete it again; LedgerUnavailableError when that fails, or when the server evicts keys."""
        try:
            self._connection.run(Run(_CHECK, [f"{self._prefix}:check"], ()))
            self._check_policy()
        except SettingsError as error:
            raise LedgerUnavailableError("ledger_unavailable", str(error)) from error
        except server_errors() as error:
            raise self._unavailable(error) from None

    def close(self) -> None:
        """Close this process's connections and end its thread; the next call opens them again.

        While calls handle uploads, their claims are still renewed.
        """
        self._leases.close()
        self._connection.close()

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, as ``Ledger.run_once`` describes.

        When the response cannot be stored after ``handle``, that is logged and raised as LedgerUnavailableError; the
        next call handles the upload again.

        Raises TicketUsedError, LedgerUnavailableError (``ledger_busy``, ``ledger_unavailable``), and whatever
        ``handle`` raises.
        """
        upload = _Claim.of(identity, self._prefix)
        try:
            stored = self._wait_for_claim(identity, upload)
        except server_errors() as error:
            raise self._unavailable(error) from None
        if stored is not None:
            return stored
        self._leases.hold(upload)
        response: StoredResponse | None = None
        try:
            response = handle(None)
            if response.status[:1] == "2":
                return self._finish(identity, upload, response)
            return response
        finally:
            self._leases.release(upload)
            if response is None or response.status[:1] != "2":
                self._abandon(identity, upload)

    def _wait_for_claim(self, identity: UploadIdentity, upload: _Claim) -> StoredResponse | None:
        """Return the stored response, or None when the upload is claimed."""
        question = Run(
            _CLAIM,
            upload.keys,
            (
                upload.object,
                upload.pair,
                upload.token,
                self._lease,
                identity.max_objects,
                "1" if identity.forbid_overwrite else "0",
            ),
        )
        waited, pause, is_waiting = 0.0, _FIRST_PAUSE, False
        try:
            while True:
                verdict, *rest = self._connection.run(question)
                if verdict == b"mine":
                    return None
                if verdict == b"kept":
                    return _unpacked(rest[0])
                if verdict == b"used":
                    raise ticket_used_error(int(rest[0]))
                handling, remaining = map(int, rest)
                is_waiting = is_waiting or (identity.may_wait and self._may_wait(identity.ticket, handling))
                if not is_waiting:
                    raise already_waiting_error(identity)
                if waited >= self._wait_timeout:
                    raise ledger_busy_error(self._wait_timeout)
                seconds = min(pause, remaining / 1000 + 0.001, self._wait_timeout - waited)
                threading.Event().wait(seconds)
                waited += seconds
                pause = min(pause * 1.5, _LAST_PAUSE)
        finally:
            if is_waiting:
                self._stop_waiting(identity.ticket)

    def _may_wait(self, ticket: str, handling: int) -> bool:
        """Count a call as waiting, unless as many wait already as uploads of the ticket are being handled."""
        with self._lock:
            waiting = self._waiting.get(ticket, 0)
            if waiting < handling:
                self._waiting[ticket] = waiting + 1
            return waiting < handling

    def _stop_waiting(self, ticket: str) -> None:
        with self._lock:
            waiting = self._waiting.get(ticket, 0) - 1
            if waiting > 0:
                self._waiting[ticket] = waiting
            else:
                self._waiting.pop(ticket, None)

    def _finish(self, identity: UploadIdentity, upload: _Claim, response: StoredResponse) -> StoredResponse:
        """Store the response, and return what is stored; LedgerUnavailableError if that is not certain."""
        own = upload.object, upload.pair, upload.token
        arguments = (*own, _packed(response), identity.expires, identity.max_objects)
        runs = [
            Run(_FINISH, upload.keys, arguments),
            Run(
                _INDEX,
                [self._mark(upload.pair), self._counts(upload.pair)],
                (identity.expires, _digest(identity.ticket)[:4]),
            ),
        ]
        try:
            (answer, _), synced = self._connection.run_all(runs, sync_milliseconds=self._sync_milliseconds)
        except server_errors() as error:
            unavailable = self._unavailable(error)
            line = "%r was handled, but the ledger cannot store that: %s"
            log.error(line, identity.object, unavailable.hint)
            if isinstance(error, import_redis().exceptions.ResponseError):  # it answers, so the claim may end now
                self._abandon(identity, upload)
            raise unavailable from None
        if answer[0] == b"lost":
            hint = (
                f"this call stood still for over {self._lease / 1000:g} s while it handled the upload, and lost its "
                "claim to another"
            )
            log.error("%r was handled, but the ledger did not store that: %s", identity.object, hint)
            raise LedgerUnavailableError("ledger_busy", hint)
        self._note_sync(identity, synced)
        return _unpacked(answer[1]) if answer[0] == b"kept" else response

    def _note_sync(self, identity: UploadIdentity, synced: Any) -> None:
        """Log that the server's disk has not got a response."""
        if isinstance(synced, Exception):
            self._sync_milliseconds = 0
            log.warning("%s no longer waits for its disk: %s", self.url, self._connection.message(synced))
        elif synced is not None and int(synced[0]) < 1:
            line = "%r was handled, but the disk of %s had not got that after %d ms: a crash now may forget it"
            log.warning(line, identity.object, self.url, self._sync_milliseconds)

    def _abandon(self, identity: UploadIdentity, upload: _Claim) -> None:
        """Delete a claim; if that fails, it ends with its lease."""
        try:
            self._connection.run(Run(_ABANDON, upload.keys[:1], (upload.pair, upload.token)))
        except server_errors() as error:
            message = self._connection.message(error)
            log.error("%r was not handled, but the ledger cannot store that: %s", identity.object, message)

    def _mark(self, pair: bytes) -> str:
        return f"{self._prefix}:{{{pair[:1].hex()}}}:k:{pair.hex()}"

    def _counts(self, pair: bytes) -> str:
        return f"{self._prefix}:{{{pair[:1].hex()}}}:n"

    def _check_policy(self) -> None:
        """Raise SettingsError if the server evicts keys when its memory is full."""
        for policy in self._policies():
            if policy != "noeviction":
                raise SettingsError(
                    f"The ledger {self.url} has maxmemory-policy {policy}: it would forget handled uploads. Set "
                    "`maxmemory-policy noeviction`, or use another server."
                )

    def _policies(self) -> list[str]:
        """Return the policy of each server; none where neither CONFIG nor INFO tells it."""
        policies = self._connection.ask_each("config_get", "maxmemory-policy")
        policies += self._connection.ask_each("info", "memory", key="maxmemory_policy")
        if not policies:
            line = "%s tells neither by CONFIG nor by INFO whether it evicts keys: maxmemory-policy must be noeviction"
            log.warning(line, self.url)
        return policies

    def _examine_disk(self) -> int:
        """Return for how many milliseconds WAITAOF may wait, 0 where that is of no use; log what a crash forgets."""
        if "0" in self._connection.ask_each("info", "persistence", key="aof_enabled"):
            line = "%s has appendonly off, so a crash of it forgets which uploads were handled: set `appendonly yes`"
            log.warning(line, self.url)
            return 0
        fsync = set(self._connection.ask_each("config_get", "appendfsync"))
        if fsync == {"always"}:
            return 0  # the server answers when its disk has got what the answer is about
        problem = self._connection.problem_of_waitaof()
        if problem is not None:
            line = "%s cannot wait for its disk (%s), so a crash of it may forget the last second"
            log.warning(line, self.url, problem)
            return 0
        if "everysec" in fsync:
            log.warning(
                "%s has appendfsync everysec, so each upload waits up to a second for its disk: set `appendfsync "
                "always`, or wait_for_sync=False, with which a crash may forget the last second",
                self.url,
            )
        return min(_SYNC_MILLISECONDS, round(self._connection.patience * 700))

    def _unavailable(self, error: Exception) -> LedgerUnavailableError:
        return LedgerUnavailableError("ledger_unavailable", f"the ledger {self.url}: {self._connection.message(error)}")


class _Claim(NamedTuple):
    """A call's claim of an upload: the keys of its ticket, the digests of its object and pair, and a random token."""

    keys: tuple[str, str]
    object: bytes
    pair: bytes
    token: bytes

    @classmethod
    def of(cls, identity: UploadIdentity, prefix: str) -> _Claim:
        stem = f"{prefix}:{{{identity.ticket}}}"
        pair = _digest(identity.object, identity.etag)
        return cls((f"{stem}:c", f"{stem}:a"), _digest(identity.object), pair, token_bytes(12))


class _Leases:
    """Renews the claims of this process's calls, in one thread that ends when there are none."""

    def __init__(self, connection: RedisConnection, lease: int) -> None:
        self._connection = connection
        self._lease = lease
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew: the claims and the thread are those of the parent process."""
        self._lock = threading.Lock()
        self._held: dict[bytes, _Claim] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    def hold(self, claim: _Claim) -> None:
        """Renew a claim until it is released."""
        with self._lock:
            self._held[claim.token] = claim
            if self._thread is None:
                self._wake = threading.Event()
                self._thread = threading.Thread(target=self._renew, name="oss-wsgi leases", daemon=True)
                self._thread.start()

    def release(self, claim: _Claim) -> None:
        """Renew a claim no longer."""
        with self._lock:
            self._held.pop(claim.token, None)

    def close(self) -> None:
        """End the thread, unless claims are held: then it ends after them."""
        with self._lock:
            thread = None if self._held else self._thread
            self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _renew(self) -> None:
        has_failed = False
        while True:
            # A closed ledger's claims are renewed as before, so the event only ends a pause early.
            self._wake.wait(self._lease / 3000)
            with self._lock:
                claims = list(self._held.values())
                if not claims:
                    self._thread = None
                    return
                self._wake.clear()
            try:
                for claim in claims:
                    self._connection.run(Run(_RENEW, claim.keys[:1], (claim.pair, claim.token, self._lease)))
                has_failed = False
            except server_errors() as error:
                if not has_failed:
                    message = self._connection.message(error)
                    log.warning("claims cannot be renewed on %s now: %s", self._connection.shown, message)
                has_failed = True


def _digest(*texts: str) -> bytes:
    """Return 16 bytes that stand for texts."""
    digest = blake2b(digest_size=16)
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(raw) + raw)
    return digest.digest()


def _packed(response: StoredResponse) -> bytes:
    return b"\n".join((response.status.encode(), response.content_type.encode(), response.body))


def _unpacked(raw: bytes) -> StoredResponse:
    status, content_type, body = raw.split(b"\n", 2)
    return StoredResponse(status.decode(), content_type.decode(), body)


def _read_switch(text: str | None, default: bool) -> bool:
    if text is None:
        return default
    if text.lower() in ("on", "off"):
        return text.lower() == "on"
    raise SettingsError(f"wait_for_sync in the URL of Redis must be on or off, not {text!r}.")


_ledgers: weakref.WeakSet[RedisLedger] = weakref.WeakSet()


def _after_fork() -> None:
    for ledger in list(_ledgers):
        ledger._leases.after_fork()
        ledger._lock = threading.Lock()
        ledger._waiting = {}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
