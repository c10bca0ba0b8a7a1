"""Runs targets over many inputs: `python -m tests.fuzz [TARGET...] [--seconds N | --inputs N]`."""

from __future__ import annotations

import argparse
import hashlib
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import __doc__ as description

CORPUS = Path(__file__).with_name("corpus")
#: The most bytes of an input.
MAX_INPUT = 4096
#: The inputs that hypothesis makes, which take about a second, before the time is looked at again.
BATCH = 1000


def main() -> int:
    """Run each target in a process of its own; return 1 if one of them has failed."""
    names = sorted(path.name for path in CORPUS.iterdir())  # atheris must import the targets itself
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=description)
    options.add_argument("target", nargs="*", choices=[[], *names], help="default: all")
    options.add_argument("--seconds", type=int, default=60, help="for each target; default: %(default)s")
    options.add_argument("--inputs", type=int, help="for each target, in place of seconds")
    options.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.here:
        return run(arguments.target[0], arguments.seconds, arguments.inputs)
    failed = []
    for name in arguments.target or names:
        limit = ["--seconds", str(arguments.seconds)]
        if arguments.inputs is not None:
            limit = ["--inputs", str(arguments.inputs)]
        started = time.monotonic()
        status = subprocess.run([sys.executable, "-m", "tests.fuzz", "--here", name, *limit], check=False).returncode
        print(f"{name}: {'failed' if status else 'passed'} after {time.monotonic() - started:.0f} s", flush=True)
        failed += [name] if status else []
    return 1 if failed else 0


def run(name: str, seconds: int, inputs: int | None) -> int:
    """Run one target in this process."""
    logging.disable(logging.CRITICAL)
    try:
        import atheris
    except ImportError:
        return _run_with_hypothesis(name, seconds, inputs)
    with atheris.instrument_imports(include=["oss_wsgi", "local_oss"]):
        from .targets import TARGETS
    with tempfile.TemporaryDirectory() as found:
        limit = f"-runs={inputs}" if inputs is not None else f"-max_total_time={seconds}"
        # What is found goes into the first folder.
        arguments = [sys.argv[0], limit, f"-max_len={MAX_INPUT}", "-print_final_stats=1", "-verbosity=0"]
        arguments += [f"-artifact_prefix={_failed_prefix(name)}", found, str(CORPUS / name)]
        atheris.Setup(arguments, TARGETS[name])
        atheris.Fuzz()  # ends the process
    return 0


def _run_with_hypothesis(name: str, seconds: int, inputs: int | None) -> int:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from .targets import TARGETS

    end = time.monotonic() + seconds
    known = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    pieces = st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(known)), max_size=4)
    last = b""

    # Hypothesis makes the same examples each time where the variable CI is set, unless derandomize is false.
    @settings(
        max_examples=min(inputs or BATCH, BATCH),
        derandomize=False,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(st.binary(max_size=MAX_INPUT), pieces.map(b"".join)))
    def check(data: bytes) -> None:
        nonlocal last
        last = data
        TARGETS[name](data)

    done = 0

    def is_over() -> bool:
        return time.monotonic() >= end if inputs is None else done >= inputs

    try:
        while not is_over():
            check()
            done += BATCH
    except Exception:
        # The last input is the smallest that fails: hypothesis ends with it.
        path = Path(f"{_failed_prefix(name)}crash-{hashlib.sha1(last).hexdigest()}")
        path.write_bytes(last)
        print(f"the input is in {path}", flush=True)
        raise
    return 0


def _failed_prefix(name: str) -> str:
    """Return how the path of a file with a failing input begins."""
    return f"{tempfile.gettempdir()}/fuzz-{name}-"


if __name__ == "__main__":
    sys.exit(main())
