"""Faults on demand: let OSS, the network or the application fail on one of the next requests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oss_wsgi.explanations.text import Text
from oss_wsgi.threads import Locked

from .errors import invalid_argument

HEADER = "x-oss-local-fault"
ENVIRON_KEY = "HTTP_X_OSS_LOCAL_FAULT"

#: The details of each fault with their defaults; a detail has the type of its default. `LocalOSS.fail_next` says what
#: each does.
FAULTS: dict[str, dict[str, Any]] = {
    "slow_down": {},
    "slow_upload": {"seconds": 1.0},
    "dropped_connection": {"stored": False},
    "damaged_object": {},
    "callback_timeout": {"delivered": False},
    "callback_status": {"status": 500, "delivered": False},
    "callback_not_json": {"delivered": False},
    "callback_too_long": {"delivered": False},
    "callback_no_length": {"delivered": False},
    "callback_refused": {},
}


class ConnectionDroppedError(ConnectionResetError):
    """Raised instead of a response: a server hangs up, and a client in the same process gets the exception."""


@dataclass(frozen=True)
class Fault:
    name: str
    details: Mapping[str, Any]


class Faults(Locked):
    """The pending faults, in order; each strikes the first operation that it can. Safe to share between threads.

    :param fallback: the faults to use for names that have no fault here.
    """

    def __init__(self, fallback: Faults | None = None) -> None:
        self._fallback = fallback
        self._pending: list[tuple[Fault, int | None]] = []
        super().__init__()

    def add(self, name: str, *, times: int | None = 1, **details: Any) -> None:
        """Add a fault.

        :param times: how often it strikes; None until clear().
        :raises ValueError: there is no such fault, or it has no such detail.
        """
        if name not in FAULTS:
            raise ValueError(Text("there is no fault {1}: use one of {2}", repr(name), ", ".join(FAULTS)))
        if times is not None and times < 1:
            raise ValueError(Text("a fault strikes at least once, not {1} times", times))
        defaults = FAULTS[name]
        for detail, value in details.items():
            if detail not in defaults:
                raise ValueError(f"the fault {name} has no detail {detail!r}, only {', '.join(defaults) or 'none'}")
            if not _fits(value, defaults[detail]):
                raise ValueError(
                    Text("the {1} of {2} must be like {3}, not {4}", detail, name, repr(defaults[detail]), repr(value))
                )
        with self._lock:
            self._pending.append((Fault(name, {**defaults, **details}), times))

    def pop(self, *names: str) -> Fault | None:
        """Return the next pending fault with one of these names, and count it as used."""
        with self._lock:
            for index, (fault, times) in enumerate(self._pending):
                if fault.name in names:
                    if times == 1:
                        del self._pending[index]
                    elif times is not None:
                        self._pending[index] = fault, times - 1
                    return fault
        return self._fallback.pop(*names) if self._fallback else None

    def clear(self) -> None:
        with self._lock:
            self._pending.clear()

    def pending(self) -> list[tuple[Fault, int | None]]:
        with self._lock:
            return list(self._pending)

    def add_text(self, text: str) -> None:
        """Add a fault that is written as `NAME; detail=value; times=2`; raise ValueError as `add` does."""
        name, *pairs = (part.strip() for part in text.split(";"))
        self.add(name, **dict(_parse_detail(name, pair) for pair in pairs))

    def with_header(self, header: str) -> Faults:
        """Return the faults that a header lists, with these as fallback; raise OSSError for an invalid list."""
        faults = Faults(fallback=self)
        try:
            for text in filter(None, map(str.strip, header.split(","))):
                faults.add_text(text)
        except ValueError as error:
            raise invalid_argument(f"Invalid {HEADER} header: {error}.", name=HEADER, value=header) from None
        return faults


class UploadFaults:
    """The faults of one upload, and a context manager around its response.

    Create it after the upload's checks and before its body is read, so that a refused upload uses up no fault.
    """

    def __init__(self, faults: Faults) -> None:
        slow, self._dropped = faults.pop("slow_upload"), faults.pop("dropped_connection")
        if slow:
            time.sleep(slow.details["seconds"])

    def arrived(self) -> None:
        """Raise ConnectionDroppedError if nothing may be stored. Call this after the body was read."""
        if self._dropped and not self._dropped.details["stored"]:
            raise ConnectionDroppedError

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        if self._dropped:
            raise ConnectionDroppedError


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, bool):
        return isinstance(value, bool)
    return type(value) in (int, type(default)) and value >= 0


def _parse_detail(name: str, pair: str) -> tuple[str, Any]:
    detail, _, value = pair.partition("=")
    default = {"times": 1, **FAULTS.get(name, {})}.get(detail, "")
    if isinstance(default, bool):
        return detail, {"true": True, "false": False}.get(value, value)
    try:
        return detail, type(default)(value)
    except ValueError:
        raise ValueError(
            Text("the {1} of {2} must be like {3}, not {4}", detail, name, repr(default), repr(value))
        ) from None
