"""Compares servers over HTTP, in turn (A B C, A B C), with `wrk`: ours, and small peers that we wrote.

    python -m tests.benchmarks.servers                    signatures, callbacks, a wrapped legacy application
    python -m tests.benchmarks.servers --closed           a new connection for each request, as OSS makes them
    python -m tests.benchmarks.servers --idle 1000        beside 1,000 idle connections
    python -m tests.benchmarks.servers --hosting          `server:application` under other servers, one process each
    python -m tests.benchmarks.servers --tls              callbacks through nginx, with a TLS handshake for each
    python -m tests.benchmarks.servers --json tests/benchmarks/results/0.1.0.json     for docs/speed_chart.py
    python -m tests.benchmarks.servers --rounds 5 --seconds 5 --connections 16,64 --only wrapped

Prints for each its requests a second, p50 and p99 in milliseconds, CPU microseconds per request and peak memory, and
the ratio to WebOb on stock waitress, or to the application alone: median of the rounds, and the least and the most.
Ours signs V4 with a unique name, a ticket and every pin, and takes distinct callbacks with tickets and the ledger on;
the peers do what a sample does, those "like for like" open our tickets and keep answers as ours does. With --closed a
server that does not close takes no part; with --tls processor time and memory are nginx's and ours together.
PHP, Node, Go (held to one core) and nginx take part where they are installed. About 0.1 ms goes into making each of
40,000 callbacks for a second of load, before the first round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

from oss_wsgi import __version__

from ..support.ports import free_port
from .callbacks import SIGNATURE, Reporter
from .held_connections import holding
from .nginx import nginx_before
from .peer_servers import ROOT, Figures, Server, behind_tls, can_run, closes, hosting, peers, running
from .processes import cpu_seconds, peak_mebibytes, raise_descriptor_limit
from .wrk import Wrk

_CALLBACKS_A_SECOND = 40_000  # more than the quickest of them answers, so that few come twice


@dataclass(frozen=True)
class Run:
    """The load on all servers of one run; ``idle`` connections are held beside the load."""

    rounds: int
    seconds: float
    works: list[tuple[str, int]]
    closed: bool
    idle: int

    def title(self, work: str, connections: int) -> str:
        closed = ", one for each request" if self.closed else ""
        idle = f", beside {self.idle} idle" if self.idle else ""
        return f"{work}, {connections} connections{closed}{idle}"


class Benchmark:
    """Loads servers in turn; the folder is for prepared callbacks."""

    def __init__(self, run: Run, folder: Path) -> None:
        self._run = run
        self._folder = folder
        reporter = Reporter()
        count = int(run.seconds * _CALLBACKS_A_SECOND) if any(work == "callback" for work, _ in run.works) else 1
        callbacks = (report.request(closed=run.closed) for report in reporter.reports(count))
        self._wrk = Wrk(folder, callbacks, closed=run.closed)
        self._callback = reporter.report().request(closed=True)
        self._environ = {**os.environ, **reporter.environ(folder)}
        self._environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

    def measure(self, chosen: list[Server]) -> None:
        """Load every server with every work, round after round."""
        for turn in range(self._run.rounds):
            for work, connections in self._run.works:
                for server in chosen:
                    if work in server.works:
                        self._load(server, work, connections)
            print(f"round {turn + 1} of {self._run.rounds} done", file=sys.stderr)

    def _load(self, server: Server, work: str, connections: int) -> None:
        port = free_port()
        with ExitStack() as stack:
            pids = [stack.enter_context(running(server, port, self._environ, self._folder))]
            if server.proxy:
                upstream, port = port, free_port()
                pids.append(stack.enter_context(nginx_before(upstream, port, server.proxy, self._folder)))
            tls = server.proxy not in ("", "http")
            path = "/page" if work == "page" else SIGNATURE
            if self._run.closed:
                get = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
                if not closes(port, self._callback if work == "callback" else get, tls=tls):
                    print(f"{server.name}: {work}: it does not close, and takes no part", file=sys.stderr)
                    return
            if self._run.idle:
                held = stack.enter_context(holding(port, self._run.idle)).at_start.held
                if held < self._run.idle:
                    print(f"{server.name}: {work}: {held} idle connections were taken", file=sys.stderr)
            before = cpu_seconds(*pids)
            load = self._wrk.run(
                f"{'https' if tls else 'http'}://127.0.0.1:{port}{path}",
                callback=work == "callback",
                connections=connections,
                seconds=self._run.seconds,
            )
            cpu = (cpu_seconds(*pids) - before) / max(load.requests, 1) * 1e6
            server.peak = max(server.peak, peak_mebibytes(*pids))
        title = self._run.title(work, connections)
        server.figures[title].append(Figures(load.rate, load.p50, load.p99, cpu))
        if load.not_2xx:
            print(f"{server.name}: {work}: {load.not_2xx} of {load.requests} answers were no 2xx", file=sys.stderr)
        if load.lost:
            print(f"{server.name}: {work}: {load.lost} errors of connections", file=sys.stderr)


def medians(rounds: list[Figures]) -> Figures:
    return Figures(*(statistics.median(column) for column in zip(*rounds, strict=True)))


def report(chosen: list[Server]) -> None:
    works = list(dict.fromkeys(work for server in chosen for work in server.figures))
    for work in works:
        taking_part = [server for server in chosen if work in server.figures]
        base = taking_part[0]
        print(f"\n{work}\n{'':22}{'req/s':>8}{'p50 ms':>8}{'p99 ms':>8}{'us CPU':>8}{'MiB':>6}  times {base.name}")
        for server in taking_part:
            figures = server.figures[work]
            ratios = sorted(
                ours.rate / theirs.rate if theirs.rate else float("inf")
                for ours, theirs in zip(figures, base.figures[work], strict=False)
            )
            rate, p50, p99, cpu = medians(figures)
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"{server.name:22}{rate:8.0f}{p50:8.2f}{p99:8.2f}{cpu:8.0f}{server.peak:6.1f}  {spread}")


class Kept:
    """The file with the figures of a release; a further run of other works on the same machine adds to it.

    Raises ValueError, before anything is measured, where the file is none, or is of another machine or other versions.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._document: dict[str, Any] = {"date": f"{date.today()}", "machine": _machine(), "versions": _versions()}
        self._document["works"] = {}
        if not path.parent.is_dir():
            raise ValueError(f"{path.parent} is no folder")
        if path.exists():
            earlier = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(earlier, dict) or not isinstance(earlier.get("works"), dict):
                raise ValueError(f"{path} has no figures of a benchmark: name a new file")
            measured = {name: earlier.get(name) for name in ("machine", "versions")}
            if measured != {name: self._document[name] for name in measured}:
                raise ValueError(f"{path} was measured elsewhere, with {measured}: name a new file")
            self._document = earlier

    def add(self, chosen: list[Server]) -> None:
        """Write the medians of all figures."""
        for server in chosen:
            for work, figures in server.figures.items():
                rate, p50, p99, cpu = medians(figures)
                self._document["works"].setdefault(work, {})[server.name] = {
                    "requests_a_second": round(rate),
                    "p50_ms": round(p50, 2),
                    "p99_ms": round(p99, 2),
                    "cpu_us": round(cpu),
                    "peak_mib": round(server.peak, 1),
                }
        self._path.write_text(json.dumps(self._document, indent=1) + "\n", encoding="utf-8")


def _machine() -> dict[str, object]:
    processor = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="ascii"))
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    return {"processor": processor[1] if processor else "unknown", "cores": os.cpu_count(), "system": system}


def _versions() -> dict[str, str]:
    """Return the versions of those that are compared, as far as they are installed."""
    versions = {"oss_wsgi": __version__, "python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in ("waitress", "webob", "cryptography")}
    for name, option in (("php", "--version"), ("node", "--version"), ("go", "version")):
        if shutil.which(name) is not None:
            said = subprocess.run([name, option], capture_output=True, text=True, check=True).stdout
            number = re.search(r"\d+(?:\.\d+)+", said)
            assert number is not None, said
            versions[name] = number[0]
    return versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosting", action="store_true", help="our application under other servers")
    parser.add_argument("--tls", action="store_true", help="ours behind nginx with TLS; it implies --closed")
    parser.add_argument("--closed", action="store_true", help="a new connection for each request")
    parser.add_argument("--idle", type=int, default=0, metavar="N", help="hold N idle connections beside the load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", default="16,64", help="comma-separated (default: %(default)s)")
    parser.add_argument("--only", default="", help="servers whose names hold this text")
    parser.add_argument("--work", default="signature,callback,page", help="comma-separated (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep medians, machine and versions")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.exit(2, "wrk is missing: apt-get install wrk\n")
    try:
        kept = Kept(arguments.json) if arguments.json is not None else None
    except (OSError, ValueError) as error:
        parser.exit(2, f"--json: {error}\n")
    raise_descriptor_limit()
    known = behind_tls() if arguments.tls else hosting() if arguments.hosting else peers()
    chosen = [server for server in known if arguments.only in server.name and can_run(server)]
    works = arguments.work.split(",")
    run = Run(
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        works=[(work, int(number)) for work in works for number in arguments.connections.split(",")],
        closed=arguments.closed or arguments.tls,
        idle=arguments.idle,
    )
    with tempfile.TemporaryDirectory() as folder:
        Benchmark(run, Path(folder)).measure(chosen)
    report(chosen)
    if kept is not None:
        kept.add(chosen)


if __name__ == "__main__":
    main()
