"""Prints the CORS rule that uploads need, compares the bucket's rules with it, and adds it."""

from __future__ import annotations

import difflib
import html
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TextIO

from ..sdk.credentials import SDKCredentialsProvider
from ..settings import Settings
from .options import EPILOG, add_credentials_library, add_settings, environ_of
from .sdk_client import SDKClient, SDKRefusedError, sdk_client
from .terminal import MisuseError, coloured, note, plain, waiting

if TYPE_CHECKING:
    from argparse import Namespace


METHOD = "POST"

#: Of what a page reads of OSS's answer, CORS hides all but these.
EXPOSED = ("ETag", "x-oss-request-id")

_MAX_AGE = 600

_ORIGIN = re.compile(r"\*|([a-z][a-z0-9+.-]*)://(\[[0-9a-f:]+\]|[a-z0-9._*-]+)(?::([1-9][0-9]{0,4}|\*))?")

_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class Rule:
    """One rule of a bucket."""

    origins: tuple[str, ...]
    methods: tuple[str, ...] = (METHOD,)
    headers: tuple[str, ...] = ("*",)
    exposed: tuple[str, ...] = EXPOSED
    max_age: int | None = _MAX_AGE

    def takes(self, origin: str) -> bool:
        """Tell whether it decides of a form that a page of this origin posts."""
        return METHOD in self.methods and any(_matches(origin, pattern) for pattern in self.origins)

    @property
    def suffices(self) -> bool:
        """Tell whether a page that it takes can send what it likes, and read what it must."""
        exposed = {name.lower() for name in self.exposed}
        return "*" in self.headers and exposed >= {name.lower() for name in EXPOSED}

    def elements(self) -> Iterator[tuple[str, str]]:
        """Give its XML elements, in OSS's order."""
        for name, values in (
            ("AllowedOrigin", self.origins),
            ("AllowedMethod", self.methods),
            ("AllowedHeader", self.headers),
            ("ExposeHeader", self.exposed),
        ):
            yield from ((name, value) for value in values)
        if self.max_age is not None:
            yield "MaxAgeSeconds", str(self.max_age)


def origin_problem(origin: str) -> str | None:
    """Say what is wrong with an origin for a rule: browsers would send none that fits it."""
    match = _ORIGIN.fullmatch(origin)
    if match is None or origin.count("*") > 1 or re.fullmatch(r"[^*]+://\*", origin):
        return (
            f"{origin!r} is no origin that a browser sends: write it like https://app.example.com, in small letters "
            "(a name of others as xn--...), without a '/' at its end."
        )
    scheme, _, port = match.groups()
    if port is not None and port == _DEFAULT_PORTS.get(scheme):
        return f"{origin!r} is no origin that a browser sends: it leaves out :{port}, the port of {scheme}."
    if port not in (None, "*") and int(port) > 65535:
        return f"{origin!r} has a port over 65535."
    return None


def planned(rules: Sequence[Rule], origins: Iterable[str]) -> list[Rule]:
    """Give the rules with what lets pages of ``origins`` upload; all other rules are kept, in their order.

    The first rule that fits a request decides, so ours stands before one that would take it and does not suffice.
    """
    missing = [origin for origin in dict.fromkeys(origins) if not _served(rules, origin)]
    if not missing:
        return list(rules)
    ours = next((rule for rule in rules if rule == Rule(rule.origins, max_age=rule.max_age)), None)
    others = [rule for rule in rules if rule is not ours]
    place = len(others) if ours is None else list(rules).index(ours)
    for origin in missing:
        place = min([place, *(number for number, rule in enumerate(others) if rule.takes(origin))])
    made = Rule(tuple(missing)) if ours is None else replace(ours, origins=(*ours.origins, *missing))
    return [*others[:place], made, *others[place:]]


def _served(rules: Sequence[Rule], origin: str) -> bool:
    return next((rule.suffices for rule in rules if rule.takes(origin)), False)


def _matches(origin: str, pattern: str) -> bool:
    return fnmatchcase(origin.lower(), pattern.lower().replace("[", "[[]").replace("?", "[?]"))


def as_xml(rules: Sequence[Rule], vary: bool | None) -> str:
    """Write the document of PutBucketCors."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<CORSConfiguration>"]
    for rule in rules:
        inner = [f"    <{name}>{html.escape(value, quote=False)}</{name}>" for name, value in rule.elements()]
        lines += ["  <CORSRule>", *inner, "  </CORSRule>"]
    if vary is not None:
        lines.append(f"  <ResponseVary>{str(vary).lower()}</ResponseVary>")
    return "\n".join([*lines, "</CORSConfiguration>"])


def in_words(rule: Rule) -> str:
    """Say what to fill into the console: Content Security, CORS, Create Rule."""
    fields = {
        "Source (one a line)": " ".join(rule.origins),
        "Allowed Methods": ", ".join(rule.methods),
        "Allowed Headers": ", ".join(rule.headers),
        "Exposed Headers": " ".join(rule.exposed),
        "Cache Timeout (Seconds)": str(rule.max_age),
        "Vary: Origin": "ticked",
    }
    return "\n".join(f"{name}: {value}" for name, value in fields.items())


def add(subparsers: Any) -> None:
    made = subparsers.add_parser(
        "cors",
        help="print, compare or set the bucket's CORS rule",
        description="The least CORS rule with which pages may upload: `print` writes it as XML and in the console's "
        "words; `diff` shows what the bucket lacks (exit status 1), `apply` adds it and keeps all other rules. "
        "diff and apply need the extra oss-wsgi[sdk], and a key with oss:GetBucketCors and oss:PutBucketCors.",
        epilog=f"Example: oss-wsgi cors apply https://app.example.com. {EPILOG}",
    )
    made.add_argument("action", choices=["print", "diff", "apply"])
    made.add_argument("origins", nargs="*", metavar="ORIGIN", help="of the pages; default: OSS_ALLOWED_ORIGINS")
    made.add_argument("--yes", action="store_true", help="apply without asking")
    made.add_argument("--json", action="store_true", help="print one JSON object")
    add_credentials_library(made)
    add_settings(made)
    made.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    settings = Settings.from_environ(environ_of(arguments))
    origins = tuple(arguments.origins) or settings.allowed_origins
    if not origins:
        raise MisuseError("name the origins of the pages, such as https://app.example.com, or set OSS_ALLOWED_ORIGINS.")
    for origin in origins:
        problem = origin_problem(origin)
        if problem:
            raise MisuseError(problem)
    if arguments.action == "print":
        return _print(Rule(origins), arguments)
    key = None
    if arguments.credentials_library:
        key = SDKCredentialsProvider(settings, clock=time.time).get_credentials()
    try:
        with sdk_client(settings, key=key) as client:
            return _change(client, origins, arguments)
    except SDKRefusedError as error:
        note(f"{arguments.program}: {error}")
        if arguments.json:
            print(json.dumps({"error": {"code": error.code, "message": str(error)}}, indent=1))
        return 1


def _print(rule: Rule, arguments: Namespace) -> int:
    if arguments.json:
        print(json.dumps(asdict(rule), indent=1))
    else:
        print(f"{as_xml([rule], True)}\n\nIn the console, Content Security > CORS > Create Rule:\n{in_words(rule)}")
    return 0


def _change(client: SDKClient, origins: tuple[str, ...], arguments: Namespace) -> int:
    with waiting("Reading the bucket's rules"):
        rules, vary = _read(client)
    wanted = planned(rules, origins)
    # Where there was nothing, answers that differ by origin shall say so to caches.
    wanted_vary = vary if rules else True
    changes, applied = wanted != rules, False
    # Of JSON the result is all; who is asked sees the change beside it.
    shown = sys.stderr if arguments.json else sys.stdout
    if changes and not (arguments.json and (arguments.yes or arguments.action == "diff")):
        before = as_xml(rules, vary) if rules else ""
        _show(before, as_xml(wanted, wanted_vary), client.bucket, shown, arguments)
    elif not changes and not arguments.json:
        print(coloured("Nothing to change:", "green", arguments.environ), "pages of these origins may upload.")
    if changes and arguments.action == "apply" and (arguments.yes or _agreed()):
        with waiting("Writing the bucket's rules"):
            _write(client, wanted, wanted_vary)
        applied = True
    if arguments.json:
        members = {"changes": changes, "before": [asdict(rule) for rule in rules], "after": [asdict(r) for r in wanted]}
        print(json.dumps({**members, "applied": applied}, indent=1))
    if arguments.action == "apply" and changes:
        note(f"Bucket {client.bucket} has the rules now." if applied else "Nothing was changed.")
    return 1 if changes and not applied else 0


def _show(before: str, after: str, bucket: str, shown: TextIO, arguments: Namespace) -> None:
    names = f"bucket {bucket}, as it is", f"bucket {bucket}, as it should be"
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm=""):
        colour = {"+": "green", "-": "red"}.get(line[:1])
        print(coloured(plain(line), colour, arguments.environ, shown) if colour else plain(line), file=shown)
    shown.flush()


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise MisuseError("nobody can be asked here: give --yes to apply the change.")
    print("Apply this? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _read(client: SDKClient) -> tuple[list[Rule], bool | None]:
    try:
        found = client.ask("get_bucket_cors", "GetBucketCorsRequest").cors_configuration
    except SDKRefusedError as error:
        if error.code == "NoSuchCORSConfiguration":
            return [], None
        raise
    return [
        Rule(
            tuple(rule.allowed_origins or ()),
            tuple(rule.allowed_methods or ()),
            tuple(rule.allowed_headers or ()),
            tuple(rule.expose_headers or ()),
            rule.max_age_seconds,
        )
        for rule in found.cors_rules or ()
    ], found.response_vary


def _write(client: SDKClient, rules: list[Rule], vary: bool | None) -> None:
    sdk = client.sdk
    made = [
        sdk.CORSRule(
            allowed_origins=list(rule.origins),
            allowed_methods=list(rule.methods),
            allowed_headers=list(rule.headers),
            expose_headers=list(rule.exposed),
            max_age_seconds=rule.max_age,
        )
        for rule in rules
    ]
    configuration = sdk.CORSConfiguration(cors_rules=made, response_vary=vary)
    client.ask("put_bucket_cors", "PutBucketCorsRequest", cors_configuration=configuration)
