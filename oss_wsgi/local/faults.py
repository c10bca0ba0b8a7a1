"""Faults on demand: what OSS, the network or the application does wrong, once or as often as asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .errors import OSSError, invalid_argument

HEADER = "x-oss-local-fault"

ENVIRON_KEY = "HTTP_X_OSS_LOCAL_FAULT"

# For each fault its details with their defaults; the types of the defaults are those of the details.
FAULTS: dict[str, dict[str, Any]] = {
    # 503, before anything is read
    "slow_down": {},
    # the file takes `seconds` longer to arrive
    "slow_upload": {"seconds": 1.0},
    # no answer at all; with `stored` the object is there and the application was told
    "dropped_connection": {"stored": False},
    # 203 CallbackFailed; with `delivered` the application got the request, and only its answer was lost
    "callback_timeout": {"delivered": False},
    "callback_status": {"status": 500, "delivered": False},
    "callback_not_json": {"delivered": False},
    "callback_too_long": {"delivered": False},
    "callback_no_length": {"delivered": False},
    "callback_refused": {},
}


class ConnectionDroppedError(ConnectionResetError):
    """In place of an answer: LocalOSSServer hangs up, and a client in the same process is raised this."""


@dataclass(frozen=True)
class Fault:
    name: str
    details: Mapping[str, Any]


class Faults:
    """The faults to come, in order; each is taken by the first that can suffer it. Threads may share one.

    :param before: further faults, which are taken when there is none here.
    """

    def __init__(self, before: Faults | None = None) -> None:
        self._before = before
        self._pending: list[tuple[Fault, int | None]] = []
        self._lock = threading.Lock()

    def add(self, name: str, *, times: int | None = 1, **details: Any) -> None:
        """:param times: None for until clear(); raises ValueError for a fault or a detail that there is not."""
        if name not in FAULTS:
            raise ValueError(f"there is no fault {name!r}, only {', '.join(FAULTS)}")
        if times is not None and times < 1:
            raise ValueError(f"a fault happens once at least, not {times} times")
        known = FAULTS[name]
        for detail, value in details.items():
            if detail not in known:
                raise ValueError(f"the fault {name} has no detail {detail!r}, only {', '.join(known) or 'none'}")
            if not _is_like(value, known[detail]):
                raise ValueError(f"the {detail} of {name} is like {known[detail]!r}, not {value!r}")
        with self._lock:
            self._pending.append((Fault(name, {**known, **details}), times))

    def take(self, *names: str) -> Fault | None:
        """The next fault among `names`, which has happened then."""
        with self._lock:
            for place, (fault, times) in enumerate(self._pending):
                if fault.name in names:
                    if times == 1:
                        del self._pending[place]
                    elif times is not None:
                        self._pending[place] = fault, times - 1
                    return fault
        return self._before.take(*names) if self._before else None

    def clear(self) -> None:
        with self._lock:
            self._pending.clear()

    def of_request(self, header: str) -> Faults:
        """Those that a header asks for, `NAME; detail=value, ...`, then these."""
        faults = Faults(before=self)
        for item in filter(None, (item.strip() for item in header.split(","))):
            name, *pairs = (part.strip() for part in item.split(";"))
            try:
                faults.add(name, **dict(_read_detail(name, pair) for pair in pairs))
            except ValueError as error:
                raise _unknown(str(error), header) from None
        return faults


def slow_down() -> OSSError:
    return OSSError(503, "SlowDown", "Please reduce your request rate.")


def _is_like(value: Any, default: Any) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    return type(value) in (int, type(default)) and value >= 0


def _read_detail(name: str, pair: str) -> tuple[str, Any]:
    detail, _, value = pair.partition("=")
    default = {"times": 1, **FAULTS.get(name, {})}.get(detail)
    if isinstance(default, bool):
        return detail, {"true": True, "false": False}.get(value, value)
    return detail, float(value) if isinstance(default, float) else int(value)


def _unknown(reason: str, header: str) -> OSSError:
    return invalid_argument(f"The fault is not known: {reason}.", name=HEADER, value=header)


class UploadFaults:
    """Made when an upload has passed its checks, for what is refused uses up no fault; a `with` around its answer."""

    def __init__(self, faults: Faults) -> None:
        self._slow, self._dropped = faults.take("slow_upload"), faults.take("dropped_connection")

    def arriving(self) -> None:
        if self._slow:
            time.sleep(self._slow.details["seconds"])

    def arrived(self) -> None:
        """Called before anything is stored."""
        if self._dropped and not self._dropped.details["stored"]:
            raise ConnectionDroppedError

    def __enter__(self) -> UploadFaults:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._dropped:
            raise ConnectionDroppedError
