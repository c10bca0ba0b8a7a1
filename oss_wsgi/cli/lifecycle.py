"""The `lifecycle` command: prints the rule that aborts unfinished parts, compares it with the bucket's, and adds it."""

from __future__ import annotations

import argparse
import html
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..settings import Settings
from .bucket_command import RuleChange, offer, required_settings, with_bucket
from .options import EPILOG, add_credentials_library, add_settings, environ_of
from .sdk_client import SDKClient, SDKRefusedError
from .terminal import plain, waiting

if TYPE_CHECKING:
    from argparse import Namespace

#: A ticket of an upload in parts lives as long.
DEFAULT_DAYS = 7

RIGHTS = "oss:GetBucketLifecycle"

_ID = "oss-wsgi-parts"
_MAX_DAYS = 36500
_OVERLAP = "x-oss-allow-same-action-overlap"
_ACTIONS = re.compile(
    r"<(Expiration|AbortMultipartUpload|Transition|NoncurrentVersionExpiration|NoncurrentVersionTransition)\b"
)


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "lifecycle",
        help="print, compare or set the bucket's rule that removes unfinished parts",
        description="Parts of uploads that nobody finished cost money until somebody aborts them, and no list of "
        "objects shows them. With this lifecycle rule OSS does it. `print` writes it as XML and in the words of the "
        "console. `diff` shows what the bucket lacks (exit status 1). `apply` adds it and keeps all other rules. diff "
        "and apply need oss-wsgi[sdk], and an access key with oss:GetBucketLifecycle and oss:PutBucketLifecycle.",
        epilog=f"Example: oss-wsgi lifecycle apply --days 7. {EPILOG}",
    )
    parser.add_argument("action", choices=["print", "diff", "apply"])
    parser.add_argument(
        "--days",
        type=_days,
        default=DEFAULT_DAYS,
        metavar="N",
        help="abort an upload so long after it began; %(default)s, as long as a page may go on with it",
    )
    parser.add_argument("--prefix", metavar="PREFIX", help="of the object names, '' for all; default: OSS_UPLOAD_DIR")
    parser.add_argument("--yes", action="store_true", help="apply without asking")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_credentials_library(parser)
    add_settings(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Run the action; return 0 if the bucket's rules suffice or were changed, 1 if not."""
    required = () if arguments.action == "print" else required_settings(arguments)
    settings = Settings.from_environ(environ_of(arguments), required=required)
    prefix = settings.upload_dir if arguments.prefix is None else arguments.prefix
    if arguments.action == "print":
        return _print(Rule.aborting(_ID, prefix, arguments.days), arguments)
    rights = RIGHTS if arguments.action == "diff" else f"{RIGHTS} and oss:PutBucketLifecycle"
    return with_bucket(arguments, settings, rights, lambda client: _compare(client, prefix, arguments))


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _MAX_DAYS):
        raise argparse.ArgumentTypeError(f"must be a number of days from 1 to {_MAX_DAYS}, not {text!r}")
    return int(text[:9])


def _print(rule: Rule, arguments: Namespace) -> int:
    if arguments.json:
        print(json.dumps(rule.members(), indent=1))
    else:
        print(f"{as_xml([rule])}\n\nIn the console, Data Management > Lifecycle > Create Rule:\n{in_words(rule)}")
    return 0


def _compare(client: SDKClient, prefix: str, arguments: Namespace) -> int:
    """Show how the bucket's rules have to change, and apply the change if that is the action."""
    with waiting("Reading the bucket's rules", arguments.environ):
        rules, overlap = read_rules(client)
    needed = with_abort_rule(rules, prefix, arguments.days)
    headers = {_OVERLAP: "true"} if overlap or overlapping(needed) else {}
    xml = as_xml(needed)
    return offer(
        RuleChange(
            (as_xml(rules) if rules else "", xml),
            ([rule.members() for rule in rules], [rule.members() for rule in needed]),
            needed != rules,
        ),
        client.bucket,
        arguments,
        satisfied=f"OSS removes unfinished parts {f'under {plain(prefix)}' if prefix else 'of the whole bucket'}.",
        write=lambda: client.ask_raw("PUT", "lifecycle", xml.encode(), headers),
    )


@dataclass(frozen=True)
class Rule:
    """One lifecycle rule, as it stands between ``<Rule>`` and ``</Rule>``.

    Rules of other people are never written anew: OSS may know elements that this program does not.
    """

    xml: str

    @classmethod
    def aborting(cls, identifier: str, prefix: str, days: int) -> Rule:
        """Return the rule that aborts uploads in parts under a prefix when they are some days old."""
        return cls(
            f"\n    <ID>{html.escape(identifier, quote=False)}</ID>\n"
            f"    <Prefix>{html.escape(prefix, quote=False)}</Prefix>\n"
            "    <Status>Enabled</Status>\n"
            f"    <AbortMultipartUpload>\n      <Days>{days}</Days>\n    </AbortMultipartUpload>\n  "
        )

    @property
    def id(self) -> str:
        return self._text("ID")

    @property
    def prefix(self) -> str:
        return self._text("Prefix")

    @property
    def enabled(self) -> bool:
        return self._text("Status") == "Enabled"

    @property
    def limited(self) -> bool:
        """Whether the rule leaves out some of the names with its prefix."""
        return re.search(r"<(Tag|Filter)[>\s]", self.xml) is not None

    @property
    def actions(self) -> frozenset[str]:
        return frozenset(_ACTIONS.findall(self.xml))

    @property
    def abort_days(self) -> int | None:
        """The days after which the rule aborts an upload; None if it does not, or only those before a date."""
        match = re.search(
            r"<AbortMultipartUpload>(?:(?!</Abort).)*?<Days>\s*([0-9]{1,9})\s*</Days>", self.xml, re.DOTALL
        )
        return int(match[1]) if match else None

    def aborts(self, prefix: str, days: int) -> bool:
        """Return whether the rule aborts every upload under a prefix within so many days."""
        found = self.abort_days
        return (
            self.enabled and not self.limited and found is not None and found <= days and prefix.startswith(self.prefix)
        )

    def members(self) -> dict[str, Any]:
        """Return the rule for JSON."""
        return {
            "id": self.id,
            "prefix": self.prefix,
            "enabled": self.enabled,
            "abort_days": self.abort_days,
            "xml": f"<Rule>{self.xml}</Rule>",
        }

    def _text(self, name: str) -> str:
        outer = re.sub(r"<Filter>.*?</Filter>", "", self.xml, flags=re.DOTALL)  # it has a Prefix of its own
        match = re.search(rf"<{name}>([^<]*)</{name}>", outer)
        return html.unescape(match[1]).strip() if match else ""


def with_abort_rule(rules: Sequence[Rule], prefix: str, days: int) -> list[Rule]:
    """Return the rules with the least change that aborts uploads under a prefix when they are ``days`` old.

    All other rules stay as they are, in their order. A rule for exactly this prefix that does nothing but abort is
    replaced, and keeps its ID.
    """
    if any(rule.aborts(prefix, days) for rule in rules):
        return list(rules)
    ours = next(
        (
            rule
            for rule in rules
            if rule.prefix == prefix and rule.actions == {"AbortMultipartUpload"} and not rule.limited
        ),
        None,
    )
    if ours is not None:
        return [Rule.aborting(rule.id or _ID, prefix, days) if rule is ours else rule for rule in rules]
    ids = {rule.id for rule in rules}
    names = itertools.chain([_ID], (f"{_ID}-{number}" for number in itertools.count(2)))
    return [*rules, Rule.aborting(next(name for name in names if name not in ids), prefix, days)]


def overlapping(rules: Sequence[Rule]) -> bool:
    """Return whether two rules do the same with names that begin alike, which OSS accepts only when it is told."""
    return any(
        one.actions & other.actions and (one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix))
        for one, other in itertools.combinations([rule for rule in rules if rule.enabled], 2)
    )


def as_xml(rules: Sequence[Rule]) -> str:
    """Return the document of PutBucketLifecycle."""
    inner = "".join(f"  <Rule>{rule.xml}</Rule>\n" for rule in rules)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<LifecycleConfiguration>\n{inner}</LifecycleConfiguration>'


def in_words(rule: Rule) -> str:
    """Return what to fill into the console: Data Management, Lifecycle, Create Rule."""
    fields = {
        "Status": "Enabled",
        "Applied To": f"Files with Specified Prefix: {rule.prefix}" if rule.prefix else "Whole Bucket",
        "Delete Parts": f"Validity Period (Days): {rule.abort_days}",
    }
    return "\n".join(f"{name}: {value}" for name, value in fields.items())


def read_rules(client: SDKClient) -> tuple[list[Rule], bool]:
    """Return the bucket's rules, and whether their prefixes may overlap. Raises SDKRefusedError."""
    try:
        document, headers = client.ask_raw("GET", "lifecycle")
    except SDKRefusedError as error:
        if error.code == "NoSuchLifecycle":
            return [], False
        raise
    rules = [Rule(xml) for xml in re.findall(r"<Rule>(.*?)</Rule>", document, re.DOTALL)]
    return rules, str(headers.get(_OVERLAP, "")).lower() == "true"
