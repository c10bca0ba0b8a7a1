"""Plants bugs in a module, one at a time, and lists those that the tests do not catch.

    python -m tests.mutation oss_wsgi/callback/ticket.py
    python -m tests.mutation oss_wsgi/endpoints/gate.py --lines 40-80,97 --jobs 2 tests/endpoints/test_gate.py

Without names of tests it runs those of the module's room, and the other files of the default set that import the module
and are fast. It works in copies of the checkout, so that several people may run it at once.

A mutant costs less than a second. The tests are collected once. For a bug inside a function a forked process replaces
the function's code, and runs the tests that run its lines, the quick ones first. What survives this, and any bug
outside of functions, is written into the copy's file, and all the tests run in a process that imports it anew: so
subprocesses have the bug too. With --quick what has survived inside a function is not tried again.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import gc
import inspect
import json
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
HOUSES = ("oss_wsgi", "local_oss")
#: What a copy of the checkout does without.
JUNK = shutil.ignore_patterns(".venv*", ".git", ".hypothesis", "build", "dist", "_build", "__pycache__", ".*_cache")
OPTIONS = ["-q", "-x", "-n0", "-p", "no:cacheprovider", "-p", "no:randomly", "--hypothesis-seed=0"]
# pytest rewrites the assertions of our package too, for it has a plugin: such a function is not that of the file.
OPTIONS += ["--assert=plain"]

TURNED: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.FloorDiv,),
    ast.FloorDiv: (ast.Mult,),
    ast.Div: (ast.Mult,),
    ast.Mod: (ast.Mult,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitAnd: (ast.BitOr,),
    ast.LShift: (ast.RShift,),
    ast.RShift: (ast.LShift,),
}


class Mutant(NamedTuple):
    line: int
    before: str
    after: str
    source: str
    last_line: int

    def __str__(self) -> str:
        return f"{self.line}: {self.before}  ->  {self.after}"


# What is planted.


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield replacements for a node, each with one small bug."""
    if isinstance(node, ast.Compare):
        for number, operator in enumerate(node.ops):
            for other in TURNED[type(operator)]:
                operators = [*node.ops[:number], other(), *node.ops[number + 1 :]]
                yield ast.Compare(node.left, operators, node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for number in range(len(node.values)):
            values = node.values[:number] + node.values[number + 1 :]
            yield ast.BoolOp(node.op, values) if len(values) > 1 else values[0]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif is_sum(node):
        yield ast.BinOp(node, ast.Add(), ast.Constant(1))
        yield ast.BinOp(node, ast.Sub(), ast.Constant(1))
    elif isinstance(node, ast.BinOp):
        for other in TURNED.get(type(node.op), ()):
            yield ast.BinOp(node.left, other(), node.right)
    elif isinstance(node, ast.AugAssign):
        yield ast.Pass()
        for other in TURNED.get(type(node.op), ()):
            yield ast.AugAssign(node.target, other(), node.value)
    elif isinstance(node, ast.Constant):
        yield from constants(node.value)
    elif isinstance(node, ast.Call):
        for number in range(len(node.keywords)):
            yield ast.Call(node.func, node.args, node.keywords[:number] + node.keywords[number + 1 :])
        if len(node.args) > 1 and ast.unparse(node.func) not in ("max", "min"):
            yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
    elif isinstance(node, ast.Return) and node.value is not None and not is_constant(node.value, None):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, (ast.Raise, ast.Expr)) or (
        isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple))
    ):
        yield ast.Pass()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif isinstance(node, ast.Break):
        yield ast.Continue()


def constants(value: object) -> Iterator[ast.Constant]:
    """Yield other values for a constant; none for a sentence, which tests need not pin."""
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, (int, float)):
        yield ast.Constant(value + 1)
        if value > 0:
            yield ast.Constant(value - 1)
    elif isinstance(value, (str, bytes)) and (" " if isinstance(value, str) else b" ") not in value:
        other = "mutant" if isinstance(value, str) else b"mutant"
        yield ast.Constant(value + other if value else other)  # type: ignore[operator]


def is_sum(node: ast.AST) -> bool:
    """Return whether a node is a number that is written as a sum or a product of numbers."""
    return isinstance(node, ast.BinOp) and all(
        (isinstance(part, ast.Constant) and isinstance(part.value, (int, float))) or is_sum(part)
        for part in (node.left, node.right)
    )


def is_constant(node: ast.AST, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def mutable(node: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield each node that may have a bug, and whether it is a condition; no annotation, docstring or f-string."""
    for name, field in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params"):
            continue
        for child in field if isinstance(field, list) else [field]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "__all__":
                continue
            if isinstance(child, (ast.expr, ast.stmt)):
                yield child, name in ("test", "ifs")
            if not is_sum(child):
                yield from mutable(child)


def mutants_of(source: str) -> list[Mutant]:
    """Return each mutant of a module that compiles, in the order of its lines."""
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    text = source.encode()
    mutants: dict[str, Mutant] = {}
    for node, is_condition in mutable(ast.parse(source)):
        others = [*changes(node), *((ast.Constant(True), ast.Constant(False)) if is_condition else ())]
        begin = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        end = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        for other in others:
            after = ast.unparse(ast.fix_missing_locations(other))
            # The lines below keep their numbers.
            padding = "\n" * (text[begin:end].count(b"\n"))
            replacement = after + padding if isinstance(node, ast.stmt) else f"({after}{padding})"
            mutated = (text[:begin] + replacement.encode() + text[end:]).decode()
            with contextlib.suppress(SyntaxError):
                compile(mutated, "mutant", "exec")
                mutant = Mutant(node.lineno, ast.unparse(node), after, mutated, node.end_lineno)  # type: ignore[attr-defined]
                if mutant.before != after:
                    mutants.setdefault(mutated, mutant)
    return sorted(mutants.values(), key=lambda mutant: mutant.line)


# How it is caught.


def forked(run: Callable[[], Any], cpu_seconds: float, seconds: float) -> Any:
    """Return what a function returns in a process of its own, or "time" if it takes too long."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        status = 1
        try:
            os.setsid()
            os.close(reading)
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds) + 1, int(cpu_seconds) + 2))
            null = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(null, number)
            try:
                outcome = pickle.dumps(run())
            except Exception:
                outcome = pickle.dumps(SystemExit(traceback.format_exc()))
            with open(writing, "wb") as pipe:
                pipe.write(outcome)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    timer = threading.Timer(seconds, os.killpg, (process, signal.SIGKILL))
    timer.start()
    # What the tests have started has the pipe open too: the process's end is the end.
    chunks: list[bytes] = []
    reader = threading.Thread(target=lambda: chunks.append(read(reading)), daemon=True)
    reader.start()
    os.waitpid(process, 0)
    timer.cancel()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    reader.join(1)
    timer.join()
    outcome = pickle.loads(chunks[0]) if chunks and chunks[0] else "time"
    if isinstance(outcome, SystemExit):
        raise outcome
    return outcome


def read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as file:
        return file.read()


class Outcome:
    """A plugin that notes the first test that fails."""

    failed = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and not self.failed:
            self.failed = f"import of {report.nodeid}"


def run_tests(tests: list[str]) -> str:
    """Run tests in this process; return the one that failed, or ""."""
    outcome = Outcome()
    status = pytest.main([*OPTIONS, *tests], plugins=[outcome])
    return outcome.failed or ("" if status == 0 else f"exit status {status!r}")


def replacements(old: types.CodeType, new: types.CodeType) -> Iterator[tuple[types.CodeType, types.CodeType]]:
    """Yield the outermost functions that differ in two versions of a module; ValueError if anything else differs."""
    if old.co_flags & inspect.CO_OPTIMIZED:  # a function, and no class
        if old != new:
            yield old, new
        return
    pairs = list(zip(old.co_consts, new.co_consts, strict=True))
    nested = [pair for pair in pairs if isinstance(pair[0], types.CodeType)]
    plain = [pair for pair in pairs if not isinstance(pair[0], types.CodeType)]
    if (old.co_code, old.co_names) != (new.co_code, new.co_names) or any(repr(one) != repr(two) for one, two in plain):
        raise ValueError("outside of functions")
    for one, two in nested:
        yield from replacements(one, two)


class InPlace:
    """A plugin that runs the collected tests for each mutant, in forks of this process."""

    def __init__(
        self, path: Path, mutants: list[Mutant], report: Callable[[Mutant, str], None], *, quick: bool
    ) -> None:
        self.path, self.mutants, self.report, self.quick = path, mutants, report, quick
        self.rest: list[Mutant] = []
        self.caches: list[functools._lru_cache_wrapper[Any]] = []
        self.seconds = self.cpu_seconds = 0.0
        self.problem = "no test was collected"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed or not session.items:
            return True
        functions: dict[types.CodeType, list[types.FunctionType]] = {}
        for thing in gc.get_objects():  # isinstance would wake lazy ones, Django's settings among them
            if type(thing) is functools._lru_cache_wrapper and str(thing.__module__).partition(".")[0] in HOUSES:
                self.caches.append(thing)
            if type(thing) is types.FunctionType and thing.__code__.co_filename == str(self.path):
                functions.setdefault(thing.__code__, []).append(thing)
        begin = time.monotonic()
        first = forked(lambda: self.traced(session), 3600, 3600)
        self.seconds = time.monotonic() - begin
        if first == "time" or first[1]:
            self.problem = f"without a bug this fails: {first if first == 'time' else first[1]}"
            return True
        callers, self.problem, costs = first
        self.cpu_seconds = sum(costs.values())
        original = compile(self.path.read_text(encoding="utf-8"), str(self.path), "exec", dont_inherit=True)
        for mutant in self.mutants:
            caught = self.catch(session, mutant, original, functions, callers, costs)
            if caught or (self.quick and caught is not None):
                self.report(mutant, caught)
            else:
                self.rest.append(mutant)
        return True

    def traced(self, session: pytest.Session) -> tuple[dict[int, set[int]], str, dict[int, float]]:
        """Run all tests; return which of them run each line, the one that fails, and the CPU seconds of each."""
        name = str(self.path)
        callers: dict[int, set[int]] = {}
        costs: dict[int, float] = {}
        lines: set[int] = set()
        begin = time.process_time()

        def trace(frame: types.FrameType, event: str, argument: object) -> object:
            if frame.f_code.co_filename != name:
                return None
            lines.add(frame.f_lineno)
            return trace

        def note(number: int) -> None:
            nonlocal begin
            for line in lines:
                callers.setdefault(line, set()).add(number)
            lines.clear()
            costs[number], begin = time.process_time() - begin, time.process_time()

        threading.settrace(trace)  # type: ignore[arg-type]
        sys.settrace(trace)  # type: ignore[arg-type]
        failed = self.run(session, list(range(len(session.items))), note)
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        return callers, failed, costs

    def catch(
        self,
        session: pytest.Session,
        mutant: Mutant,
        original: types.CodeType,
        functions: dict[types.CodeType, list[types.FunctionType]],
        callers: dict[int, set[int]],
        costs: dict[int, float],
    ) -> str | None:
        """Return the test that catches a mutant; "" where none does, None where it cannot be planted in a function."""
        new = compile(mutant.source, str(self.path), "exec", dont_inherit=True)
        try:
            pairs = list(replacements(original, new))
        except ValueError:
            return None
        lines = range(mutant.line, mutant.last_line + 1)
        chosen: set[int] = set().union(*(callers.get(line, ()) for line in lines))
        if not chosen:
            return ""

        def run() -> str | None:
            for old, other in pairs:
                for function in functions.get(old, ()):
                    try:
                        function.__code__ = other
                    except ValueError:  # it closes over other names
                        return None
            return self.run(session, sorted(chosen, key=costs.__getitem__))

        caught: str | None = forked(run, self.cpu_seconds * 3 + 5, self.seconds * 3 + 20)
        return caught

    def run(
        self, session: pytest.Session, numbers: list[int], note: Callable[[int], None] = lambda number: None
    ) -> str:
        """Run some of the tests, and record each that has run; return the one that fails, or ""."""
        outcome = Outcome()
        session.config.pluginmanager.register(outcome)
        items = [session.items[number] for number in numbers]
        for number, item, following in zip(numbers, items, [*items[1:], None], strict=True):
            for cache in self.caches:  # filled by another test it would hide that this one needs a function
                cache.cache_clear()
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            note(number)
            if outcome.failed:
                break
        session.config.pluginmanager.unregister(outcome)
        return outcome.failed


def libraries(tests: list[str]) -> list[str]:
    """Return the names of the modules that the tests import and that are not ours."""
    pytest.main([*OPTIONS, "--collect-only", *tests])
    return [name for name in sys.modules if name.partition(".")[0] not in (*HOUSES, "tests", "examples", "conftest")]


def work(module: str, mutants: list[Mutant], tests: list[str], *, quick: bool) -> None:
    """Treat some of the mutants in this folder, a copy of the checkout; print a line of JSON for each."""
    path = Path(module).resolve()
    sys.path[0] = os.getcwd()
    output = os.dup(1)

    def report(mutant: Mutant, caught: str | None) -> None:
        os.write(output, (json.dumps({"mutant": mutant[:3], "caught": caught}) + "\n").encode())

    for name in forked(lambda: libraries(tests), 3600, 3600):
        with contextlib.suppress(Exception):
            __import__(name)

    def in_place() -> tuple[str, list[Mutant], float, float]:
        plugin = InPlace(path, mutants, report, quick=quick)
        pytest.main([*OPTIONS, *tests], plugins=[plugin])
        return plugin.problem, plugin.rest, plugin.cpu_seconds, plugin.seconds

    problem, rest, cpu_seconds, seconds = forked(in_place, 10**6, 10**6)
    if problem:
        sys.exit(problem)
    original = path.read_text(encoding="utf-8")
    for number, mutant in enumerate(rest, start=1):
        path.write_text(mutant.source, encoding="utf-8")
        # Compiled files are told apart by their time, in seconds.
        os.utime(path, (number, number))
        report(mutant, str(forked(lambda: run_tests(tests), cpu_seconds * 3 + 20, seconds * 3 + 60)))
    path.write_text(original, encoding="utf-8")


def tests_of(module: Path) -> list[str]:
    """Return the tests of a module's room, and the other files that import the module and are not slow as a whole."""
    house, *parts = module.with_suffix("").parts
    name = ".".join((house, *parts))
    place = [house, *parts[:-1]] if house == "local_oss" else parts[:-1]
    room = Path("tests", *place) if place else None
    from .conftest import SLOW_FOLDERS, SLOW_MODULE, is_within, need_of

    found = [str(room)] if room is not None and (ROOT / room).is_dir() else []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        if need_of(path) or is_within(path, SLOW_FOLDERS) or (room and path.is_relative_to(ROOT / room)):
            continue
        text = path.read_text(encoding="utf-8")
        if (name in text and SLOW_MODULE not in text) or path.name == f"test_{parts[-1]}.py":
            found.append(str(path.relative_to(ROOT)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("module", type=Path, help="a file of oss_wsgi/ or local_oss/")
    parser.add_argument("tests", nargs="*", help="files or folders; by default those of the same room")
    parser.add_argument("--lines", default="1-1000000", metavar="FIRST-LAST,...", help="plant bugs in these lines only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    parser.add_argument("--quick", action="store_true", help="try a bug inside a function once, in no subprocess")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_intermixed_args()
    lines: set[int] = set()
    for first, _, last in (part.partition("-") for part in arguments.lines.split(",")):
        lines.update(range(int(first), int(last or first) + 1))
    mutants = [mutant for mutant in mutants_of(arguments.module.read_text(encoding="utf-8")) if mutant.line in lines]
    tests = arguments.tests or tests_of(arguments.module)
    if arguments.work:
        part, parts = map(int, arguments.work.split("/"))
        return work(str(arguments.module), mutants[part::parts], tests, quick=arguments.quick)
    jobs = max(1, min(arguments.jobs, len(mutants)))
    print(f"{len(mutants)} mutants of {arguments.module}, against {' '.join(tests)}", flush=True)
    begin = time.monotonic()
    counts: Counter[bool] = Counter()
    with tempfile.TemporaryDirectory(prefix="mutation-", ignore_cleanup_errors=True) as folder:
        processes = []
        for number in range(jobs):
            copy = shutil.copytree(ROOT, Path(folder, str(number)), ignore=JUNK, symlinks=True)
            # By its path, for pytest wants to be the first that imports the package tests.
            command = [sys.executable, str(copy / "tests" / "mutation.py"), str(arguments.module), *tests]
            command += [
                "--lines",
                arguments.lines,
                "--work",
                f"{number}/{jobs}",
                *(["--quick"] if arguments.quick else []),
            ]
            environ = {**os.environ, "PYTHONPATH": str(copy)}
            environ.pop("PYTHONDONTWRITEBYTECODE", None)
            processes.append(subprocess.Popen(command, cwd=copy, env=environ, stdout=subprocess.PIPE, text=True))
        readers = [threading.Thread(target=follow, args=(process, arguments.module, counts)) for process in processes]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        failed = max(process.wait() for process in processes) > 0
    tried = counts[True] + counts[False]
    share = 100 * counts[True] / max(tried, 1)
    print(f"{counts[True]} of {tried} caught ({share:.1f} %) in {time.monotonic() - begin:.0f} s")
    sys.exit(1 if failed or counts[False] else 0)


def follow(process: subprocess.Popen[str], module: Path, counts: Counter[bool]) -> None:
    """Count what a process reports, and print what survives."""
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith('{"mutant"'):
            outcome = json.loads(text)
            counts[bool(outcome["caught"])] += 1
            if not outcome["caught"]:
                line, before, after = outcome["mutant"]
                print(f"{module}:{line}: {before}  ->  {after}", flush=True)


if __name__ == "__main__":
    main()
