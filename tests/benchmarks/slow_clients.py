"""Measures our server beside many slow clients: does a client that connects 20 times a second get answers in time?

    python -m tests.benchmarks.slow_clients                                  5,000 clients of each kind, 30 s each
    python -m tests.benchmarks.slow_clients --clients 1000 --kind body --seconds 10
    python -m tests.benchmarks.slow_clients --kind large-header

Kinds: idle; header (a line every 5 s); body (a byte every 5 s); pipeline (50 requests whose answers are not read);
mixed (a quarter of each); large-header and large-body (all that is allowed but the end); list (all but the end of a
list of parts of 1 MiB); chunks (of one byte, without a pause); metrics (idle, at the port of the metrics). A
connection that the server closes is opened again a second later, so the number of clients stays the same.

The program starts server.py, and holds the clients in a process of their own. It prints for each kind the share of 200s
within a second; p50, p99 and the longest time in milliseconds; how many connections were held, and how many were opened
again; and the server's memory and descriptors before, at most during, and after.

The kinds gone, handler, silent, sign, params, limits, view and key are requests that would wait (``waiting_requests``
says what they ask). They come from 8, 32 and 128 connections whatever --clients says, beside one report of OSS a
second; the program prints how long the reports took.

Exit status 1 if less than 99 % were in time, if a report took over a second, if the server took more than 150 MiB, or
if descriptors or more than 8 MiB are left half a minute after.
Further arguments after ``--`` are server.py's. Loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..support.running_server import clean_environ, serving
from .callbacks import SIGNATURE, Reporter
from .held_connections import KINDS, Held, holding
from .processes import descriptor_count, raise_descriptor_limit, resident_mebibytes
from .waiting_requests import CONNECTIONS
from .waiting_requests import KINDS as WAITING_KINDS
from .waiting_requests import measure as measure_waiting
from .waiting_requests import report as report_waiting

ROOT = Path(__file__).parents[2]
IN_TIME = 1.0
#: MiB that the server may take beside 5,000 slow clients, and those of them that it may keep.
MOST_MEMORY = 150
MEMORY_LEFT = 8

_LISTS = {"OSS_MULTIPART": "on"}
_ENVIRON = {"list": _LISTS, "chunks": _LISTS}

_RATE = 20
_GIVE_UP_SECONDS = 10.0
_SETTLE_SECONDS = 30.0
_WARM_UP_SECONDS = 1.0
_REQUEST = f"GET {SIGNATURE} HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n".encode()


@dataclass(frozen=True)
class Size:
    """What the server holds: memory in MiB, and descriptors."""

    memory: float
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Size:
        return cls(resident_mebibytes(pid), descriptor_count(pid))

    def fits(self, before: Size) -> bool:
        """Return whether this is as it was before."""
        return self.descriptors <= before.descriptors and self.memory <= before.memory + MEMORY_LEFT


@dataclass(frozen=True)
class Outcome:
    """What one kind of slow clients does to the server; ``answers`` are pairs of status (0: none) and seconds."""

    kind: str
    answers: list[tuple[int, float]]
    held: int
    at_end: Held
    before: Size
    most: Size
    after: Size

    def share(self, seconds: float = IN_TIME) -> float:
        return sum(status == 200 and took <= seconds for status, took in self.answers) / len(self.answers)

    @property
    def is_clean(self) -> bool:
        """Return whether the server has released every descriptor and the memory."""
        return self.after.fits(self.before)

    def faults(self, most_memory: float = MOST_MEMORY) -> list[str]:
        """Return a sentence for each thing that is not as it must be."""
        late = f"{self.kind}: {self.share():.2%} were in time, less than 99 %."
        large = f"{self.kind}: the server took {self.most.memory:.0f} MiB, more than {most_memory:.0f}."
        left = f"{self.kind}: the server was {self.before}, and afterwards {self.after}."
        checks = (self.share() < 0.99, late), (self.most.memory > most_memory, large), (not self.is_clean, left)
        return [fault for is_so, fault in checks if is_so]


def measure(
    clients: int,
    kind: str,
    seconds: float,
    *,
    addresses: int = 1,
    arguments: Sequence[str] = (),
    give_up: float = _GIVE_UP_SECONDS,
    settle: float = _SETTLE_SECONDS,
) -> Outcome:
    """Start server.py with further arguments, hold slow clients, and ask it for signatures beside them.

    ``give_up`` is the seconds to wait for an answer, ``settle`` those for the server to be afterwards as it was before.
    """
    with tempfile.TemporaryDirectory() as folder:
        environ = clean_environ(**Reporter().environ(Path(folder)), **_ENVIRON.get(kind, {}))
        command = [sys.executable, str(ROOT / "server.py"), "--listen", "127.0.0.1:0", *arguments]
        if kind == "metrics":
            command += ["--metrics-listen", "127.0.0.1:0"]
        with serving(command, environ, may_fork=False) as server:
            port, pid = urlsplit(server.url).port or 0, server.process.pid
            target = port
            if kind == "metrics":
                (target,) = map(int, re.findall(r"^Metrics at http://\S+:([0-9]+)/", server.log(), re.MULTILINE))
            asyncio.run(_ask(port, _WARM_UP_SECONDS, pid, give_up))
            before = _settled(pid, settle)
            with holding(target, clients, kind, addresses) as slow:
                answers, most = asyncio.run(_ask(port, seconds, pid, give_up))
                at_end = slow.now()
            after = _settled(pid, settle, before)
    return Outcome(kind, answers, slow.at_start.held, at_end, before, most, after)


async def _ask(port: int, seconds: float, pid: int, give_up: float) -> tuple[list[tuple[int, float]], Size]:
    """Ask 20 times a second, without waiting for answers; return the answers, and the server's largest size."""
    start = time.monotonic()
    requests, sizes = [], []
    for number in range(max(1, round(seconds * _RATE))):
        await asyncio.sleep(start + number / _RATE - time.monotonic())
        requests.append(asyncio.create_task(_request(port, give_up)))
        if number % (_RATE // 4) == 0:
            sizes.append(Size.of(pid))
    answers = list(await asyncio.gather(*requests))
    sizes.append(Size.of(pid))
    return answers, Size(max(size.memory for size in sizes), max(size.descriptors for size in sizes))


async def _request(port: int, give_up: float) -> tuple[int, float]:
    """Ask for a signature on a new connection; return status and seconds."""
    start = time.monotonic()
    try:
        status = await asyncio.wait_for(_status(port), give_up)
    except (OSError, asyncio.TimeoutError, ValueError):
        status = 0
    return status, time.monotonic() - start


async def _status(port: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_REQUEST)
        head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        status = int(head[9:12])
        if status == 200:
            json.loads(body)  # whole
        return status
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _settled(pid: int, seconds: float, before: Size | None = None) -> Size:
    """Return the server's size when it is as before, when it no longer changes if there is no before, or at the end."""
    end = time.monotonic() + seconds
    last = Size.of(pid)
    while time.monotonic() < end:
        time.sleep(0.2)
        size = Size.of(pid)
        if size.fits(before) if before is not None else size == last:
            return size
        last = size
    return last


def report(outcomes: Iterable[Outcome]) -> None:
    columns = f"{'in 1 s':>8}{'p50':>7}{'p99':>8}{'most':>8}{'held':>7}{'again':>7}"
    print(f"{'':14}{columns}   MiB and descriptors, each before, at most, after")
    for outcome in outcomes:
        times = [took * 1000 for status, took in outcome.answers if status == 200]
        quantiles = statistics.quantiles(times, n=100) if len(times) > 1 else [float("nan")] * 99
        sizes = outcome.before, outcome.most, outcome.after
        memory = " ".join(f"{size.memory:6.1f}" for size in sizes)
        descriptors = " ".join(f"{size.descriptors:5}" for size in sizes)
        print(
            f"{outcome.kind:14}{outcome.share():8.2%}{quantiles[49]:7.1f}{quantiles[98]:8.1f}"
            f"{max(times, default=0):8.1f}{outcome.held:7}{outcome.at_end.reopened:7}   {memory}  {descriptors}"
        )
        others = Counter(status for status, _ in outcome.answers if status != 200)
        if others:
            counts = _counts({str(status or "none"): count for status, count in others.items()})
            print(f"{'':14}not 200: {counts}")
        if outcome.at_end.answers:
            print(f"{'':14}the slow ones were answered: {_counts(outcome.at_end.answers)}")


def _counts(statuses: dict[str, int]) -> str:
    return ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=5000, help="default: %(default)s")
    parser.add_argument("--kind", choices=(*KINDS, *WAITING_KINDS), help="default: all of them in turn")
    parser.add_argument("--seconds", type=float, default=30, help="for each kind (default: %(default)s)")
    parser.add_argument("--addresses", type=int, default=1, help="of the slow clients (default: %(default)s)")
    parser.add_argument("server", nargs="*", help="further arguments of server.py, after --")
    arguments = parser.parse_args()
    limit = raise_descriptor_limit()
    if not 0 < arguments.clients <= min(20_000, limit - 1000):
        parser.error(f"--clients is at most 20000, and here {limit - 1000}: descriptors are short")
    kinds = [arguments.kind] if arguments.kind else [*KINDS, *WAITING_KINDS]
    outcomes = []
    for kind in [kind for kind in kinds if kind in KINDS]:
        print(f"{arguments.clients} clients: {kind}", file=sys.stderr)
        addresses = max(arguments.addresses, -(-arguments.clients // 10_000))
        outcomes.append(
            measure(arguments.clients, kind, arguments.seconds, addresses=addresses, arguments=arguments.server)
        )
    waiting = []
    for kind in [kind for kind in kinds if kind in WAITING_KINDS]:
        for connections in CONNECTIONS:
            print(f"{connections} connections: {kind}", file=sys.stderr)
            waiting.append(measure_waiting(kind, connections, arguments.seconds))
    if outcomes:
        report(outcomes)
    if waiting:
        report_waiting(waiting)
    faults = [fault for outcome in (*outcomes, *waiting) for fault in outcome.faults()]
    for fault in faults:
        print(fault)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
