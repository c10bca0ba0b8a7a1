"""`serve --reload`: hupper restarts the process that imports the application when one of its Python files changes.

The parent holds the listening sockets and the local OSS. The child is this command again: it finds in the environment
what it inherits.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, MutableMapping
from typing import NoReturn

from ..serving.inheritance import Inheritance
from ..serving.until_stopped import CannotStartError
from .terminal import note

#: Seconds for what has begun when the code changes, and from then until the child is killed.
DRAIN = 1.0
_GRACE = 2.0
_INTERVAL = 0.5  # seconds between two looks at the files


def reload_forever(inherited: Inheritance, environ: MutableMapping[str, str]) -> NoReturn:
    """Start the child again and again, until a signal ends this process. No child is left then.

    :param environ: of this process; the child gets it.
    """
    try:
        from hupper import start_reloader
        from hupper.polling import PollingFileMonitor, get_mtime
    except ImportError:
        raise CannotStartError("--reload needs hupper: pip install 'oss-wsgi[reload]'.") from None

    started = time.time()

    class Monitor(PollingFileMonitor):  # type: ignore[misc]
        """A monitor that notices each change since this process started; hupper's own misses the first seconds."""

        def add_path(self, path: str) -> None:
            self.mtimes.setdefault(path, min(get_mtime(path), started))
            super().add_path(path)

    for listener in (*inherited.listeners, *inherited.metrics_listeners):
        listener.set_inheritable(True)
    inherited.to_environ(environ)
    start_reloader(
        "oss_wsgi.cli.main.main",
        reload_interval=_INTERVAL,
        shutdown_interval=DRAIN + _GRACE,
        logger=_Logger(),
        monitor_factory=Monitor,
    )
    raise SystemExit(0)


class _Logger:
    """Says on standard error what hupper does, unless its terminal is closed."""

    def info(self, text: str) -> None:
        _end_with_the_terminal()
        with contextlib.suppress(OSError):
            note(text)

    error = info

    def debug(self, text: str) -> None:
        """Say nothing."""


def _end_with_the_terminal() -> None:
    """Let SIGHUP, at which hupper reloads, do what SIGTERM does.

    hupper has no option for that, and sets its handlers before the main thread logs for the first time.
    """
    if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.getsignal(signal.SIGTERM))


def watch_what_failed(error: Exception, application: str) -> None:
    """Restart this process also when the file changes that kept the application from loading."""
    from hupper import get_reloader

    get_reloader().watch_files(list(_files_of(error.__cause__ or error, application)))


def _files_of(cause: BaseException, application: str) -> Iterator[str]:
    missing = application.partition(":")[0]
    if isinstance(cause, SyntaxError) and cause.filename:
        yield cause.filename
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        missing = cause.name
    yield f"{missing.replace('.', os.sep)}.py"
    for frame in traceback.extract_tb(cause.__traceback__):
        if os.path.isfile(frame.filename):
            yield frame.filename
