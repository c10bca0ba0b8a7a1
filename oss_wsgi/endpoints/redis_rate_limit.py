"""A limit of how often each caller may ask, counted in Redis or Valkey for all processes and machines together."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from typing import Any

from ..redis.client import REFUSED_PARAMETERS, RedisServer, Script, checked_prefix, server_errors
from ..threads import WithLock
from .rate_limit import check_rate

#: Seconds for connecting and for an answer: short, because requests wait for it.
TIMEOUTS = 0.5, 0.5

#: Seconds until a server that was away is asked again.
AWAY_SECONDS = 1.0

#: Seconds between two lines of the log about a server that is away.
_LOG_SECONDS = 60.0

# The generic cell rate algorithm. KEYS: the caller's theoretical arrival time, in microseconds of the server's clock.
# ARGV: microseconds of a request, and of all at once. Returns microseconds to wait, 0 to let the request pass.
_ARRIVE = Script.of(
    """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local arrival = tonumber(redis.call('GET', KEYS[1]) or now)
-- A server's clock that is set back makes nobody wait until it catches up.
arrival = math.min(math.max(arrival, now), now + burst)
local new = arrival + interval
if new - now > burst then return math.ceil(new - now - burst) end
redis.call('SET', KEYS[1], string.format('%.0f', new), 'PX', math.max(1, math.ceil((new - now) / 1000)))
return 0
"""
)

log = logging.getLogger(__name__)


class RedisRateLimit(WithLock):
    """Callable ``(who) -> float | None``, like ``RateLimit``, which counts for all processes and machines together.

        RedisRateLimit(30, 60, "redis://127.0.0.1:6379/0")  # 30 at once, then one every 2 seconds

    ``count`` requests pass at once, and the bucket is refilled evenly over ``seconds`` (the generic cell rate
    algorithm, a token bucket in one number). A refused request does not count: a caller that waits for the seconds
    returned is let through. Only the server's clock is used. Each request costs one round trip. Each caller costs one
    small key, which expires by itself; the key's name holds a digest of ``who``.

    While the server is away, or answers with an error, requests pass, and the log says so once a minute.

    :param url_or_client: as of ``RedisLedger``. A URL may end in ``?prefix=NAME``.
    :param prefix: begins the names of the keys. Limits with the same prefix, count and duration share their callers.
    :param pass_when_away: False refuses requests while the server is away.

    Raises SettingsError for a URL that cannot be used, but not for a server that is away.
    """

    def __init__(
        self,
        count: int,
        seconds: float,
        url_or_client: Any,
        *,
        prefix: str = "oss-wsgi",
        pass_when_away: bool = True,
    ) -> None:
        check_rate(count, seconds)
        self._server = RedisServer(url_or_client, timeouts=TIMEOUTS, own_options=("prefix", "wait_for_sync"))
        prefix = checked_prefix(self._server.options.get("prefix", prefix))
        self._stem = f"{prefix}:rate:{count}/{seconds:g}:"
        interval = max(1, round(seconds * 1e6 / count))
        self._arguments = interval, interval * count
        self._interval = seconds / count
        self._passes_when_away = pass_when_away
        self._away_until = self._logged_until = -math.inf
        super().__init__()

    def __repr__(self) -> str:
        return f"RedisRateLimit({self._stem!r}, {self._server.shown!r})"

    def __call__(self, who: str) -> float | None:
        if time.monotonic() < self._away_until:
            return self._answer_when_away()
        key = self._stem + hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        try:
            wait = int(self._server.run(_ARRIVE, [key], self._arguments))
        except (*server_errors(), *REFUSED_PARAMETERS) as error:
            self._note_away(error)
            return self._answer_when_away()
        return wait / 1e6 if wait else None

    def close(self) -> None:
        """Close the connections; the next call opens them again. The application's own client stays open."""
        self._server.close()

    def _answer_when_away(self) -> float | None:
        return None if self._passes_when_away else max(self._interval, AWAY_SECONDS)

    def _note_away(self, error: Exception) -> None:
        """Stop asking for a second, and log that at most once a minute."""
        now = time.monotonic()
        with self._lock:
            self._away_until = now + AWAY_SECONDS
            is_due = now >= self._logged_until
            if is_due:
                self._logged_until = now + _LOG_SECONDS
        if is_due:
            done = "pass uncounted" if self._passes_when_away else "are refused"
            line = "the rate limit cannot reach %s, so requests %s: %s"
            log.warning(line, self._server.shown, done, self._server.message(error))
