"""Simulates a day of uploads: how busy the servers are, how long OSS waits, what is lost and found, and the costs.

    python -m tests.benchmarks.scale                        10^6, 10^8 and 10^9 uploads a day, in a few minutes
    python -m tests.benchmarks.scale --uploads 5e7 --ledger 2000 9000 --handler 0.02
    python -m tests.benchmarks.scale --check                one machine: the prediction beside a run of server.py

It simulates, with SimPy: uploads come as a Poisson stream whose rate follows the hour; each asks for a signature, and
OSS reports it on a connection of its own. OSS waits 5 seconds, and reports once. A report takes a process for its
processor time, one of its threads for the handler, and the ledger: those that wait for the ledger share one sync of the
disk. What OSS did not hear in time is lost; pages that are still open ask for it, up to 31 seconds, and the sweep finds
the rest.

10^9 uploads are not simulated one by one. Each form names the ledger that takes its reports, so each ledger with its
processes is a cell of its own, and its share of a Poisson stream is one again: one cell stands for all. Of each hour it
serves a slice, long enough for 10,000 uploads or 5 minutes, and of each failure a slice at the peak.

The times of the work are measured (docs/scaling.md says where); prices and failures are assumptions: options change
them. ``--check`` measures the processor time of a report and the rates with 1 and 16 clients, predicts the run
with 4 and with 64, and prints both. Needs `pip install 'oss-wsgi[benchmarks]'`, and --check needs wrk.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import statistics
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

try:
    import simpy
except ImportError:
    sys.exit("tests.benchmarks.scale needs SimPy: pip install 'oss-wsgi[benchmarks]'")

OSS_SECONDS = 5.0  # docs/protocol.md: OSS waits so long, and does not try again

#: The share of a day's uploads in each hour, times 24: the busiest hour has three times the mean.
DAY = (
    *(0.35, 0.2, 0.12, 0.1, 0.1, 0.15, 0.3, 0.55, 0.8, 0.95, 1.0, 1.1),
    *(1.2, 1.1, 1.0, 1.0, 1.05, 1.2, 1.6, 2.1, 2.7, 3.0, 1.6, 0.73),
)

#: Seconds between the attempts of a page to have a lost report found, as in static/upload.js.
PAGE_DELAYS = (1, 2, 4, 8, 16)
_HEAD_SECONDS = 0.02  # that OSS takes to say what it has stored

_SLICE_UPLOADS = 10_000
_SLICE_SECONDS = 3.0, 300.0
_FULL = 0.7  # how busy a ledger, or the proxy, may be at the peak
_SPARE = 0.4  # and a process, which pages ask again and again after an outage
_DAY_SECONDS = 86_400
_BOUND = 0.9  # so busy, a process cannot do more

Process = Generator[Any, Any, Any]


@dataclass(frozen=True)
class Costs:
    """Seconds that the work takes.

    :param signature: of a process's processor, for a form.
    :param callback: of a process's processor, for a report, all that is ours.
    :param handshake: of the processor of the proxy in front, for the TLS of a report's connection.
    :param handler: that the application's handler waits, for its own database.
    :param row: of the ledger, for each upload.
    :param sync: of the ledger, for each time that it waits for its disk.
    :param batch: how many uploads share a sync at the most.
    :param contention: the share by which a report takes more processor time while eight are in work, in turns.
    :param spread: of the processor time, which is lognormal around its mean: the deviation of its logarithm.
    """

    signature: float = 130e-6
    callback: float = 1100e-6
    handshake: float = 520e-6
    handler: float = 0.005
    row: float = 80e-6
    sync: float = 530e-6
    batch: int = 8
    contention: float = 0.0
    spread: float = 0.3

    @property
    def ledger_rate(self) -> float:
        """Uploads a second that a ledger takes with ``batch`` at once: half wait for the disk while half come back."""
        half = self.batch / 2
        return half / (half * self.row + self.sync)

    @classmethod
    def of_ledger(cls, one: float, many: float, *, batch: int = 8, **others: Any) -> Costs:
        """Return costs for a ledger that does ``one`` upload a second alone, and ``many`` with ``batch`` at once."""
        # 1 / one = row + sync, and as in `ledger_rate`: half / many = half * row + sync.
        row = max((batch / 2 / many - 1 / one) / (batch / 2 - 1), 0.0)
        return cls(row=row, sync=max(1 / one - row, 0.0), batch=batch, **others)


class Ledger:
    """A ledger that writes all waiting uploads at once."""

    def __init__(self, env: simpy.Environment, costs: Costs) -> None:
        self._env = env
        self._costs = costs
        self._waiting: list[simpy.Event] = []
        self._wake = env.event()
        self.rows = 0
        self.is_down = False
        env.process(self._run())

    def write(self) -> simpy.Event:
        """Return the event of an upload that is on the disk; its value is False if the ledger is away."""
        done = self._env.event()
        if self.is_down:
            return done.succeed(False)
        self._waiting.append(done)
        if not self._wake.triggered:
            self._wake.succeed()
        return done

    def _run(self) -> Process:
        while True:
            if not self._waiting:
                yield self._wake
                self._wake = self._env.event()
                continue
            batch = self._waiting[: self._costs.batch]
            del self._waiting[: self._costs.batch]
            seconds = len(batch) * self._costs.row + self._costs.sync
            self.rows += len(batch)
            yield self._env.timeout(seconds)
            for done in batch:
                done.succeed(not self.is_down)


@dataclass
class Heard:
    """What OSS has heard of the reports of a slice, and what pages have found of the rest."""

    seconds: list[float] = field(default_factory=list)
    lost: int = 0
    found: int = 0
    most_waiting: int = 0
    processor: float = 0.0
    ledger: float = 0.0

    def percentile(self, share: float) -> float:
        """Return the time within which this share of the reports was answered."""
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else math.nan


class Cell:
    """A ledger, and the processes that use it; each process does one thing at a time, and has 8 threads that wait."""

    def __init__(
        self, env: simpy.Environment, costs: Costs, processes: int, draw: random.Random, pages: float = 0.0
    ) -> None:
        self._env = env
        self._pages = pages
        self.costs = costs
        self._draw = draw
        self._processors = [simpy.Resource(env) for _ in range(processes)]
        self._threads = [simpy.Resource(env, 8) for _ in range(processes)]
        self.ledger = Ledger(env, costs)
        self.handler = costs.handler
        self.heard = Heard()
        # How often each process was killed, which one is dead, and the event of its return.
        self._lives = [0] * processes
        self._dead: int | None = None
        self._return = env.event()
        self._waiting = 0

    def signature(self) -> Process:
        yield from self._work(self._some_process(), self.costs.signature)

    def report(self) -> Process:
        """Take a report, and note what OSS hears; if it hears nothing, the page may ask later."""
        start = self._env.now
        is_kept = yield from self._handle()
        seconds = self._env.now - start
        if is_kept and seconds <= OSS_SECONDS:
            self.heard.seconds.append(seconds)
            return
        self.heard.lost += 1
        if self._draw.random() < self._pages:
            for delay in PAGE_DELAYS:
                yield self._env.timeout(delay)
                if (yield from self._handle(_HEAD_SECONDS)):
                    self.heard.found += 1
                    return

    def _handle(self, wait: float = 0.0) -> Generator[Any, Any, bool]:
        """Handle an upload, after a wait for OSS; return whether the ledger keeps it and the answer has left."""
        number = self._some_process()
        if number == self._dead:
            if len(self._processors) == 1:  # the parent holds the socket: connections wait
                yield self._return
            else:
                number = 1 + number % (len(self._processors) - 1)
        life = self._lives[number]
        self._waiting += 1
        self.heard.most_waiting = max(self.heard.most_waiting, self._waiting)
        others = min(self._waiting, 8) - 1
        yield from self._work(number, self.costs.callback * (1 + self.costs.contention * others / 7))
        with self._threads[number].request() as thread:
            yield thread
            handler = self._draw.expovariate(1 / self.handler) if self.handler else 0.0
            if wait + handler:
                yield self._env.timeout(wait + handler)
            is_kept = yield self.ledger.write()
        self._waiting -= 1
        return bool(is_kept) and life == self._lives[number]

    def kill(self, seconds: float) -> Process:
        """Kill a process with what it has begun; another takes its place after some seconds."""
        self._dead = 0
        self._lives[0] += 1
        yield self._env.timeout(seconds)
        self._dead = None
        self._return.succeed()

    def _some_process(self) -> int:
        return self._draw.randrange(len(self._processors))

    def _work(self, number: int, seconds: float) -> Process:
        with self._processors[number].request() as turn:
            yield turn
            spread = self.costs.spread
            seconds *= self._draw.lognormvariate(-spread * spread / 2, spread)
            self.heard.processor += seconds
            yield self._env.timeout(seconds)


@dataclass(frozen=True)
class Group:
    """A number of cells, each with the same number of processes."""

    cells: int
    processes: int

    def machines(self, cores: int, costs: Costs, peak: float) -> int:
        """Return how many machines the processes and the proxy's handshakes need: at least two, since one may fail."""
        front = peak * costs.handshake / _FULL
        return max(math.ceil((self.cells * self.processes + front) / cores), 2)


def sized(peak: float, costs: Costs) -> Group:
    """Return the group for a peak rate: ledgers busy for 0.7 of their time, processes for 0.4 (docs/scaling.md)."""
    cells = max(math.ceil(peak / (_FULL * costs.ledger_rate)), 1)
    share = peak / cells
    threads = share * (costs.handler + costs.row * costs.batch + costs.sync) / (8 * _SPARE)
    return Group(cells, max(math.ceil(share * (costs.signature + costs.callback) / _SPARE), math.ceil(threads), 1))


def simulate(
    costs: Costs,
    processes: int,
    rate: float,
    seconds: float,
    *,
    seed: int = 1,
    failure: str = "",
    begin: float = 0.0,
    end: float = 0.0,
    pages: float = 0.0,
) -> Heard:
    """Simulate one cell for some seconds at a rate; between ``begin`` and ``end`` a failure holds.

    :param failure: ``ledger``: the ledger is away. ``process``: one process is. ``slow``: the handler takes 3 s.
    :param pages: the share of pages that are still open, and ask for lost reports.
    """
    env = simpy.Environment()
    draw = random.Random(seed)
    cell = Cell(env, costs, processes, draw, pages)

    def arrivals(work: str) -> Process:
        while True:
            yield env.timeout(draw.expovariate(rate))
            env.process(getattr(cell, work)())

    def fail() -> Process:
        yield env.timeout(begin)
        if failure == "process":
            yield from cell.kill(end - begin)
            return
        cell.ledger.is_down = failure == "ledger"
        cell.handler = 3.0 if failure == "slow" else cell.handler
        yield env.timeout(end - begin)
        cell.ledger.is_down, cell.handler = False, costs.handler

    env.process(arrivals("signature"))
    env.process(arrivals("report"))
    if failure:
        env.process(fail())
    env.run(seconds)
    cell.heard.ledger = cell.ledger.rows / seconds / costs.ledger_rate
    cell.heard.processor /= seconds * processes
    return cell.heard


def slice_seconds(rate: float) -> float:
    """Return how long a slice at this rate is."""
    return min(max(_SLICE_UPLOADS / rate, _SLICE_SECONDS[0]), _SLICE_SECONDS[1])


@dataclass(frozen=True)
class Failures:
    """What goes wrong in a day, in each cell, and how the lost are found.

    :param net: the share of reports that never arrive.
    :param outage: seconds in which the ledger is away, at the peak.
    :param slow: seconds in which the handler takes 3 s, at the peak.
    :param restarts: unplanned ends of each process, with what it has begun; planned ones lose nothing.
    :param pages: the share of pages that are still open when a report was lost.
    :param sweep: seconds between two sweeps.
    :param heads: objects that a sweep asks the bucket for in a second, in all cells.
    """

    net: float = 1e-5
    outage: float = 10.0
    slow: float = 10.0
    restarts: int = 2
    pages: float = 0.9
    sweep: float = 3600.0
    heads: float = 2000.0


@dataclass(frozen=True)
class Prices:
    """CNY, as published for mainland regions (docs/scaling.md): for 10,000 requests, and a machine of 8 cores a day."""

    puts: float = 0.01
    heads: float = 0.01
    machine: float = 40.0


@dataclass(frozen=True)
class Day:
    """What a day comes to."""

    uploads: float
    peak: float
    group: Group
    machines: int
    mean_busy: float
    peak_busy: float
    peak_ledger: float
    p50: float
    p99: float
    most_waiting: int
    lost: dict[str, float]
    by_pages: float
    by_sweep: float
    last_found: float
    money: dict[str, float]


def day(uploads: float, costs: Costs, failures: Failures, prices: Prices, *, cores: int = 8, seed: int = 1) -> Day:
    """Simulate a day: a slice of each hour, and a slice of each failure at the peak."""
    mean = uploads / _DAY_SECONDS
    peak = mean * max(DAY)
    group = sized(peak, costs)
    hours = []
    for hour, weight in enumerate(DAY):
        rate = mean * weight / group.cells
        hours.append(simulate(costs, group.processes, rate, slice_seconds(rate), seed=seed + hour))
    busiest = hours[DAY.index(max(DAY))]
    normal = sum(heard.lost * _share(heard, uploads, weight) for heard, weight in zip(hours, DAY, strict=True))
    lost = {"net": uploads * failures.net, "busy": normal}
    by_pages = failures.pages * sum(lost.values())
    share = peak / group.cells
    tail = sum(PAGE_DELAYS) + OSS_SECONDS
    for failure, seconds, times in (
        ("ledger", failures.outage, 1),
        ("slow", failures.slow, 1),
        ("process", 1.0, failures.restarts * group.processes),
    ):
        length, open_pages = (seconds + tail, failures.pages) if failure != "process" else (seconds + 2, 0.0)
        heard = simulate(
            costs,
            group.processes,
            share,
            length,
            seed=seed,
            failure=failure,
            begin=1,
            end=1 + seconds,
            pages=open_pages,
        )
        lost[failure] = heard.lost * times * group.cells
        by_pages += (heard.found if open_pages else failures.pages * heard.lost) * times * group.cells
    total = sum(lost.values())
    by_sweep = total - by_pages
    # The worst: lost right after a sweep, and found as the last of what the next one finds.
    last_found = failures.sweep + by_sweep / failures.heads
    machines = group.machines(cores, costs, peak)
    lists = 2 * uploads / 1000  # of 1,000 names each; a sweep begins an interval before the one before it ended
    money = {
        "puts": uploads / 10_000 * prices.puts,
        "sweeps": lists / 10_000 * prices.puts + total / 10_000 * prices.heads,
        "machines": machines * prices.machine,
    }
    mean_busy = statistics.fmean(heard.processor for heard in hours)
    return Day(
        uploads, peak, group, machines, mean_busy, busiest.processor, busiest.ledger, busiest.percentile(0.5),
        busiest.percentile(0.99), busiest.most_waiting, lost, by_pages, by_sweep, last_found, money,
    )  # fmt: skip


def _share(heard: Heard, uploads: float, weight: float) -> float:
    """Return how many uploads of its hour one upload of a slice stands for."""
    return uploads / 24 * weight / max(len(heard.seconds) + heard.lost, 1)


def table(days: list[Day]) -> Iterator[str]:
    """Yield the lines of the table in docs/scaling.md: a column for each day."""
    rows: list[tuple[str, list[str]]] = [
        ("uploads a second: mean, peak", [f"{one.uploads / _DAY_SECONDS:,.0f}, {one.peak:,.0f}" for one in days]),
        ("ledgers, processes for each", [f"{one.group.cells}, {one.group.processes}" for one in days]),
        ("machines of 8 cores", [f"{one.machines}" for one in days]),
        ("processes busy: mean, peak", [f"{one.mean_busy:.0%}, {one.peak_busy:.0%}" for one in days]),
        ("share of the ledger's rate at the peak", [f"{one.peak_ledger:.0%}" for one in days]),
        ("OSS waits at the peak: p50, p99", [f"{one.p50 * 1e3:.1f}, {one.p99 * 1e3:.1f} ms" for one in days]),
        ("most reports in one cell at once", [f"{one.most_waiting}" for one in days]),
        *((f"lost: {name}", [f"{one.lost[name]:,.0f}" for one in days]) for name in days[0].lost),
        ("found by pages, by the sweep", [f"{one.by_pages:,.0f}, {one.by_sweep:,.0f}" for one in days]),
        ("the last one is found after", [f"{one.last_found / 60:,.0f} min" for one in days]),
        *((f"CNY a day: {name}", [f"{one.money[name]:,.2f}" for one in days]) for name in days[0].money),
    ]
    yield "| uploads a day | " + " | ".join(f"{one.uploads:,.0f}" for one in days) + " |"
    yield "| --- |" + " --- |" * len(days)
    for name, cells in rows:
        yield f"| {name} | " + " | ".join(cells) + " |"


@dataclass(frozen=True)
class Run:
    """What clients that post one report after the other saw: reports a second, how busy the server was, and times."""

    clients: int
    rate: float
    busy: float
    p50: float
    p99: float


def simulate_clients(costs: Costs, clients: int, seconds: float, *, seed: int = 1) -> Run:
    """Simulate one process under clients that each post one report after the other."""
    env = simpy.Environment()
    cell = Cell(env, costs, 1, random.Random(seed))

    def client() -> Process:
        while True:
            yield env.process(cell.report())

    for _ in range(clients):
        env.process(client())
    env.run(seconds)
    heard = cell.heard
    rate = len(heard.seconds) / seconds
    busy = heard.processor / seconds + rate * costs.row
    return Run(clients, rate, busy, heard.percentile(0.5), heard.percentile(0.99))


class Check:
    """Runs server.py with a SQLite ledger under clients, and predicts such runs from others."""

    def __init__(self, folder: Path, seconds: int) -> None:
        from ..support.running_server import clean_environ
        from .callbacks import Reporter
        from .wrk import Wrk

        reporter = Reporter()
        self._folder = folder
        self._seconds = seconds
        self._environ = clean_environ(**reporter.environ(folder))
        reports = reporter.reports(seconds * 12_000)
        self._wrk = Wrk(folder, (report.request() for report in reports), closed=False)

    def run(self, clients: int) -> Run:
        """Run server.py, one process with a new ledger, under a number of clients."""
        from ..support.running_server import SERVER, serving
        from .processes import cpu_seconds

        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            command = [sys.executable, str(SERVER), "--listen", "127.0.0.1:0", "--ledger", f"{name}/ledger.sqlite3"]
            with serving(command, self._environ, may_fork=False) as server:
                before = cpu_seconds(server.process.pid)
                url = f"{server.url}/oss/callback"
                load = self._wrk.run(url, callback=True, connections=clients, seconds=self._seconds)
                busy = (cpu_seconds(server.process.pid) - before) / self._seconds
        return Run(clients, load.rate, busy, load.p50 / 1e3, load.p99 / 1e3)


def costs_of(one: Run, many: Run) -> Costs:
    """Return the costs that explain the run with one client and the one with many (8 threads, no handler).

    What a report takes of the processor is Python's, one thread at a time, as far as that explains the rate of many
    clients; the rest is the ledger's own code, which runs beside it. What one client waits for beyond both is the disk.
    """
    alone, crowded = one.busy / one.rate, many.busy / many.rate
    waits = max(1 / one.rate - alone, 1e-6)
    if many.busy > _BOUND:
        python = min(crowded, 1 / many.rate)
        row = crowded - python
        callback = max(alone - row, 1e-6)
        costs = Costs(callback=callback, row=row, sync=waits, handler=0.0, contention=python / callback - 1)
    else:
        contention = crowded / alone - 1
        costs = Costs.of_ledger(1 / waits, many.rate, callback=alone, handler=0.0, contention=contention)
    low, high = 0.0, 3.0
    for _ in range(8):  # the spread that explains the slowest of many clients' reports
        costs = replace(costs, spread=(low + high) / 2)
        predicted = simulate_clients(costs, many.clients, 5.0)
        if predicted.p99 / predicted.p50 < many.p99 / many.p50:
            low = costs.spread
        else:
            high = costs.spread
    return costs


def check(rounds: int, seconds: int) -> None:
    """Print what was measured and what was predicted from it; rounds take turns, and medians count."""
    runs: dict[int, list[Run]] = {clients: [] for clients in (1, 16, 4, 64)}
    with tempfile.TemporaryDirectory() as name:
        program = Check(Path(name), seconds)
        for turn in range(rounds):
            for clients, some in runs.items():
                some.append(program.run(clients))
            print(f"round {turn + 1} of {rounds} done", file=sys.stderr)
    measured = {clients: _median(some) for clients, some in runs.items()}
    costs = costs_of(measured[1], measured[16])
    print(
        f"from 1 and 16 clients: {costs.callback * 1e6:.0f} us of the processor for a report, "
        f"{costs.contention:.0%} more with eight in work, "
        f"{costs.row * 1e6:.0f} us of the ledger for each, {costs.sync * 1e6:.0f} us for each sync, "
        f"a spread of {costs.spread:.2f}\n"
    )
    print("| clients | | measured | predicted | difference |\n| --- | --- | --- | --- | --- |")
    for clients in (4, 64):
        real, predicted = measured[clients], simulate_clients(costs, clients, 10.0)
        for name, scale, digits in (("rate", 1, 0), ("busy", 100, 0), ("p50", 1e3, 2), ("p99", 1e3, 2)):
            ours, theirs = getattr(predicted, name) * scale, getattr(real, name) * scale
            unit = {"rate": " a second", "busy": " %"}.get(name, " ms")
            label = {"rate": "reports", "busy": "processor busy"}.get(name, name)
            print(
                f"| {clients} | {label} | {theirs:,.{digits}f}{unit} | {ours:,.{digits}f}{unit} | "
                f"{ours / theirs - 1:+.0%} |"
            )


def _median(runs: list[Run]) -> Run:
    clients, *columns = zip(*((run.clients, run.rate, run.busy, run.p50, run.p99) for run in runs), strict=True)
    return Run(clients[0], *map(statistics.median, columns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=float, nargs="+", default=[1e6, 1e8, 1e9], help="a day; default: 1e6 1e8 1e9")
    parser.add_argument(
        "--ledger", type=float, nargs=2, metavar=("ONE", "EIGHT"), help="uploads a second with 1 and with 8 at once"
    )
    parser.add_argument("--handler", type=float, default=Costs.handler, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument("--outage", type=float, default=Failures.outage, metavar="SECONDS", help="default: %(default)s")
    parser.add_argument(
        "--machine", type=float, default=Prices.machine, metavar="CNY", help="a day; default: %(default)s"
    )
    parser.add_argument("--check", action="store_true", help="compare one machine with a run of server.py")
    parser.add_argument("--rounds", type=int, default=3, help="of --check; default: %(default)s")
    parser.add_argument("--seconds", type=int, default=2, help="of each run of --check; default: %(default)s")
    arguments = parser.parse_args()
    if arguments.check:
        if shutil.which("wrk") is None:
            parser.exit(2, "wrk is missing: apt-get install wrk\n")
        check(arguments.rounds, arguments.seconds)
        return
    costs = Costs.of_ledger(*arguments.ledger) if arguments.ledger else Costs()
    costs = replace(costs, handler=arguments.handler)
    failures, prices = Failures(outage=arguments.outage), Prices(machine=arguments.machine)
    print(*table([day(uploads, costs, failures, prices) for uploads in arguments.uploads]), sep="\n")


if __name__ == "__main__":
    main()
