"""Runs targets over many inputs: `python -m tests.fuzz [TARGET...] [--seconds N | --inputs N]`."""

from __future__ import annotations

import argparse
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
        arguments += [f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{name}-", found, str(CORPUS / name)]
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

    @settings(max_examples=inputs or 10_000_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=MAX_INPUT), pieces.map(b"".join)))
    def check(data: bytes) -> None:
        if inputs is not None or time.monotonic() < end:
            TARGETS[name](data)

    check()
    return 0


if __name__ == "__main__":
    sys.exit(main())
