"""The newest exchanges, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from .exchange import Exchange

#: Exchanges and bytes that are kept.
MAX_EXCHANGES = 1000
MAX_BYTES = 8 * 1024 * 1024


class Journal:
    """The newest exchanges by their ids, from their beginning on; a new one drops the oldest. Threads may share it.

    :ivar bytes: about how many bytes the exchanges take.
    :ivar count: how much news there was, for pages that ask: exchanges that were added, that went on, or that ended.
    """

    def __init__(self) -> None:
        self._exchanges: OrderedDict[str, tuple[Exchange, int]] = OrderedDict()
        self.bytes = 0
        self.count = 0
        self._lock = threading.Lock()

    def add(self, exchange: Exchange) -> None:
        """Add an exchange, or what is new of one that is already there, which keeps its place."""
        cost = exchange.cost()
        with self._lock:
            _, former = self._exchanges.get(exchange.id, (None, 0))
            self._exchanges[exchange.id] = exchange, cost
            self.bytes += cost - former
            self.count += 1
            while self._exchanges and (len(self._exchanges) > MAX_EXCHANGES or self.bytes > MAX_BYTES):
                _, (_, dropped) = self._exchanges.popitem(last=False)
                self.bytes -= dropped

    def exchanges(self) -> list[Exchange]:
        """Return the exchanges, the newest first."""
        with self._lock:
            return [exchange for exchange, _ in reversed(self._exchanges.values())]

    def exchange(self, request_id: str) -> Exchange | None:
        with self._lock:
            return self._exchanges.get(request_id, (None, 0))[0]

    def clear(self) -> None:
        """Forget all exchanges that have ended."""
        with self._lock:
            for name in [name for name, (exchange, _) in self._exchanges.items() if not exchange.is_under_way]:
                self.bytes -= self._exchanges.pop(name)[1]
            self.count += 1
