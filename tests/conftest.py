"""What all tests share: no network outside loopback, and the marks that say what a test needs."""

from __future__ import annotations

import functools
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings

HERE = Path(__file__).parent

#: What needs more than the extra [test]: its marker, and the folders and files that are wholly of this kind. A single
#: test has the mark itself. What -m does not ask for is not even imported: its packages may be missing.
NEEDS = {
    "browser": ("browser", "examples/test_fastapi_app.py", "examples/test_own_pages.py"),
    "servers": (
        "cli/doctor/test_command_servers.py",
        "examples/test_example_sites.py",
        "examples/test_framework_examples.py",
        "examples/test_hosting_examples.py",
        "examples/test_own_application.py",
        "integration/test_benchmark_peers.py",
        "integration/test_old_applications.py",
        "servers",
    ),
    "databases": (
        "django/test_ledger.py",
        "endpoints/test_redis_rate_limit.py",
        "ledger/test_redis.py",
        "ledger/test_sql.py",
        "ledger/test_sql_faults.py",
        "ledger/test_sql_killed_processes.py",
    ),
    "sdks": ("examples/test_mini_programs.py", "local_oss/sdks"),
    "bundles": ("examples/test_kubernetes_examples.py", "packaging"),
    "soak": (
        "integration/test_restarts.py",
        "integration/test_scale.py",
        "integration/test_slow_clients.py",
        "security/test_soak.py",
        "soak",
    ),
    "pages": (),
}

#: Folders whose tests are not fast, whatever they need.
SLOW_FOLDERS = ("benchmarks", "examples", "integration", "security")

#: Audit events of what a fast test does not do: it starts no process, listens on no port and does not sleep.
SLOW_EVENTS = frozenset({"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "socket.bind", "subprocess.Popen"})

MAX_SLEEP = 0.01

LOOPBACK = ("127.0.0.1", "::1")

#: The line that makes all tests of a module slow.
SLOW_MODULE = "\npytestmark = pytest.mark.slow\n"

#: A folder in memory, used if it has this much room: syncing files, which most tests make, takes no time there.
MEMORY, MEMORY_BYTES = "/dev/shm", 2 << 30

_running_fast: str | None = None


def pytest_configure(config: pytest.Config) -> None:
    # Images of Python often set it. Each worker, and each program that a test starts, would compile everything anew.
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        sys.dont_write_bytecode = False
    has_room = os.path.isdir(MEMORY) and shutil.disk_usage(MEMORY).free > MEMORY_BYTES
    is_small = config.option.markexpr not in NEEDS  # whole environments and databases take more
    if has_room and is_small and "TMPDIR" not in os.environ:
        os.environ["TMPDIR"] = MEMORY
        tempfile.tempdir = None
    # Servers leave alone what is ignored where they start, and a test run in the background ignores these. A handler
    # in its place does not go to a server that a test starts, and the run still survives them.
    for number in (signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)
    # By default the garbage collector walks all collected tests again and again.
    gc.set_threshold(200_000, 20, 20)
    # The same examples each time, and no limit of time: a busy machine turns no test red.
    settings.register_profile("tests", derandomize=True, deadline=None, database=None)
    settings.load_profile("tests")
    config.option.loadscopereorder = False  # xdist would begin with the files of most tests, which are quick ones


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes run the tests: two for a core, as most tests wait; one for fast tests, which do not.

    Tests of named files run in this process, because each worker takes a second to start.
    """
    if any(argument.partition("::")[0].endswith((".py", ".js")) for argument in config.args):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores if config.option.markexpr == "fast" else 2 * cores, 8)


def need_of(path: Path) -> str | None:
    """Return the marker of a folder or file in NEEDS, or of a folder above it."""
    return next((need for need, places in NEEDS.items() if is_within(path, places)), None)


@functools.cache
def is_within(path: Path, places: tuple[str, ...]) -> bool:
    """Return whether a path of the tests is one of these places or in one."""
    return (path.relative_to(HERE).as_posix() + "/").startswith(tuple(f"{place}/" for place in places))


def is_asked_for(expression: str, mark: str) -> bool:
    """Return whether -m asks for tests that have this mark and no other."""
    return not expression or bool(eval(expression, {"__builtins__": {}}, defaultdict(bool, {mark: True})))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore files of which no test is asked for: their packages may be missing, and importing takes time."""
    if not collection_path.is_relative_to(HERE):
        return None
    expression = config.option.markexpr
    need = need_of(collection_path)
    if need is not None:
        return not is_asked_for(expression, need) or None
    if expression in NEEDS and collection_path.is_file():
        return f"mark.{expression}" not in collection_path.read_text(encoding="utf-8") or None
    if expression != "fast":
        return None
    if collection_path.is_dir():
        return is_within(collection_path, SLOW_FOLDERS) or None
    return SLOW_MODULE in collection_path.read_text(encoding="utf-8") or None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the mark of its place, and `fast` unless something says that it is slow; put slow files first."""
    for item in items:
        need = need_of(item.path)
        if need is not None:
            item.add_marker(need)
        is_slow = any(item.get_closest_marker(mark) for mark in ("slow", *NEEDS))
        if not is_slow and not is_within(item.path, SLOW_FOLDERS):
            item.add_marker("fast")
    # What takes longest begins first, or one process would still run it when the others are done.
    slow = {item.path for item in items if not item.get_closest_marker("fast")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _running_fast
    _running_fast = item.nodeid if item.get_closest_marker("fast") else None
    yield
    _running_fast = None


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse each connection that leaves this machine, and in a fast test what is slow."""
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in LOOPBACK:
        raise AssertionError(f"a connection to {arguments[1][0]}, which is not this machine")
    if _running_fast is not None and (event in SLOW_EVENTS or (event == "time.sleep" and arguments[0] > MAX_SLEEP)):
        raise AssertionError(f"{event} in {_running_fast}: mark it with pytest.mark.slow")


sys.addaudithook(_refuse)


@pytest.fixture(scope="session", autouse=True)
def _one_key_and_patience() -> Iterator[None]:
    """Let every local OSS have the same callback key, and wait longer for an application than OSS's 5 seconds."""
    from local_oss.options import Options

    from .support.callbacks import shared_key

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("local_oss.application.CallbackKey", SimpleNamespace(generate=shared_key))
        patch.setitem(Options.__init__.__kwdefaults__, "callback_timeout", 60.0)  # type: ignore[misc]
        yield
