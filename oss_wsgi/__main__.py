"""The start of the `oss-wsgi` command, which is also `python -m oss_wsgi`."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run one command and return its exit status.

    Loading the command takes a quarter of a second. Ctrl-C ends the process during that time too, without a traceback.
    """
    interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interrupts:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli.main import main as run

    try:
        if interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:  # before the command has begun
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
