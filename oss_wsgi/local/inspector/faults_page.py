"""The faults of `fail_next` as buttons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Response
from ..faults import FAULTS, Fault, Faults
from .markup import Page, text

WORDS = {
    "slow_down": "503 SlowDown, before anything is read: any next request",
    "slow_upload": "The file takes longer to arrive",
    "dropped_connection": "The connection ends without an answer",
    "damaged_object": "The object made of parts has another CRC-64 than they have",
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
    pending = faults.pending()
    waiting = "".join(f"<li>{_pending(fault, times)}</li>" for fault, times in pending)
    if pending:
        waiting = (
            f'<ul class="waiting">{waiting}</ul>{page.button("/faults", "Clear all", [("name", "")], kind="small")}'
        )
    else:
        waiting = '<p class="quiet">None is waiting: requests work.</p>'
    rows = "".join(_row(page, name, defaults) for name, defaults in FAULTS.items())
    content = f"""<div class="head"><h1>Faults</h1></div>
<section class="card"><h2>Waiting for a request</h2>{waiting}</section>
<div class="faults">{rows}</div>"""
    return page.response("Faults · Local OSS", "faults", content)


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
            details[detail] = type(default)(form[detail])
    faults.add(name, times=int(form.get("times") or 1), **details)


def _row(page: Page, name: str, defaults: Mapping[str, Any]) -> str:
    inputs = "".join(_input(detail, default) for detail, default in defaults.items())
    return f"""<form class="card fault" method="post" action="{page.link("/faults")}">{page.token_field}
<input type="hidden" name="name" value="{name}"><h2><code>{name}</code></h2><p>{text(WORDS[name])}</p>
{inputs}<div class="submit"><label class="number">Times
<input name="times" type="number" min="1" max="1000" value="1"></label>
<button class="button" aria-label="Fail next: {name}">Fail next</button></div></form>"""


def _input(detail: str, default: Any) -> str:
    words = text(_DETAILS[detail])
    if isinstance(default, bool):
        return f'<label class="choice"><input type="checkbox" name="{detail}"> {words}</label>'
    step = ' step="any"' if isinstance(default, float) else ""
    attributes = f'name="{detail}" type="number" min="0" max="999" value="{default:g}"{step}'
    return f'<label class="number">{words} <input {attributes}></label>'


def _pending(fault: Fault, times: int | None) -> str:
    details = ", ".join(f"{name} {value}" for name, value in fault.details.items() if value is not False)
    often = "until cleared" if times is None else f"{times} times" if times > 1 else "once"
    return f"<code>{fault.name}</code> {text(details)} <span class=quiet>{often}</span>"
