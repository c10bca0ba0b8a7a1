"""The `cors` command: prints the CORS rule that uploads need, compares it with the bucket's rules, and adds it."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from dataclasses import asdict
from typing import Any

from ..credentials import StaticCredentialsProvider
from ..exceptions import SettingsError
from ..explanations.text import Text, ended, sentences
from ..sdk.client import SDKCallError, SDKClient
from ..sdk.cors import Rule, as_xml, from_sdk, origin_problem, rule_for, to_sdk, with_origins
from ..sdk.credentials import access_key
from ..settings import Settings, items
from .options import BUCKET_SECRETS, BUCKET_SETTINGS, add_settings, environ_of, secrets_line
from .refusals import fix_sdk_error, say_sdk_error
from .terminal import FailedError, MisuseError, coloured, confirmed, note, print_difference, said, waiting

_TIMEOUT = 10.0  # seconds for a call


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "cors",
        help="print, compare or set the bucket's CORS rule",
        description="The smallest CORS rule that lets pages upload; with OSS_MULTIPART=on, in parts too. "
        "`print` writes it as XML and in the words of the console. `diff` shows what the bucket lacks (exit status 1). "
        "`apply` adds it and keeps all other rules. "
        "diff and apply need oss-wsgi[sdk] and an access key: diff with oss:GetBucketCors, apply also with "
        "oss:PutBucketCors.",
        epilog=f"Example: oss-wsgi cors apply https://app.example.com. {secrets_line(*BUCKET_SECRETS)}",
    )
    parser.add_argument("action", choices=["print", "diff", "apply"], metavar="{print,diff,apply}")
    parser.add_argument(
        "origins", nargs="*", default=[], metavar="ORIGIN", help="origin of a page; default: OSS_ALLOWED_ORIGINS"
    )
    parser.add_argument("--yes", action="store_true", help="apply without asking")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_settings(parser, BUCKET_SETTINGS | {"multipart"})
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Run the action; return 0 if the bucket's rules suffice or were changed, 1 if not."""
    settings, origins = _read_settings(arguments)
    if arguments.action == "print":
        return _print(rule_for(origins, parts=settings.multipart), arguments)
    with waiting("Looking for an access key", arguments.environ):
        key = StaticCredentialsProvider(access_key(settings, time.time))
    try:
        with SDKClient(settings, credentials=key, clock=time.time, timeout=_TIMEOUT) as client:
            return _compare(client, origins, settings.multipart, arguments)
    except SDKCallError as error:
        rights = "oss:GetBucketCors" if arguments.action == "diff" else "oss:GetBucketCors and oss:PutBucketCors"
        fix = fix_sdk_error(error, rights, settings.bucket or "BUCKET")
        message = say_sdk_error(error)
        raise FailedError(sentences(ended(message), fix), code=error.code, message=message, fix=fix) from error


def _read_settings(arguments: Namespace) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings and the origins. Raises MisuseError with all that is wrong or missing."""
    environ = environ_of(arguments)
    problems: list[str] = []
    settings = None
    try:
        required = [] if arguments.action == "print" else ["bucket", "access_key"]
        settings = Settings.from_environ(environ, required=required)
    except SettingsError as error:
        problems += error.problems
    origins = tuple(arguments.origins) or items(environ.get("OSS_ALLOWED_ORIGINS", "").lower())
    if not origins:
        problems.append("name the origins of the pages, such as https://app.example.com, or set OSS_ALLOWED_ORIGINS.")
    problems += [problem for origin in origins if (problem := origin_problem(origin))]
    if settings is None or problems:
        raise MisuseError(*problems)
    return settings, origins


def _print(rule: Rule, arguments: Namespace) -> int:
    if arguments.json:
        print(json.dumps(asdict(rule), indent=1))
        return 0
    environ = arguments.environ
    print(as_xml([rule], True))
    print(f"\n{said('In the console, Content Security > CORS > Create Rule:', environ)}")
    for name, value in (
        ("Source (one a line)", " ".join(rule.origins)),
        ("Allowed Methods", ", ".join(rule.methods)),
        ("Allowed Headers", ", ".join(rule.headers)),
        ("Exposed Headers", " ".join(rule.exposed)),
        ("Cache Timeout (Seconds)", str(rule.max_age)),
        ("Vary: Origin", said("ticked", environ)),
    ):
        print(f"{said(name, environ)}: {value}")
    return 0


def _compare(client: SDKClient, origins: tuple[str, ...], parts: bool, arguments: Namespace) -> int:
    """Show how the bucket's rules have to change, and apply the change if the action says so and the person agrees."""
    with waiting("Reading the bucket's rules", arguments.environ):
        rules, vary = _rules_of(client)
    needed = with_origins(rules, origins, parts=parts)
    # With its first rule a bucket's responses differ by origin, which caches must know.
    needed_vary = vary if rules else True
    changes, applied = needed != rules, False
    # Standard output is for the JSON alone; a person who has to agree sees the change on standard error.
    stream = sys.stderr if arguments.json else sys.stdout
    if changes and not (arguments.json and (arguments.yes or arguments.action == "diff")):
        before = as_xml(rules, vary) if rules else ""
        print_difference(
            before, as_xml(needed, needed_vary), Text("bucket {1}", client.bucket), stream, arguments.environ
        )
    elif not changes and not arguments.json:
        nothing = coloured(said("Nothing to change:", arguments.environ), "green", arguments.environ)
        print(nothing, said("pages of these origins can upload.", arguments.environ))
    if changes and arguments.action == "apply" and (arguments.yes or confirmed(said("Apply this?", arguments.environ))):
        with waiting("Writing the bucket's rules", arguments.environ):
            configuration = to_sdk(client.sdk, needed, needed_vary)
            client.ask("put_bucket_cors", "PutBucketCorsRequest", cors_configuration=configuration)
        applied = True
    if arguments.json:
        before_and_after = {"before": list(map(asdict, rules)), "after": list(map(asdict, needed))}
        print(json.dumps({"changes": changes, **before_and_after, "applied": applied}, indent=1))
    if arguments.action == "apply" and changes:
        ended = Text("The rules of bucket {1} were changed.", client.bucket) if applied else "Nothing was changed."
        note(said(ended, arguments.environ))
    return 1 if changes and not applied else 0


def _rules_of(client: SDKClient) -> tuple[list[Rule], bool | None]:
    """Return the bucket's rules and its ResponseVary. Raises SDKCallError."""
    try:
        return from_sdk(client.ask("get_bucket_cors", "GetBucketCorsRequest").cors_configuration)
    except SDKCallError as error:
        if error.code == "NoSuchCORSConfiguration":
            return [], None
        raise
