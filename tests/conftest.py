"""What all tests share: no network outside loopback, and the set of fast tests."""

from __future__ import annotations

import gc
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_socket import socket_allow_hosts

HERE = Path(__file__).parent

#: Folders whose tests need a browser, a server, another program, or much time.
SLOW_FOLDERS = ("benchmarks", "browser", "examples", "integration", "local/sdks", "packaging", "security", "servers")

#: Audit events of what a fast test does not do: it starts no process, listens on no port and does not sleep.
SLOW_EVENTS = frozenset({"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "socket.bind", "subprocess.Popen"})

MAX_SLEEP = 0.01

#: How many cases of a table are fast tests.
MAX_FAST_CASES = 3

#: The line that makes all tests of a module slow.
SLOW_MODULE = "\npytestmark = pytest.mark.slow\n"

_running_fast: str | None = None


def pytest_configure(config: pytest.Config) -> None:
    # Servers leave alone what is ignored where they start, and a test run in the background ignores these. A handler
    # in its place does not go to a server that a test starts, and the run still survives them.
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)
    if config.option.markexpr == "fast":
        # By default the garbage collector walks all collected tests again and again: a fifth of the fast tests' time.
        gc.set_threshold(200_000, 20, 20)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import what is slow as a whole where only the fast tests are asked for."""
    if config.option.markexpr != "fast" or not collection_path.is_relative_to(HERE):
        return None
    if collection_path.is_dir():
        return collection_path.relative_to(HERE).as_posix() in SLOW_FOLDERS or None
    return SLOW_MODULE in collection_path.read_text(encoding="utf-8") or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as fast what is not slow, by its folder or by its own mark; of a long table the first cases."""
    cases: Counter[str] = Counter()
    for item in items:
        folder = item.path.parent.relative_to(HERE).as_posix() + "/"
        if not folder.startswith(tuple(f"{slow}/" for slow in SLOW_FOLDERS)) and not item.get_closest_marker("slow"):
            function = item.nodeid.partition("[")[0]
            cases[function] += 1
            if cases[function] <= MAX_FAST_CASES:
                item.add_marker("fast")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _running_fast
    _running_fast = item.nodeid if item.get_closest_marker("fast") else None
    yield
    _running_fast = None


def _refuse_slow_events(event: str, arguments: tuple[Any, ...]) -> None:
    if _running_fast is not None and (event in SLOW_EVENTS or (event == "time.sleep" and arguments[0] > MAX_SLEEP)):
        raise AssertionError(f"{event} in {_running_fast}: mark it with pytest.mark.slow")


sys.addaudithook(_refuse_slow_events)


@pytest.fixture(autouse=True)
def _no_network() -> None:
    """Refuse every connection that leaves this machine."""
    socket_allow_hosts(["127.0.0.1", "::1"], allow_unix_socket=True)
