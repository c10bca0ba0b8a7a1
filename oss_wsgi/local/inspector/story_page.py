"""One story from top to bottom: what came, what was checked, what was stored, who was called, what was answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...explanations.languages import ENGLISH
from ...explanations.rows import find
from ..callbacks.parameters import parse_callback
from ..errors import ErrorText, OSSError, Response
from .markup import Page
from .masks import HIDDEN, Masks
from .mistakes import difference
from .outcome import outcome, reason
from .policy_view import ConditionView, decoded_policy, policy_lines
from .send_again import CHANGES
from .story import Story

MARKS = {True: ("good", "✓", "holds"), False: ("bad", "✗", "does not hold"), None: ("quiet", "–", "not compared")}


def story_page(
    page: Page, story: Story, masks: Masks, *, strict: bool, beside: object, related: Iterable[tuple[str, str]]
) -> Response:
    """Return the page of a story.

    :param beside: the rows of the list that stands beside it, where the window has room.
    :param related: links to other stories of the same upload, and their words.
    """
    level, short = outcome(story)
    why, fix = reason(story)
    if page.language != ENGLISH and story.error and not fix:
        row = find(story.error.ec) or find(story.error.code)  # the message, which is OSS's, is English
        why, fix = (why, fix) if row is None else (f"{page.say(why)} {page.say(row.meaning)}", row.fix)
    is_mismatch = bool(story.error and story.error.code == "SignatureDoesNotMatch")
    has_policy = story.fields is not None and bool(story.fields.get("policy"))
    return page.response(
        "story.html",
        story=story,
        masks=masks,
        name=story.name,
        level=level,
        short=short,
        why=why,
        fix=fix,
        link=page.link(f"/requests/{story.id}"),
        beside=beside,
        related=list(related),
        callback=_callback(story, masks),
        mismatch=_mismatch(story, story.error, masks) if is_mismatch and story.error else None,
        signature=_signature(story, masks) if has_policy else None,
        policy=_policy(story, masks, strict=strict) if has_policy else None,
        changes=CHANGES,
    )


def _callback(story: Story, masks: Masks) -> list[tuple[str, str]]:
    """Return the members of a form's callback; none if it has no valid one."""
    try:
        callback = parse_callback((story.fields or {}).get("callback", ""))
    except OSSError:
        return []
    if not callback:
        return []
    urls = ", ".join(f"{url.origin}{url.target}" for url in callback.urls)
    members = [("callbackUrl", masks(urls)), ("callbackBody", masks(callback.body))]
    return [*members, ("callbackBodyType", callback.body_type)]


def _signature(story: Story, masks: Masks) -> dict[str, Any]:
    fields, error = story.fields or {}, story.error
    return {
        "version": "V4" if "x-oss-signature-version" in fields else "V1",
        "failed": bool(error and (error.ec.startswith("0002-") or error.code == "InvalidAccessKeyId")),
        "rows": [
            ("Signed by", fields.get("x-oss-credential") or fields.get("ossaccesskeyid", "")),
            ("String to sign", masks(fields["policy"])),
            ("Signature", fields.get("x-oss-signature") or fields.get("signature", "")),
        ],
    }


def _mismatch(story: Story, error: ErrorText, masks: Masks) -> dict[str, Any]:
    provided, computed = error.members.get("SignatureProvided", ""), story.computed
    index = difference(provided, computed)
    lengths = "" if len(provided) == len(computed) else f"; {len(provided)} characters, not {len(computed)}"
    names = {"StringToSign": "String to sign", "CanonicalRequest": "Canonical request"}
    return {
        "texts": [(words, masks(error.members[name])) for name, words in names.items() if name in error.members],
        "signatures": [
            ("Received", provided[:index], provided[index:]),
            ("Computed", computed[:index], computed[index:]),
        ],
        "where": f"from character {index + 1}{lengths}",
    }


def _policy(story: Story, masks: Masks, *, strict: bool) -> dict[str, Any]:
    source = (story.fields or {}).get("policy", "")
    decoded = decoded_policy(source)
    lines = policy_lines(story, strict=strict)
    wrong = [line for line in lines if line.holds is False]
    refused = story.error if story.error and story.error.code == "InvalidPolicyDocument" else None
    if refused:
        fact = refused.message
    elif wrong:
        fact = f"{len(wrong)} of {len(lines)} conditions {'does' if len(wrong) == 1 else 'do'} not hold"
    else:
        fact = f"{len(lines)} conditions hold" if lines else "not read"
    return {
        "fact": fact,
        "failed": bool(wrong or refused),
        "lines": [_condition(line, masks) for line in lines],
        "decoded": masks(decoded) if decoded is not None else f"(not Base64) {masks(source)}",
    }


def _condition(line: ConditionView, masks: Masks) -> dict[str, Any]:
    # The text is JSON, and the value of a token's condition must be hidden by the name beside it.
    is_token = "security-token" in line.text
    compared = HIDDEN if is_token and line.holds is not None else masks(line.compared)
    return {"mark": MARKS[line.holds], "text": masks(line.text), "compared": compared}
