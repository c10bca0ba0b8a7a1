"""The faults of `fail_next` as buttons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Response
from ..faults import FAULTS, Fault, Faults
from .markup import Page

WORDS = {
    "slow_down": "503 SlowDown, before anything is read: any next request",
    "slow_upload": "The file takes longer to arrive",
    "dropped_connection": "The connection ends without an answer",
    "damaged_object": "The object joined from parts has another CRC-64 than its parts",
    "callback_timeout": "The application does not answer in time: 203",
    "callback_status": "The application answers another status: 203",
    "callback_not_json": "The application answers no JSON: 203",
    "callback_too_long": "The application’s answer is longer than 1 MiB: 203",
    "callback_no_length": "The application’s answer has no Content-Length: 203",
    "callback_refused": "Nothing listens at the callback URL: 203",
}
_DETAILS = {
    "seconds": "Seconds",
    "status": "Status",
    "delivered": "The application gets the callback; its answer is lost",
    "stored": "After the object was stored",
}


def faults_page(page: Page, faults: Faults) -> Response:
    """Return the page."""
    pending = [(fault.name, _details(fault), _often(times)) for fault, times in faults.pending()]
    return page.response("faults.html", faults=FAULTS, pending=pending, words=WORDS, detail_words=_DETAILS)


def add_fault(faults: Faults, form: Mapping[str, str]) -> None:
    """Add the fault of a form, or clear all if it names none.

    :raises ValueError: there is no such fault, or a detail has another type.
    """
    name = form.get("name", "")
    if not name:
        faults.clear()
        return
    details: dict[str, Any] = {}
    for detail, default in FAULTS.get(name, {}).items():
        if isinstance(default, bool):
            details[detail] = detail in form
        elif form.get(detail):
            details[detail] = _number(name, detail, default, form[detail])
    faults.add(name, times=_number(name, "times", 1, form.get("times") or "1"), **details)


def _number(name: str, detail: str, default: Any, text: str) -> Any:
    """Return a number of the form, of the type of a default."""
    try:
        return type(default)(text)
    except (ValueError, OverflowError):
        raise ValueError(f"the {detail} of {name} must be like {default!r}, not {text!r}") from None


def _details(fault: Fault) -> str:
    return ", ".join(f"{name} {value}" for name, value in fault.details.items() if value is not False)


def _often(times: int | None) -> str:
    return "until cleared" if times is None else f"{times} times" if times > 1 else "once"
