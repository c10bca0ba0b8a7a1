"""The check of `doctor` that all machines behind the public URL have the same ticket secret and the same ledger."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from ...callback.url import without_password
from ...explanations.text import Text, sentences
from ...middleware.probe import WINDOW, secret_fingerprint
from ..http_client import Response
from ..terminal import plain
from .context import TIMEOUT, CheckContext, Finding, error, ok, warning
from .probe import FIX_CHECK_CALLBACK, call_callback, is_refusal, probe_report

#: How many calls look for machines, and the seconds after which no further call begins.
CALLS = 16
_SECONDS = 20.0

_LINES = (
    "Set one value everywhere and restart: `openssl rand -hex 32` makes it, "
    "`export OSS_TICKET_SECRET=THE-VALUE` sets it. To rotate it, set OLD,NEW everywhere, then NEW,OLD. "
    "Machines with OSS_TICKET_SECRET_FILE read a changed file within 10 s."
)
_FIX_LEDGER = (
    "Set OSS_LEDGER to one database for all: `export OSS_LEDGER=postgresql://USER:PASSWORD@HOST/DATABASE`. A file, a "
    "server on localhost and memory belong to one machine, memory even to one process."
)

#: The fingerprints of one machine's secrets: the one that seals, and all that open.
_Secrets = tuple[str, ...]


def check_machines(context: CheckContext) -> Iterator[Finding]:
    """Probe each callback URL several times, and compare the fingerprints of the secrets and ledgers that answer."""
    calls = context.probe_calls
    if context.secret is None:
        yield warning(
            "not checked: whether all machines have the same ticket secret is unknown, because OSS_TICKET_SECRET is "
            "not set",
            "Set the application's own for this command too: `export OSS_TICKET_SECRET=THE-VALUE`.",
        )
        return
    for call in calls:
        responses = [call.response]
        start = time.monotonic()
        while len(responses) < CALLS and time.monotonic() - start < _SECONDS:
            if not isinstance(responses[-1], Response):
                break
            responses.append(call_callback(call.url, context.secret, TIMEOUT).response)
        url = without_password(call.url)
        answered = [each for each in responses if isinstance(each, Response)]
        yield _compare(url, answered, context.secret)
        yield from _compare_ledgers(url, answered)


def _compare(url: str, responses: list[Response], secret: str) -> Finding:
    """Return what the responses of several calls say together."""
    machines: Counter[_Secrets] = Counter()
    refusals = 0
    for response in responses:
        secrets = (probe_report(response) or {}).get("ticket_secrets")
        if isinstance(secrets, list) and secrets:
            machines[tuple(plain(str(each)) for each in secrets)] += 1
        else:
            refusals += is_refusal(response)
    answered = machines.total()
    if not answered:
        return warning("not checked: no machine answers the probe", FIX_CHECK_CALLBACK)
    if refusals:
        return error(
            Text(
                "{1} of {2} calls of {3} reached a machine that does not have the ticket secret set here, {4}",
                refusals,
                answered + refusals,
                url,
                secret_fingerprint(secret),
            ),
            sentences(
                _LINES, Text("If it is the same, compare the machines' clocks: they may differ by {1} s.", WINDOW)
            ),
        )
    for one in machines:
        for other in machines:
            if one[0] not in other:
                return error(
                    Text(
                        "machines behind {1} have different ticket secrets: one seals with {2}, another opens only {3}",
                        url,
                        one[0],
                        ", ".join(other),
                    ),
                    _LINES,
                )
    sealing = ", ".join(sorted({secrets[0] for secrets in machines}))
    return ok(
        Text("{1} calls of {2} reached machines with the same ticket secret, fingerprint {3}", answered, url, sealing)
    )


def _compare_ledgers(url: str, responses: list[Response]) -> Iterator[Finding]:
    """Yield whether the machines that answered share their ledger; nothing where no ledger says where it is."""
    ledgers: dict[str, bool] = {}
    for response in responses:
        ledger = (probe_report(response) or {}).get("ledger")
        if isinstance(ledger, dict):
            ledgers[plain(str(ledger.get("fingerprint")))] = bool(ledger.get("is_of_one_machine"))
    fingerprints = ", ".join(sorted(ledgers))
    if len(ledgers) > 1:
        yield error(
            Text(
                "machines or processes behind {1} have different ledgers, {2}: an upload that one has "
                "handled can be handled again by another",
                url,
                fingerprints,
            ),
            _FIX_LEDGER,
        )
    elif ledgers:
        message = Text("calls of {1} reached one ledger, fingerprint {2}", url, fingerprints)
        yield ok(Text("{1}, which belongs to one machine only", message) if any(ledgers.values()) else message)
