"""One story from top to bottom: what came, what was checked, what was stored, who was called, what was answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from ..callbacks.message import CallbackCall, CallbackRequest
from ..callbacks.parameters import parse_callback
from ..errors import ErrorText, OSSError
from .markup import Page, block, duration_text, field_value, moment, named, object_path, size_text, table, text
from .masks import HIDDEN, Masks
from .mistakes import difference
from .outcome import outcome, reason
from .policy_view import ConditionView, decoded_policy, policy_lines
from .send_again import CHANGES
from .story import Story

MARKS = {True: ("good", "✓", "holds"), False: ("bad", "✗", "does not hold"), None: ("quiet", "–", "not compared")}


def story_content(page: Page, story: Story, masks: Masks, *, strict: bool, related: str = "") -> str:
    """Return the story as HTML, without the list beside it.

    :param related: links to other stories of the same upload, as HTML.
    """
    level, short = outcome(story)
    why, cure = reason(story)
    callout = ""
    if why:
        cure_line = f'<p class="cure">{_with_code(text(masks(cure)))}</p>' if cure else ""
        callout = f'<div class="callout" data-level="{level}"><p>{text(masks(why))}</p>{cure_line}</div>'
    name = masks(story.key or story.bucket or story.target.partition("?")[0])
    link = page.link(f"/requests/{story.id}")
    curl = "" if story.origin else f'<a class="button small" data-copy href="{link}/curl">Copy as curl</a>'
    place = f" in {text(story.bucket)}" if story.bucket else ""
    pill = text(short if story.is_under_way else f"{story.status or '—'} {short}")
    steps = "".join(_steps(page, story, masks, strict=strict))
    stage = f' data-stage="{len(story.calls)}{"-asked" if story.asked else ""}"' if story.is_under_way else ""
    took = "" if story.is_under_way else f" · {duration_text(story.seconds)}"
    return f"""<article class="story"{stage}>
<div class="head"><h1>{named(name)}</h1></div>
<p class="line"><span class="pill" data-level="{level}">{pill}</span>
<span class="quiet">{text(story.operation)}{place} · {moment(story.started)}{took}</span></p>
{callout}
<p class="actions"><a class="button small" data-link href="{link}">Permanent link</a>{curl}</p>
{related}
<div class="steps">{steps}</div>
</article>"""


def _steps(page: Page, story: Story, masks: Masks, *, strict: bool) -> Iterator[str]:
    if story.origin:
        for call in story.calls:
            yield _call_step(call, masks)
        if story.asked:
            yield _asked_step(story.asked, masks)
        elif story.calls:
            yield _again_step(page, story)
        return
    yield _request_step(story, masks)
    if story.fields is not None:
        yield _fields_step(story, masks)
    signature = _signature_step(story, masks)
    if signature:
        yield signature
    if story.fields is not None and story.fields.get("policy"):
        yield _policy_step(story, masks, strict=strict)
    if story.stored:
        yield _stored_step(page, story, masks)
    for call in story.calls:
        yield _call_step(call, masks)
    if story.asked:
        yield _asked_step(story.asked, masks)
    if story.is_under_way:
        return
    yield _answer_step(story, masks)
    if story.calls:
        yield _again_step(page, story)


def _step(title: str, fact: str, body: str, *, level: str = "quiet", is_open: bool = False) -> str:
    return (
        f'<details class="step" data-level="{level}"{" open" if is_open else ""}><summary><h2>{text(title)}</h2> '
        f'<span class="fact">{fact}</span></summary><div class="body">{body}</div></details>'
    )


def _request_step(story: Story, masks: Masks) -> str:
    line = f"{story.method} {masks.target(story.target)}"
    headers = table(((name, _code(masks.header(name, value))) for name, value in sorted(story.headers)), "Headers")
    query = table(((name, _code(masks.header(name, value))) for name, value in story.query), "Query")
    parts = f"<h3>Query</h3>{query}" if story.query else ""
    client = f'<p class="quiet">From {text(story.client)}</p>' if story.client else ""
    body = f"{block(line)}{client}{parts}<h3>Headers</h3>{headers}"
    return _step("Request", text(line if len(line) < 60 else line[:57] + "…"), body)


def _fields_step(story: Story, masks: Masks) -> str:
    fields = story.fields or {}
    rows = [(name, _code(masks.header(name, value))) for name, value in fields.items()]
    rows += [(left_out, _quiet("too long to keep")) for left_out in story.left_out]
    file = f"{masks(story.file_name) or '(no name)'}, {story.file_type or 'no type'}"
    body = table([*rows, ("file", text(file))], "Fields as sent, in their order")
    try:
        callback = parse_callback(fields.get("callback", ""))
    except OSSError:
        callback = None
    if callback:
        urls = ", ".join(f"{url.scheme}://{url.netloc}{url.target}" for url in callback.urls)
        members = [("callbackUrl", _code(masks(urls))), ("callbackBody", _code(masks(callback.body)))]
        members.append(("callbackBodyType", _code(callback.body_type)))
        body += f"<h3>callback, decoded</h3>{table(members, 'Callback')}"
    return _step("Form", f"{len(fields) + len(story.left_out)} fields, and the file", body)


def _signature_step(story: Story, masks: Masks) -> str:
    fields = story.fields
    error = story.error
    if error and error.code == "SignatureDoesNotMatch":
        return _mismatch_step(story, error, masks)
    if fields is not None and fields.get("policy"):
        signature = fields.get("x-oss-signature") or fields.get("signature", "")
        is_v4 = "x-oss-signature-version" in fields
        version = "V4" if is_v4 else "V1"
        failed = bool(error and error.ec.startswith("0002-")) or bool(error and error.code == "InvalidAccessKeyId")
        rows = [
            ("Signed by", _code(fields.get("x-oss-credential") or fields.get("ossaccesskeyid", ""))),
            ("String to sign", _code(masks(fields["policy"]))),
            ("Signature", _code(signature)),
        ]
        fact = f"{version}, {'refused' if failed else 'right'}"
        return _step("Signature", fact, table(rows, "Signature"), level="bad" if failed else "good", is_open=failed)
    return ""


def _mismatch_step(story: Story, error: ErrorText, masks: Masks) -> str:
    provided = error.members.get("SignatureProvided", "")
    rows = [
        ("String to sign", _code(masks(error.members.get("StringToSign", "")))),
        *(
            [("Canonical request", _code(masks(error.members["CanonicalRequest"])))]
            if "CanonicalRequest" in error.members
            else []
        ),
        ("Received", _different(provided, story.computed)),
        ("Computed", _different(story.computed, provided)),
        ("Differs", text(_where(provided, story.computed))),
    ]
    mistake = story.mistake or "No known mistake makes the signature received: compare the string to sign with yours."
    body = f'<p class="mistake">{text(mistake)}</p>{table(rows, "Signature")}'
    return _step("Signature", "does not match", body, level="bad", is_open=True)


def _where(provided: str, computed: str) -> str:
    index = difference(provided, computed)
    lengths = "" if len(provided) == len(computed) else f"; {len(provided)} characters, not {len(computed)}"
    return f"from character {index + 1}{lengths}"


def _different(shown: str, other: str) -> str:
    index = difference(shown, other)
    return f"<code>{text(shown[:index])}<mark>{text(shown[index:])}</mark></code>"


def _policy_step(story: Story, masks: Masks, *, strict: bool) -> str:
    source = (story.fields or {}).get("policy", "")
    decoded = decoded_policy(source)
    lines = policy_lines(story, strict=strict)
    wrong = [line for line in lines if line.holds is False]
    refused = bool(story.error and story.error.code == "InvalidPolicyDocument")
    failed = bool(wrong) or refused
    if refused and story.error:
        fact = story.error.message
    elif wrong:
        fact = f"{len(wrong)} of {len(lines)} conditions {'does' if len(wrong) == 1 else 'do'} not hold"
    else:
        fact = f"{len(lines)} conditions hold" if lines else "not read"
    rows = "".join(_condition(line, masks) for line in lines)
    plain = masks(decoded) if decoded is not None else f"(not Base64) {masks(source)}"
    body = f'<ul class="conditions">{rows}</ul><h3>Decoded</h3>{block(plain)}'
    return _step("Policy", text(fact), body, level="bad" if failed else "good", is_open=failed)


def _condition(line: ConditionView, masks: Masks) -> str:
    level, mark, words = MARKS[line.holds]
    # The text is JSON, and the value of a token's condition must be hidden by the name beside it.
    is_token = "security-token" in line.text
    compared = HIDDEN if is_token and line.holds is not None else masks(line.compared)
    return (
        f'<li data-level="{level}"><span class="mark" role="img" aria-label="{words}">{mark}</span>'
        f"<code>{text(masks(line.text))}</code><span class=compared>{text(compared)}</span></li>"
    )


def _stored_step(page: Page, story: Story, masks: Masks) -> str:
    stored = story.stored
    if stored is None:
        return ""
    look = page.link("/object", bucket=story.bucket, key=stored.key)
    path = object_path(story.bucket, stored.key)
    rows = [("Object", named(masks(stored.key)))]
    if masks(stored.key) == stored.key:  # a link has the whole name
        rows = [
            ("Object", f'<a href="{look}">{named(stored.key)}</a>'),
            ("URL", f'<a href="{text(page.base + path)}">{text(path)}</a>'),
        ]
    rows += [
        ("Type", text(stored.content_type)),
        ("Size", f"{size_text(stored.size)}{f' ({stored.size} bytes)' if stored.size > 1023 else ''}"),
        ("ETag", _code(stored.etag)),
        ("CRC-64", _code(str(stored.crc64))),
        *((name, _code(masks(value))) for name, value in stored.headers.items()),
    ]
    return _step(
        "Stored",
        f"{size_text(stored.size)}, {text(stored.content_type)}",
        table(rows, "Stored"),
        level="good",
        is_open=True,
    )


def _call_step(call: CallbackCall, masks: Masks) -> str:
    request, reply = call.request, call.reply
    url = f"{request.url.scheme}://{request.url.netloc}"
    came = f"{reply.status}" if reply else "no reply"
    body = f"{_sent(request, masks)}<h3>Came back after {duration_text(call.seconds)}</h3>"
    if reply:
        content = masks(_pretty(reply.body)) or "(no body)"
        body += f"<pre>{reply.status}</pre>{_header_lines(reply.headers.items(), masks)}{block(content)}"
    if call.fault:
        body += f"<p>The fault {text(call.fault)} struck it: the application’s reply, if any, did not count.</p>"
    if call.failure:
        body += f'<p class="mistake">{text(masks(call.failure.message))} {_quiet("EC " + call.failure.ec)}</p>'
    fact = f"{came} in {duration_text(call.seconds)}, {text(masks(url + request.url.path))}"
    return _step("Callback", fact, body, level="bad" if call.failure else "good", is_open=True)


def _asked_step(request: CallbackRequest, masks: Masks) -> str:
    url = f"{request.url.scheme}://{request.url.netloc}{request.url.path}"
    return _step("Callback", f"no answer yet, {text(masks(url))}", _sent(request, masks), level="busy", is_open=True)


def _sent(request: CallbackRequest, masks: Masks) -> str:
    sent = request.body.decode(errors="replace") or "(too long to keep)"
    title = f"<h3>Sent to {text(masks(f'{request.url.scheme}://{request.url.netloc}'))}</h3>"
    line = f"<pre>POST {text(masks.target(request.url.target))} HTTP/1.1</pre>"
    return f"{title}{line}{_header_lines(request.headers, masks)}{block(masks(sent))}"


def _header_lines(headers: Iterable[tuple[str, str]], masks: Masks) -> str:
    lines = [f"{name}: {masks.header(name, value)}" for name, value in headers]
    count = f"{len(lines)} header{'' if len(lines) == 1 else 's'}"
    content = "\n".join(lines)
    return f'<details class="headers"><summary>{count}</summary>{block(content)}</details>'


def _answer_step(story: Story, masks: Masks) -> str:
    if story.dropped:
        return _step("Answer", "none: the connection was dropped", "", level="bad")
    headers = _header_lines(story.answer_headers, masks)
    is_text = not story.answer or b"\0" not in story.answer[:1024]
    content = _pretty(story.answer) if is_text else f"({len(story.answer)} bytes)"
    body = f"{headers}{block(masks(content))}" if content else headers
    return _step(
        "Answer",
        f"{story.status} after {duration_text(story.seconds)}",
        body,
        level="bad" if story.status >= 400 else "quiet",
    )


def _again_step(page: Page, story: Story) -> str:
    call = story.calls[-1]
    if not call.request.body:
        return _step("Send again", "the body was too long to keep", "")
    url = f"{call.request.url.scheme}://{call.request.url.netloc}{call.request.url.target}"
    choices = "".join(
        f'<label class="choice"><input type="radio" name="change" value="{value}"{"" if value else " checked"}> '
        f"{text(words)}</label>"
        for value, words in CHANGES.items()
    )
    form = f"""<form class="again" method="post" action="{page.link(f"/requests/{story.id}/again")}">{page.token_field}
<fieldset><legend>This callback once more</legend>{choices}</fieldset>
<label>To <input name="url" type="text" inputmode="url" value="{field_value(url)}" autocomplete="off"></label>
<button class="button primary">Send again</button></form>"""
    return _step("Send again", "to see “exactly once”, and what is not believed", form, is_open=bool(story.origin))


def _with_code(html: str) -> str:
    """Return a sentence with its `commands` marked."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html)


def _quiet(value: str) -> str:
    return f'<span class="quiet">{text(value)}</span>'


def _code(value: str) -> str:
    return f"<code>{text(value)}</code>" if value else _quiet("(empty)")


def _pretty(body: bytes) -> str:
    """Return JSON with indents, and anything else as it is."""
    content = body.decode(errors="replace")
    try:
        return (
            json.dumps(json.loads(content), indent=2, ensure_ascii=False)
            if content[:1] in "{[" and content
            else content
        )
    except (ValueError, RecursionError):
        return content
