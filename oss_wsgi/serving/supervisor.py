"""Several processes that serve on the same listening sockets, and the parent that starts, restarts and ends them.

The parent holds the sockets, and the other things that its command has started, such as a local OSS. Each child is a
process of the same command line, which inherits the sockets and one end of a socket pair: over this pair the parent
says when to accept and when to end, and asks for metrics; the child says that it can serve. A child whose parent is
gone reads the end of the stream, and ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .inheritance import Inheritance
from .joined_metrics import Family, add_up, counts_of
from .listeners import HANDSHAKE_SECONDS, refuse_handshakes
from .sharing import Share
from .until_stopped import CannotStartError

#: The exit status of a process that has said in a sentence why it cannot start.
SAID_WHY = 2

# Seconds from the end of the drain until a child is killed.
_GRACE = 5.0
_HURRIED_GRACE = 1.0

# Signals that a terminal sends to children too; the parent tells them to end.
_OF_THE_TERMINAL = {signal.SIGINT, signal.SIGHUP}

# A child that has served this long is restarted at once: its start cannot be the reason.
_LONG_LIFE = 10.0
# After the first shorter life, a child that has served is restarted without a pause too.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0

# The first processes accept nothing until all have started, or the quickest would keep all early connections; but none
# waits longer than this for the others.
_START_TOGETHER = 10.0

# How long the parent waits for the metrics of all children together.
_METRICS_SECONDS = 1.0

log = logging.getLogger(__name__)


class ChildSaidWhyError(CannotStartError):
    """Raised when no process can start, and the first of them has said why."""

    problems = ()


def pause_before_restart(short_lives: int) -> float:
    """Return the seconds to wait before a restart, after ``short_lives`` processes in a row that ended early."""
    return min(_FIRST_PAUSE * 2.0 ** (short_lives - 1), _LONGEST_PAUSE) if short_lives else 0.0


class Child:
    """The process that has one of the numbers, and the processes that had this number before."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: socket.socket | None = None
        self.serving_since: float | None = None
        self.short_lives = 0
        #: When the next process is to start.
        self.start_at: float | None = None
        #: The counts that this process sent last, and the number of the question that it answered.
        self.samples: list[Family] = []
        self.answered = 0
        self._unread = b""

    @property
    def is_serving(self) -> bool:
        """Whether the process has said that it serves."""
        return self.serving_since is not None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message, which a process that is ending may not receive."""
        channel = self.channel  # another thread may take it away meanwhile
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.send(json.dumps(message).encode() + b"\n")

    def receive(self) -> Iterator[dict[str, Any]]:
        while self.channel is not None:
            try:
                data = self.channel.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.channel.close()
                self.channel = None
            *lines, self._unread = (self._unread + data).split(b"\n")
            yield from map(json.loads, lines)

    def plan_restart(self, now: float) -> float:
        """Plan the next process, because this one has ended; return the pause before it in seconds."""
        # The start does not count: it may take long.
        lived = 0.0 if self.serving_since is None else now - self.serving_since
        self.short_lives = 0 if lived >= _LONG_LIFE else self.short_lives + 1
        is_first = self.short_lives == 1 and lived > 0.0
        pause = 0.0 if is_first else pause_before_restart(self.short_lives)
        self.start_at = now + pause
        return pause

    def close(self) -> None:
        """Forget the process, which has ended."""
        if self.channel is not None:
            self.channel.close()
        self.process = self.channel = None
        self.serving_since = None
        self._unread = b""


class Processes:
    """Runs several processes until `drain`; `run` returns when all have ended.

    :param environ: the environment of the children.
    :param inherited: what each child gets, beside its number and its channel.
    """

    def __init__(self, inherited: Inheritance, environ: Mapping[str, str]) -> None:
        self._inherited = inherited
        self._environ = environ
        self._children = [Child(number + 1) for number in range(inherited.processes)]
        self._listeners = list(inherited.listeners)
        self._share = Share(inherited.processes)
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        # Seconds for requests that have begun, when the listeners close, and when the last child must have ended.
        self._drain: tuple[float, float, float] | None = None
        self._is_told = False
        self._answers = threading.Condition()
        self._asked = 0
        # The counts of processes that have ended.
        self._past: list[Family] = []
        self._restarts = 0
        self._has_served = False
        self._are_tried = False

    def run(self, ready: Callable[[], object]) -> None:
        """Start the processes, call ``ready`` when each serves or has failed, and run until `drain` has ended.

        The first starts alone, so that a common error is printed once. Raises CannotStartError if none can serve.
        """
        before = signal.signal(signal.SIGCHLD, lambda number, frame: None)  # the signal wakes the loop
        wakeup = signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        try:
            self._start_all()
            if self._drain is None:
                ready()
            while self._drain is None or any(child.process for child in self._children):
                self._turn()
        finally:
            self._end_all()
            signal.set_wakeup_fd(wakeup)
            signal.signal(signal.SIGCHLD, before)
            self._selector.close()
            self._wake_reader.close()
            self._wake_writer.close()
            self._share.close()

    def drain(self, seconds: float, delay: float = 0.0) -> None:
        """End all processes in order, as the server's ``drain`` does. A signal's handler may call this."""
        now = time.monotonic()
        close = now + delay
        end = close + seconds + self._handshake_seconds
        if self._drain is not None:
            close, end = min(close, self._drain[1]), min(end, self._drain[2])
        self._drain = seconds, close, end
        self._is_told = False
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"\0")

    def collect(self) -> tuple[list[Family], int, int]:
        """Return the counts of all processes, also of ended ones; how many serve; and how often one was restarted.

        Called from another thread than `run`'s.
        """
        with self._answers:
            self._asked += 1
            asked = self._asked
            serving = [child for child in self._children if child.is_serving]
            for child in serving:
                child.send({"metrics": asked})
            # For a child that does not answer in time, its last answer counts.
            self._answers.wait_for(
                lambda: all(child.answered >= asked or not child.is_serving for child in serving),
                _METRICS_SECONDS,
            )
            families = [*self._past, *(family for child in self._children for family in child.samples)]
            return families, sum(child.is_serving for child in self._children), self._restarts

    @property
    def pids(self) -> list[int]:
        return [child.process.pid for child in self._children if child.process is not None]

    @property
    def _handshake_seconds(self) -> float:
        return HANDSHAKE_SECONDS if self._inherited.owns_listeners else 0.0

    def _start_all(self) -> None:
        first = self._children[0]
        self._start(first)
        status = self._wait_until_tried([first])
        if self._drain is not None:
            return
        if status == SAID_WHY:
            raise ChildSaidWhyError
        for child in self._children[1:]:
            self._start(child)
        self._wait_until_tried(self._children)
        self._are_tried = True
        self._let_accept([child for child in self._children if child.is_serving])
        if self._drain is None and not any(child.is_serving for child in self._children):
            raise CannotStartError("none of the processes could start: the lines above say why.")

    def _let_accept(self, children: Sequence[Child]) -> None:
        for child in children:  # all of them first: each knows of the others when it accepts
            self._share.tell(0, time.monotonic(), child.number)
        for child in children:
            child.send({"accept": True})

    def _wait_until_tried(self, children: Sequence[Child]) -> int | None:
        """Wait until each of some children serves or has ended; return the exit status of the last that ended."""
        status = None
        while self._drain is None and any(child.process and not child.is_serving for child in children):
            status = self._turn(restart=False) or status
        return status

    def _turn(self, *, restart: bool = True) -> int | None:
        """Wait for something to do, and do it; return the exit status of a child that has ended."""
        for key, _ in self._selector.select(self._timeout(restart)):
            if key.fileobj is self._wake_reader:
                with contextlib.suppress(BlockingIOError):
                    while self._wake_reader.recv(4096):
                        pass
            else:
                self._read(key.data)
        status = None
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                status = child.process.returncode
                self._bury(child, child.process)
        now = time.monotonic()
        if self._drain is not None:
            self._continue_drain(now, *self._drain)
        elif restart:
            for child in self._children:
                if child.start_at is not None and child.start_at <= now:
                    self._restarts += 1
                    self._start(child)
        return status

    def _timeout(self, restart: bool) -> float:
        now = time.monotonic()
        times = [now + 1.0]  # a child's end may come without a signal that this thread sees
        if restart:
            times += [child.start_at for child in self._children if child.start_at is not None]
        if self._drain is not None:
            _, close, end = self._drain
            times += [each for each in (close, close + self._handshake_seconds, end) if each > now]
        return max(min(times) - now, 0.0)

    def _start(self, child: Child) -> None:
        child.start_at = None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        lifeline, share = theirs.fileno(), self._share.descriptors
        inherited = replace(self._inherited, metrics_listeners=[], lifeline=lifeline, number=child.number, share=share)
        environ = dict(self._environ)
        inherited.to_environ(environ)
        # Ctrl-C is for the parent: until a child ignores it, it is blocked there.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_TERMINAL)
        try:
            child.process = subprocess.Popen(  # noqa: S603 - the command line of this very process
                [sys.executable, *sys.orig_argv[1:]],
                env=environ,
                pass_fds=[lifeline, *share, *(listener.fileno() for listener in self._inherited.listeners)],
            )
        except OSError as error:  # no memory, too many processes
            ours.close()
            log.error("process %d cannot start: %s", child.number, error.strerror or error)
            child.plan_restart(time.monotonic())
            return
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        child.channel = ours
        self._selector.register(ours, selectors.EVENT_READ, child)

    def _read(self, child: Child) -> None:
        channel = child.channel
        for message in child.receive():
            with self._answers:
                if "samples" in message:
                    child.samples, child.answered = message["samples"], message["asked"]
                else:
                    child.serving_since, self._has_served = time.monotonic(), True
                    if self._are_tried:
                        self._let_accept([child])
                self._answers.notify_all()
        if child.channel is None and channel is not None:
            self._selector.unregister(channel)

    def _bury(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        """Log how a process has ended, and plan the next one."""
        status = process.returncode
        if child.channel is not None:
            self._read(child)
        if child.channel is not None:
            self._selector.unregister(child.channel)
        pause = 0.0 if self._drain is not None else child.plan_restart(time.monotonic())
        self._share.leave(child.number)
        with self._answers:
            child.close()
            self._past = add_up([*self._past, *counts_of(child.samples)])
            child.samples = []
            self._answers.notify_all()
        if self._drain is not None:
            return
        end = f"was ended by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
        if self._has_served:
            end += f"; it starts again {f'in {pause:g} s' if pause else 'now'}"
        elif status == SAID_WHY:
            return
        log.error("process %d (pid %d) %s", child.number, process.pid, end)

    def _continue_drain(self, now: float, seconds: float, close: float, end: float) -> None:
        if not self._is_told:
            self._is_told = True
            delay = max(close - now, 0.0) + self._handshake_seconds
            for child in self._children:
                child.send({"drain": [seconds, delay]})
        if now >= close and self._inherited.owns_listeners:
            for listener in self._listeners:
                refuse_handshakes(listener)
        if now >= close + self._handshake_seconds:
            for listener in self._listeners:
                listener.close()
            self._listeners = []
        if now >= end + (_GRACE if seconds else _HURRIED_GRACE):
            for child in self._children:
                if child.process is not None:
                    child.process.kill()

    def _end_all(self) -> None:
        """Kill what is left, after an exception."""
        for child in self._children:
            if child.process is not None:
                child.process.kill()
                child.process.wait()
            if child.channel is not None:
                child.channel.close()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Parent:
    """A child's end of the channel: it reports to the parent, and obeys when the parent says to end.

    :ivar server: the server to drain then; while it is None, the process gets SIGTERM instead.
    :param seconds: the longest time that the end may take.
    :param samples: returns what this process has counted.
    """

    def __init__(self, channel: socket.socket, seconds: float, samples: Callable[[], list[Family]] | None) -> None:
        self.server: Any = None
        self._channel = channel
        self._seconds = seconds
        self._samples = samples
        self._lock = threading.Lock()
        self._may_accept = threading.Event()
        for number in _OF_THE_TERMINAL:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_TERMINAL)
        threading.Thread(target=self._listen, name="parent", daemon=True).start()

    def serving(self) -> None:
        """Say that this process can serve, and wait until the other processes can, or have failed."""
        self._send({"serving": True})
        self._may_accept.wait(_START_TOGETHER)

    def report(self, asked: int = 0) -> None:
        """Send this process's counts to the parent."""
        if self._samples is not None:
            self._send({"samples": self._samples(), "asked": asked})

    def _listen(self) -> None:
        with self._channel.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                message = json.loads(line)
                if "drain" in message:
                    self._end(*message["drain"])
                elif "accept" in message:
                    self._may_accept.set()
                else:
                    self.report(message["metrics"])
        # The parent has gone: requests that have begun are still answered.
        self._end(self._seconds, 0.0)
        time.sleep(self._seconds + _GRACE)
        os._exit(1)  # the application's own threads, or its import, do not end

    def _end(self, seconds: float, delay: float) -> None:
        self._may_accept.set()
        if self.server is None:
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self.server.drain(seconds, delay)

    def _send(self, message: Mapping[str, Any]) -> None:
        with self._lock, contextlib.suppress(OSError):  # the parent has gone
            self._channel.sendall(json.dumps(message).encode() + b"\n")
