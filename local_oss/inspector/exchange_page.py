"""The page of one exchange: the request, its checks, the stored object, the callbacks and the answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from oss_wsgi.explanations.languages import ENGLISH
from oss_wsgi.explanations.rows import find
from oss_wsgi.explanations.signatures import first_difference
from oss_wsgi.explanations.text import Text, sentences

from ..callbacks.parameters import parse_callback
from ..errors import ErrorText, OSSError, Response
from ..forms.policy import (
    Condition,
    SizeRange,
    compared_values,
    holds,
    not_named,
    parse_condition,
    parse_policy,
    parse_policy_json,
)
from ..xml_document import iso_time
from .exchange import Exchange
from .markup import Page
from .masks import masked
from .outcome import outcome, reason

MARKS = {True: ("good", "✓", "holds"), False: ("bad", "✗", "does not hold"), None: ("quiet", "–", "not compared")}
#: A value of more characters than this is not shown again if the condition already says it.
_LONG = 80

#: A condition of a policy; whether it holds, None if there was no value to compare, such as the size of a file that was
#: not read; and that value.
Line = tuple[str, bool | None, str]


def exchange_page(
    page: Page,
    exchange: Exchange,
    *,
    strict: bool,
    related: Iterable[tuple[str, str]],
    **beside: Any,
) -> Response:
    """Return the page of an exchange.

    :param strict: the policy has to name every field, as LocalOSS(strict=True) requires.
    :param related: links to other exchanges of the same upload, and the texts of the links.
    :param beside: the list to show beside the exchange if the window has room, and the ways to resend its callback.
    """
    why, fix = reason(exchange)
    if page.language != ENGLISH and exchange.error and not fix:
        row = find(exchange.error.ec) or find(exchange.error.code)  # the message, which is OSS's, is English
        why, fix = (why, fix) if row is None else (sentences(why, row.meaning), row.fix)
    is_mismatch = bool(exchange.error and exchange.error.code == "SignatureDoesNotMatch")
    has_policy = exchange.fields is not None and bool(exchange.fields.get("policy"))
    return page.response(
        "exchange.html",
        exchange=exchange,
        outcome=outcome,
        why=why,
        fix=fix,
        link=page.link(f"/requests/{exchange.id}"),
        related=list(related),
        callback=_callback(exchange),
        mismatch=_mismatch(exchange, exchange.error) if is_mismatch and exchange.error else None,
        signature=_signature(exchange) if has_policy else None,
        policy=_policy(exchange, strict=strict) if has_policy else None,
        marks=MARKS,
        **beside,
    )


def _callback(exchange: Exchange) -> list[tuple[str, str]]:
    """Return the members of a form's callback; none if the form has no valid callback."""
    try:
        callback = parse_callback((exchange.fields or {}).get("callback", ""))
    except OSSError:
        return []
    if not callback:
        return []
    urls = ", ".join(f"{url.origin}{url.target}" for url in callback.urls)
    return [("callbackUrl", urls), ("callbackBody", callback.body), ("callbackBodyType", callback.body_type)]


def _signature(exchange: Exchange) -> dict[str, Any]:
    fields, error = exchange.fields or {}, exchange.error
    return {
        "version": "V4" if "x-oss-signature-version" in fields else "V1",
        "failed": bool(error and (error.ec.startswith("0002-") or error.code == "InvalidAccessKeyId")),
        "rows": [
            ("Signed by", fields.get("x-oss-credential") or fields.get("ossaccesskeyid", "")),
            ("String to sign", fields["policy"]),
            ("Signature", fields.get("x-oss-signature") or fields.get("signature", "")),
        ],
    }


def _mismatch(exchange: Exchange, error: ErrorText) -> dict[str, Any]:
    names = {"StringToSign": "String to sign", "CanonicalRequest": "Canonical request"}
    texts = [(words, error.members[name]) for name, words in names.items() if name in error.members]
    provided, computed = error.members.get("SignatureProvided", ""), exchange.computed
    if not computed:  # of a temporary key, or of a client of S3
        return {"texts": texts, "signatures": [("Received", provided, "")], "where": ""}
    index = first_difference(provided, computed)
    where = Text("from character {1}", index + 1)
    if len(provided) != len(computed):
        lengths = len(provided), len(computed)
        where = Text("from character {1}; {2} characters, not {3}", index + 1, *lengths)
    return {
        "texts": texts,
        "signatures": [
            ("Received", provided[:index], provided[index:]),
            ("Computed", computed[:index], computed[index:]),
        ],
        "where": where,
    }


def _policy(exchange: Exchange, *, strict: bool) -> dict[str, Any]:
    """Return the policy with a condition on each line, and each condition's result if the policy is valid."""
    source = (exchange.fields or {}).get("policy", "")
    lines: list[Line] = []
    try:
        decoded = base64.b64decode(source, validate=True).decode()
    except ValueError:
        decoded = f"(not Base64) {source}"
    else:
        try:
            document = parse_policy_json(decoded.encode())
            decoded = _indented(document)
            lines = list(_lines(document, exchange, strict=strict))
        except (OSSError, AttributeError, KeyError, TypeError):
            pass  # not a policy: its text is shown as it is
    wrong = [line for line in lines if line[1] is False]
    refused = exchange.error if exchange.error and exchange.error.code == "InvalidPolicyDocument" else None
    if refused:
        fact = refused.message
    elif wrong:
        one, several = "{1} of {2} conditions does not hold", "{1} of {2} conditions do not hold"
        fact = Text(one if len(wrong) == 1 else several, len(wrong), len(lines))
    else:
        fact = Text("{1} conditions hold", len(lines)) if lines else "not read"
    return {"fact": fact, "failed": bool(wrong or refused), "lines": lines, "decoded": decoded}


def _indented(document: Mapping[str, Any]) -> str:
    conditions = ",\n    ".join(_json(condition) for condition in document["conditions"])
    members = [f"  {_json(name)}: {_json(value)}" for name, value in document.items() if name != "conditions"]
    members.append(f'  "conditions": [\n    {conditions}\n  ]')
    return "{\n" + ",\n".join(members) + "\n}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(document: Mapping[str, Any], exchange: Exchange, *, strict: bool) -> Iterator[Line]:
    """Yield a line for the expiration, for each condition, and for each field that needs a condition and has none."""
    fields = exchange.fields or {}
    policy = parse_policy(fields["policy"])
    values = compared_values(fields, bucket=exchange.bucket, file_type=exchange.file_type)
    expired = exchange.started > policy.expiration or bool(exchange.error and exchange.error.ec == "0006-00000213")
    yield f"expiration {document['expiration']}", not expired, Text("arrived {1}", iso_time(exchange.started))
    for raw in document["conditions"]:
        condition = parse_condition(raw)
        if isinstance(condition, SizeRange):
            yield _json(raw), *_size(condition, exchange)
        else:
            yield _json(raw), *_value(condition, values.get(condition.name.lower()))
    for name in not_named(policy, fields, strict=strict):
        yield Text("(no condition names {1})", name), False, masked(fields[name], name)


def _value(condition: Condition, value: str | None) -> tuple[bool, str]:
    if value is None:
        return False, Text("the form has no {1}", condition.name)
    shown: str
    if value == condition.operand and len(value) > _LONG:
        shown = Text("the same {1} characters", len(value))
    else:
        shown = masked(value, condition.name) or "(empty)"
    return holds(condition, value), shown


def _size(limit: SizeRange, exchange: Exchange) -> tuple[bool | None, str]:
    code = exchange.error.code if exchange.error else ""
    if exchange.stored:
        size = exchange.stored.size
        return limit.minimum <= size <= limit.maximum, Text("{1} bytes", size)
    if code == "EntityTooLarge":
        return False, "the file is larger"
    if code == "EntityTooSmall" and exchange.error:
        return False, Text("{1} bytes", exchange.error.members.get("ProposedSize", ""))
    return None, "the file was not read"
