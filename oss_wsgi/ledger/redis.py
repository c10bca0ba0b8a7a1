"""A ledger on Redis or Valkey, for many machines: locks are leases, and scripts on the server find and store."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from secrets import token_bytes
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..exceptions import LedgerUnavailableError, SettingsError
from ..explanations.text import Text
from ..redis.client import REFUSED_PARAMETERS, RedisServer, Script, checked_prefix, import_redis, server_errors
from .base import (
    DEFAULT_WAIT_TIMEOUT,
    NOTHING_FOUND,
    Claim,
    Found,
    Handle,
    OnceLedger,
    StoredResponse,
    UploadIdentity,
    busy_error,
    digest,
    held_error,
    ledger_busy_error,
)
from .place import Place, place_of_server
from .steady_time import MARGIN

#: Seconds after which a lock ends unless it is renewed.
LEASE = 12.0

DEFAULT_PREFIX = "oss-wsgi"

#: The most milliseconds for which WAITAOF waits. With `appendfsync everysec` the disk may take over a second.
_SYNC_MILLISECONDS = 2000

#: Seconds between two tries of a waiting call: after the first try, and the most.
_FIRST_PAUSE, _LAST_PAUSE = 0.05, 0.2

log = logging.getLogger(__name__)

# KEYS: the lock; the ticket's hash of 'r' and pair -> response, 'o' and object -> '', 'n' -> how many objects have a
# response. The lock need not reach a disk or a replica: a lock may end with its server, as well as with its holder.
_LOCK = Script.of(
    """
local pair, object, token, lease = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local found = redis.call('HMGET', KEYS[2], 'r' .. pair, 'o' .. object, 'n')
if found[1] then return {'stored', found[1]} end
redis.set_repl(redis.REPL_NONE)
if not redis.call('SET', KEYS[1], token, 'NX', 'PX', lease) and redis.call('GET', KEYS[1]) ~= token then
    return {'busy', unpack(redis.call('TIME'))}
end
if found[3] then return {'found', found[2] and 1 or 0, found[3]} end
return false
"""
)

#: How many hashes of counts the server sums up before it answers others again.
_COUNTED_AT_ONCE = 4
# A hash has a value for each hour of OSS_LEDGER_KEEP; reading all values here would hold up the process's threads.
_SUM = """
local sum = 0
for _, count in ipairs(redis.call('HVALS', KEYS[1])) do sum = sum + count end
return sum
"""

_LOOK = Script.of("return redis.call('HGET', KEYS[1], 'r' .. ARGV[1])")

# `life` returns for how many seconds a script keeps an entry; `keep` makes a key live at least that long.
_LIFE = f"""
local now = redis.call('TIME')[1]
local function life(expires) return math.max(0, expires - now) + {MARGIN} end
local function keep(key, seconds)
    if redis.call('TTL', key) < seconds then redis.call('EXPIRE', key, seconds) end
end
"""

# The mark of a pair of object and ETag holds the ticket of the last response stored for the pair. The counts of
# responses are a hash by the hour in which the responses are forgotten.
_MARKING = f"""{_LIFE}
local function mark(key, counts, ticket, expires)
    local seconds = life(expires)
    if redis.call('SET', key, ticket, 'EX', seconds, 'GET') == ticket then return end
    if redis.call('HINCRBY', counts, math.floor((now + seconds) / 3600), 1) == 1 then
        keep(counts, seconds + 3600)
        for _, hour in ipairs(redis.call('HKEYS', counts)) do
            if (hour + 1) * 3600 < tonumber(now) then redis.call('HDEL', counts, hour) end
        end
    end
end
"""

# The handler has run, so this must not fail when memory is full. Redis checks memory only before a script's first
# write, which needs none here. An expired lock still counts if no object of the ticket was stored meanwhile.
_STORE = Script.of(
    f"""{_MARKING}
local pair, object, token, response, expires, count, ticket = unpack(ARGV)
redis.call('PEXPIRE', KEYS[1], redis.call('PTTL', KEYS[1]))
local owner, stored = redis.call('GET', KEYS[1]), redis.call('HGET', KEYS[2], 'r' .. pair)
if owner ~= token and (owner or stored or (redis.call('HGET', KEYS[2], 'n') or '0') ~= count) then
    return stored or 'lost'
end
if redis.call('HSET', KEYS[2], 'r' .. pair, response, 'o' .. object, '') == 2 then
    redis.call('HINCRBY', KEYS[2], 'n', 1)
end
keep(KEYS[2], life(expires))
if KEYS[3] then mark(KEYS[3], KEYS[4], ticket, expires) end
redis.call('DEL', KEYS[1])
return false
"""
)

_MARK = Script.of(f"{_MARKING} mark(KEYS[1], KEYS[2], ARGV[1], ARGV[2])")

# KEYS: marks of pairs.
_NOTE = Script.of(
    f"""{_LIFE}
for _, key in ipairs(KEYS) do
    redis.call('SET', key, '', 'NX')
    keep(key, life(ARGV[1]))
end
"""
)

_UNLOCK = Script.of("if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end")

_RENEW = Script.of("return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2])")

# KEYS: a text, and the locks that the process holds; ARGV: the text, and the tokens.
_SAVE = Script.of(
    """
for i = 2, #KEYS do
    if redis.call('GET', KEYS[i]) ~= ARGV[i] then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""
)


class RedisLedger(OnceLedger):
    """A ledger on Redis or Valkey (6.2 or later), which many processes and machines share.

    An upload is handled at least once, and exactly once as long as nothing stalls for longer than the lease and no
    server fails; docs/how-to/redis.md says what happens in these cases. So write ``on_upload`` such that running twice
    does no harm. Only the server's clock is used. ``maxmemory-policy`` must be ``noeviction``; the ledger checks that.

    :param url_or_client: ``redis://``, ``rediss://`` (TLS), ``valkey://``, ``valkeys://`` or ``unix://``; or a
        ``redis.Redis`` or ``redis.RedisCluster`` of the application's own, which stays open. A URL may end in
        ``?wait_for_sync=off`` or ``?prefix=NAME``.
    :param clock: not used; accepted because other ledgers need one.
    :param prefix: begins the names of all keys. Applications that share a server need different prefixes.
    :param wait_timeout: seconds for which a call waits for others, as in MemoryLedger.
    :param lease: seconds after which a lock ends; one thread in each process renews the locks of running calls.
    :param wait_for_sync: return only when the response is on the server's disk, if the server has WAITAOF (Redis 7.2,
        Valkey) and ``appendonly``. With ``appendfsync everysec`` an upload then takes up to a second longer; with
        ``always`` it takes no longer.

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
        self._server = RedisServer(url_or_client, own_options=("prefix", "wait_for_sync"))
        self._prefix = checked_prefix(self._server.options.get("prefix", prefix))
        wait_for_sync = _read_switch(self._server.options.get("wait_for_sync"), wait_for_sync)
        self._lease = round(lease * 1000)
        self._leases = _Leases(self._server, self._lease)
        self._sync_milliseconds = 0
        try:
            self._check_policy()
            if wait_for_sync:
                self._sync_milliseconds = self._examine_disk()
        except (*server_errors(), *REFUSED_PARAMETERS) as error:
            self._server.close()
            if isinstance(error, SettingsError):
                raise
            message = self._server.message(error).removesuffix(".")
            raise SettingsError(Text("The ledger {1} cannot be used: {2}.", self.url, message)) from None
        super().__init__(wait_timeout)

    def __repr__(self) -> str:
        return f"RedisLedger({self.url!r})"

    def __len__(self) -> int:
        """Return the number of stored responses, exact to the hour of expiry; LedgerUnavailableError if unknown."""
        total = 0
        with self._server_must_answer():
            for first in range(0, 256, _COUNTED_AT_ONCE):
                pipeline = self._server.client.pipeline(transaction=False)
                for part in range(first, first + _COUNTED_AT_ONCE):
                    pipeline.execute_command("EVAL", _SUM, 1, self._counts(bytes([part])))
                total += sum(map(int, pipeline.execute()))
        return total

    @property
    def url(self) -> str:
        """The server's URL, without user, password and parameters."""
        return self._server.shown

    @property
    def place(self) -> Place | None:
        """Where the ledger is; None for a client that does not say."""
        parts = urlsplit(self.url)
        name = f"{parts.path.strip('/') or 0} {self._prefix}"
        return place_of_server(parts.scheme, parts.hostname, parts.port, name) if parts.scheme else None

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the pairs of object and ETag that were handled, as ``Ledger.known`` describes."""
        asked = list(dict.fromkeys(pairs))
        if not asked:
            return set()
        with self._server_must_answer():
            pipeline = self._server.client.pipeline(transaction=False)
            for name, etag in asked:
                pipeline.exists(self._mark(digest(name, etag)))
            found = pipeline.execute()
        return {pair for pair, exists in zip(asked, found, strict=True) if exists}

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        """Note pairs of object and mark, as ``Ledger.note`` describes."""
        by_slot: dict[bytes, list[str]] = {}
        with self._server_must_answer():
            is_cluster = self._server.is_cluster
            for mark in {digest(*pair) for pair in pairs}:
                by_slot.setdefault(mark[:1] if is_cluster else b"", []).append(self._mark(mark))
            for keys in by_slot.values():
                if is_cluster:  # waiting for the disk at each slot would take minutes
                    self._server.run(_NOTE, keys, (expires,))
                else:
                    self._write(_NOTE, keys, (expires,), f"{len(keys)} notes")

    def load(self, name: str) -> str | None:
        """Return the text that was saved under a name, or None."""
        with self._server_must_answer():
            text = self._server.client.get(self._swept("text", name))
        return text.decode() if isinstance(text, bytes) else text

    def save(self, name: str, text: str) -> None:
        """Save a text for good, as ``Ledger.save`` describes; LedgerUnavailableError if a lock of ``hold`` was lost."""
        locks = self._leases.held_by_sweeps()
        keys = [self._swept("text", name), *(lock.key for lock in locks)]
        with self._server_must_answer():
            saved = self._write(_SAVE, keys, (text.encode(), *(lock.token for lock in locks)), f"the text {name!r}")
        if not saved:
            raise LedgerUnavailableError("ledger_unavailable", self._lost("sweep"))

    def check(self) -> None:
        """Lock, store and forget an upload that no call uses; LedgerUnavailableError as well if the server evicts keys.

        The server's ACL may forbid a command that only storing needs.
        """
        claim = _RedisClaim(self, UploadIdentity(f"check {token_bytes(8).hex()}", "", "", 0))
        with self._server_must_answer():
            try:
                self._check_policy()
                claim.lock()
                claim.try_to_store()
            except SettingsError as error:
                raise LedgerUnavailableError("ledger_unavailable", str(error)) from error

    def close(self) -> None:
        """Close this process's connections and end its thread; the next call opens them again.

        The locks of calls that still handle uploads are renewed until these calls end.
        """
        self._leases.close()
        self._server.close()

    def _stored_response(self, identity: UploadIdentity) -> StoredResponse | None:
        pair = digest(identity.object, identity.etag)
        with self._server_must_answer():
            found = self._server.run(_LOOK, [self._responses(identity.ticket)], [pair])
        return None if found is None else _unpacked(found)

    def _claim(self, identity: UploadIdentity, patience: float) -> Claim:
        claim = _RedisClaim(self, identity)
        pause, waited = _FIRST_PAUSE, 0.0
        began: float | None = None
        while not claim.lock():
            began = claim.asked_at if began is None else began
            left = patience - max(waited, claim.asked_at - began)
            if left <= 0:
                raise ledger_busy_error(self._wait_timeout) if identity.may_wait else busy_error()
            seconds = min(pause, left)
            threading.Event().wait(seconds)
            waited += seconds
            pause = min(pause * 1.5, _LAST_PAUSE)
        return claim

    @contextmanager
    def _hold(self, name: str) -> Iterator[None]:
        lock = _Lock(self._swept("lock", name), token_bytes(12), is_of_sweep=True)
        with self._server_must_answer():
            if not self._server.client.set(lock.key, lock.token, nx=True, px=self._lease):
                raise held_error()
        try:
            with self._leases.renewing(lock):
                yield
        finally:
            self._unlock(lock, f"the lock {name!r}")

    def _renew_in_child(self) -> None:
        self._leases.reset()

    # Claims.

    def _write(self, script: Script, keys: list[str], arguments: tuple[str | bytes | int, ...], what: str) -> Any:
        """Run a script, and wait for the disk if so configured; log if ``what`` has not reached the disk in time."""
        answer = self._server.run(script, keys, arguments)
        if self._sync_milliseconds:
            synced = self._server.sync(f"{keys[0]}:sync", self._sync_milliseconds)
            if isinstance(synced, Exception):
                self._sync_milliseconds = 0
                log.warning("%s cannot wait for its disk: %s", self.url, self._server.message(synced))
            elif int(synced[0]) < 1:
                line = "%s had not written %s to its disk after %d ms: if it crashes now, that may be lost"
                log.warning(line, self.url, what, self._sync_milliseconds)
        return answer

    def _unlock(self, lock: _Lock, what: str) -> None:
        """Delete a lock; if that fails, the lock ends with its lease."""
        try:
            self._server.run(_UNLOCK, [lock.key], [lock.token])
        except server_errors() as error:
            line = "%s stays locked for up to %g s: %s"
            log.error(line, what, self._lease / 1000, self._server.message(error))

    def _responses(self, ticket: str) -> str:
        return f"{self._prefix}:{{{ticket}}}:a"

    def _mark(self, pair: bytes) -> str:
        return f"{self._prefix}:{{{pair[:1].hex()}}}:k:{pair.hex()}"

    def _counts(self, pair: bytes) -> str:
        return f"{self._prefix}:{{{pair[:1].hex()}}}:n"

    def _swept(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{{sweep}}:{kind}:{name}"

    def _lost(self, who: str) -> str:
        return f"this {who} stood still for over {self._lease / 1000:g} s, so its lock expired"

    @contextmanager
    def _server_must_answer(self) -> Iterator[None]:
        try:
            yield
        except server_errors() as error:
            raise self._unavailable(error) from None

    def _unavailable(self, error: Exception) -> LedgerUnavailableError:
        return LedgerUnavailableError("ledger_unavailable", f"the ledger {self.url}: {self._server.message(error)}")

    # Requirements for the server.

    def _check_policy(self) -> None:
        """Raise SettingsError if the server evicts keys when its memory is full."""
        policies = self._server.ask_each("info", "memory", key="maxmemory_policy")
        for policy in policies:
            if policy != "noeviction":
                raise SettingsError(
                    f"The ledger {self.url} has maxmemory-policy {policy}: it would forget handled uploads. Set "
                    "`maxmemory-policy noeviction`, or use another server."
                )
        if not policies:
            line = "%s does not say in INFO whether it evicts keys: make sure that maxmemory-policy is noeviction"
            log.warning(line, self.url)

    def _examine_disk(self) -> int:
        """Return how many milliseconds WAITAOF may wait, 0 if it is useless; log what a crash of the server loses."""
        if "0" in self._server.ask_each("info", "persistence", key="aof_enabled"):
            line = "%s has appendonly off, so a crash of it forgets which uploads were handled: set `appendonly yes`"
            log.warning(line, self.url)
            return 0
        fsync = set(self._server.ask_each("config_get", "appendfsync"))
        if fsync == {"always"}:
            return 0  # with `always` the server writes to its disk before it answers
        if "no" in fsync:
            line = "%s has appendfsync no, so a crash may forget the last uploads handled: set `appendfsync always`"
            log.warning(line, self.url)
            return 0  # WAITAOF would wait in vain
        if "everysec" in fsync:
            log.warning(
                "%s has appendfsync everysec, so each upload waits up to a second for its disk: set `appendfsync "
                "always`, or wait_for_sync=False, with which a crash may forget the last second",
                self.url,
            )
        return min(_SYNC_MILLISECONDS, round(self._server.patience * 700))


class _Lock(NamedTuple):
    """A lock: a key that holds a random token until its lease ends."""

    key: str
    token: bytes
    is_of_sweep: bool = False


class _RedisClaim(Claim):
    """An upload whose place a key locks, or whose stored response was found instead."""

    __slots__ = ("_identity", "_is_locked", "_keys", "_ledger", "_lock", "_object", "_pair", "asked_at", "found")

    def __init__(self, ledger: RedisLedger, identity: UploadIdentity) -> None:
        self._ledger = ledger
        self._identity = identity
        self._object, self._pair = digest(identity.object), digest(identity.object, identity.etag)
        of_object = "" if identity.max_objects == 1 else f":{self._object.hex()}"
        self._lock = _Lock(f"{ledger._prefix}:{{{identity.ticket}}}:l{of_object}", token_bytes(12))
        self._keys = [self._lock.key, ledger._responses(identity.ticket)]
        self._is_locked = False
        self.found = NOTHING_FOUND
        #: The server's time in seconds, if the place was locked.
        self.asked_at = 0.0

    def lock(self) -> bool:
        """Lock the place and find what is stored, in one round trip; return False if another call has the lock."""
        ledger = self._ledger
        arguments = self._pair, self._object, self._lock.token, ledger._lease
        try:
            answer = ledger._server.run(_LOCK, self._keys, arguments)
        except server_errors() as error:
            raise ledger._unavailable(error) from None
        if answer is None:  # the server knows nothing of the ticket
            self._is_locked = True
            return True
        verdict, *rest = answer
        if verdict == b"busy":
            self.asked_at = int(rest[0]) + int(rest[1]) / 1e6
        elif verdict == b"stored":
            self.found = Found(_unpacked(rest[0]))
        else:
            self._is_locked, self.found = True, Found(None, bool(rest[0]), int(rest[1]))
        return bool(verdict != b"busy")

    def handle(self, handle: Handle) -> StoredResponse:
        with self._ledger._leases.renewing(self._lock):
            return super().handle(handle)

    def try_to_store(self) -> None:
        """Store an empty response, without a mark, and delete it. Raises the errors of ``server_errors``."""
        server = self._ledger._server
        try:
            server.run(_STORE, self._keys, (self._pair, self._object, self._lock.token, b"", 0, "0", b""))
        finally:
            server.client.delete(*self._keys)
        server.client.hdel(self._keys[1], "n")  # storing needs this right only when it deletes old counts

    def store(self, response: StoredResponse) -> StoredResponse:
        ledger, identity = self._ledger, self._identity
        marks = [ledger._mark(self._pair), ledger._counts(self._pair)]
        ticket, objects = digest(identity.ticket)[:4], str(self.found.objects)
        arguments = self._pair, self._object, self._lock.token, _packed(response), identity.expires, objects, ticket
        name, line = repr(identity.object), "%s was handled, but the ledger cannot store that: %s"
        is_cluster = ledger._server.is_cluster  # in a cluster the marks are on other servers
        try:
            answer = ledger._write(_STORE, self._keys if is_cluster else self._keys + marks, arguments, name)
            if is_cluster and answer != b"lost":
                ledger._server.run(_MARK, marks, (ticket, identity.expires))
        except server_errors() as error:
            # A server that does not answer is not asked again: the lock ends with its lease.
            self._is_locked = isinstance(error, import_redis().exceptions.ResponseError)
            unavailable = ledger._unavailable(error)
            log.error(line, name, unavailable.hint)
            raise unavailable from None
        self._is_locked = False
        if answer == b"lost":
            hint = ledger._lost("call")
            log.error(line, name, hint)
            raise LedgerUnavailableError("ledger_busy", hint)
        return response if answer is None else _unpacked(answer)

    def end(self, error: BaseException | None) -> None:
        if self._is_locked:
            self._ledger._unlock(self._lock, repr(self._identity.object))


class _Leases:
    """Renews the locks of this process's calls, in one thread that ends when there are no locks."""

    def __init__(self, server: RedisServer, lease: int) -> None:
        self._server = server
        self._lease = lease
        self.reset()

    def reset(self) -> None:
        """Forget all locks and the thread, in a forked child: they belong to the parent process."""
        self._lock = threading.Lock()
        self._held: dict[bytes, _Lock] = {}
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()

    @contextmanager
    def renewing(self, lock: _Lock) -> Iterator[None]:
        """Renew a lock while the with block runs."""
        with self._lock:
            self._held[lock.token] = lock
            if self._thread is None:
                self._wake = threading.Event()
                self._thread = threading.Thread(target=self._renew, name="oss-wsgi leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(lock.token, None)

    def held_by_sweeps(self) -> list[_Lock]:
        """Return the locks that sweeps of this process hold."""
        with self._lock:
            return [lock for lock in self._held.values() if lock.is_of_sweep]

    def close(self) -> None:
        """End the thread as soon as no locks are held."""
        with self._lock:
            thread = None if self._held else self._thread
            self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _renew(self) -> None:
        has_failed = False
        while True:
            # A closed ledger's locks are renewed as before, so the event only ends a pause early.
            self._wake.wait(self._lease / 3000)
            with self._lock:
                locks = list(self._held.values())
                if not locks:
                    self._thread = None
                    return
                self._wake.clear()
            try:
                for key, token, _ in locks:
                    self._server.run(_RENEW, [key], (token, self._lease))
                has_failed = False
            except Exception as error:  # whatever the client raises: the locks must be renewed again
                if not has_failed:
                    message = self._server.message(error)
                    log.warning("locks cannot be renewed on %s now: %s", self._server.shown, message)
                has_failed = True


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
