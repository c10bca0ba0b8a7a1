"""Takes secrets, tickets, policies and signatures out of texts that a log will show."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"
_SHORTEST = 6

_KEYS = r"(?:security|session|oidc|metadata)[-_ ]?token|(?:access[-_ ]?key[-_ ]?|ticket[-_ ]?)?secret|password"
_SEALS = r"x-oss-security-token|(?:x-oss-)?signature|policy|callback|callback-var|ticket|authorization"


def _named(names: str, length: int) -> re.Pattern[str]:
    """Match name=value, "name": "value", <name>value and name: value, quoted or percent-encoded on the way.

    Also a field of a form, in parts or as a pair: name="name" and a blank line, and ('name', 'value').
    """
    return re.compile(
        rf"""(?ix) (?<![a-z]) ( (?:OSS_)? (?:{names})
            (?: ["'\\]* \s* (?:=|:|>|%3D|%3E|%22%3A%22) \s* | ["'] \s* , \s* | ["'] (?:\\r\\n|\r\n){{2}} ) ["'\\]* )
        (?: (?:Basic|Bearer) \s+ \S{{4,}} | (?:OSS \s+ (?:[A-Za-z0-9.]+:)? )? [A-Za-z0-9+/=_.~%-]{{{length},}} )"""
    )


# Shorter ones are words of a sentence.
_NAMED = _named(_KEYS, 8), _named(_SEALS, 20)
_COOKIE = re.compile(r"""(?i)(cookie["']*\s*[:=]\s*["']*)[^\r\n"']+""")
# A V4 signature; fingerprints of keys are for everybody.
_HEX = re.compile(r"(?<![0-9a-fA-F])(?<!SHA-256 )[0-9a-f]{64}(?![0-9a-fA-F])")
# What no name gives away: tickets, policies and RSA signatures are Base64 longer than any word or name of ours.
_LONG = re.compile(r"(?<![A-Za-z0-9+/_-])(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9]*[0-9])[A-Za-z0-9+/_%-]{80,}={0,2}")


def _forms(secret: str) -> set[str]:
    """Give a secret as it is, percent-encoded, and within quotation marks of Python and of JSON."""
    encoded = quote(secret, safe="")
    lower = re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), encoded)
    quoted = repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False)
    return {secret, encoded, lower, *(text[1:-1] for text in quoted)}


class Masker:
    """Callable that gives a text without secrets: without the literal ``secrets``, and what looks like one."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        # A shorter one is a part of many words, and no secret.
        real = [secret for secret in secrets if secret and len(secret) >= _SHORTEST]
        forms = {form for secret in real for form in _forms(secret)}
        # The longest first: one secret may begin with another.
        ordered = sorted(forms, key=len, reverse=True)
        self._literal = re.compile("|".join(re.escape(form) for form in ordered)) if ordered else None

    def __call__(self, text: str) -> str:
        text = self.literally(text)
        for pattern in (*_NAMED, _COOKIE):
            text = pattern.sub(rf"\g<1>{MASK}", text)
        return _HEX.sub(MASK, _LONG.sub(MASK, text))

    def literally(self, text: str) -> str:
        """Take out the literal secrets alone: of a name, which may be long and look like anything."""
        return self._literal.sub(MASK, text) if self._literal is not None else text
