"""The check of `doctor` that looks at the way back from the callback: what OSS asks of an answer."""

from __future__ import annotations

from collections.abc import Iterator

from ..http_client import Answer, UnreachableError
from ..json_text import is_json
from .answerer import UNCOMPRESSED, compression, is_ours, unreachable
from .called import calls
from .context import Examination, Finding, green, red, yellow

OSS_TIMEOUT = 5.0
SLOW = 2.5
_MAX_ANSWER = 1024 * 1024
_LENGTH_CURE = (
    "Let the server in front neither compress nor chunk answers to the callback. Apache from 2.4.59 on drops the "
    "length of CGI-style answers (CGI, mod_fcgid, mod_proxy_fcgi): add `SetEnvIf Request_URI . ap_trust_cgilike_cl=1`."
)
_PAGE_CURE = "See what puts a page of its own in the answer's place."
_SLOW_CURE = "See what the server in front waits for, and if its workers are busy."


def answer(case: Examination) -> Iterator[Finding]:
    """The way there and back: 200, JSON, Content-Length, in time; the handler's own answer is no part of it."""
    answered = False
    for call in calls(case):
        if isinstance(call.answer, UnreachableError):
            yield unreachable(call.answer)
        else:
            answered = True
            status = 200 if call.proved else 403
            if call.answer.status == status and is_json(call.answer.body) and not is_ours(call, call.answer):
                said = f"{call.url}: not judged: it is something else than the application that answers {status}"
                yield red(said, "See the check `callback`.")
            else:
                yield from judged_answer(call.url, call.answer, status)
    if answered and not case.writes:
        yield yellow(
            "what was measured is the way there and back, not your own handler",
            "Your own handler (on_upload, or the view behind forward_callback) is measured by --write.",
        )


def judged_answer(url: str, found: Answer, status: int = 200) -> Iterator[Finding]:
    """Say what OSS would find wrong with an answer (P§8.9); unproved, 403 is the status to be."""
    good = True
    coding = compression(found)
    length = found.headers.get("Content-Length") or ""
    for bad, said, cure in (
        (found.status != status, f"status {found.status}, and not {status}", "See the check `callback`."),
        (not found.complete, f"the answer breaks off after {len(found.body)} bytes", "See what cuts it on its way."),
        (coding, f"the answer is compressed ({coding})", UNCOMPRESSED),
        (not coding and not is_json(found.body), "the body is no JSON", _PAGE_CURE),
        (not length.isdigit(), "the answer has no Content-Length", _LENGTH_CURE),
        (len(found.body) >= _MAX_ANSWER, "the answer is over 1 MB", "Answer less."),
        (found.seconds > OSS_TIMEOUT, f"it took {found.seconds:.1f} s, and OSS waits 5 s", _SLOW_CURE),
    ):
        if bad:
            good = False
            yield red(f"{url}: {said}", cure)
    if good and found.seconds > SLOW:
        yield yellow(f"{url}: the way took {found.seconds:.1f} s of the 5 s that OSS waits", _SLOW_CURE)
    elif good:
        yield green(f"{url}: there and back in {found.seconds:.2f} s: {status}, JSON with a length")
