"""What the commands about the bucket share: the access key, the client, and the report of a refusal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NamedTuple

from ..sdk.credentials import SDKCredentialsProvider
from ..settings import Settings
from .options import environ_of
from .sdk_client import SDKClient, SDKRefusedError, sdk_client
from .terminal import coloured, confirmed, note, print_difference, waiting

if TYPE_CHECKING:
    from argparse import Namespace


def required_settings(arguments: Namespace) -> Collection[str]:
    """Return the settings without which the bucket cannot be asked."""
    return {"bucket"} if arguments.credentials_library else {"bucket", "access_key"}


def bucket_settings(arguments: Namespace) -> Settings:
    """Return the settings of a command that asks the bucket. Raises SettingsError."""
    return Settings.from_environ(environ_of(arguments), required=required_settings(arguments))


def with_bucket(
    arguments: Namespace, settings: Settings, rights: str, work: Callable[[SDKClient], int], *, objects: bool = False
) -> int:
    """Return what ``work`` returns for the bucket's client; report a refusal of OSS and return 1.

    :param rights: the RAM actions that the requests need.
    :param objects: whether they are needed on the objects too, and not on the bucket alone.
    """
    key = None
    if arguments.credentials_library:
        with waiting("Looking for an access key", arguments.environ):
            key = SDKCredentialsProvider(settings, clock=time.time).get_credentials()
    try:
        with sdk_client(settings, key=key) as client:
            return work(client)
    except SDKRefusedError as error:
        bucket = settings.bucket or "BUCKET"
        fix = error.fix(rights, f"{bucket} and acs:oss:*:*:{bucket}/*" if objects else bucket)
        note(f"{arguments.program}: {str(error).rstrip('.')}. {fix}")
        if arguments.json:
            print(json.dumps({"error": {"code": error.code, "message": str(error), "fix": fix}}, indent=1))
        return 1


class RuleChange(NamedTuple):
    """How a bucket's rules have to change: as XML, and as members of JSON."""

    xml: tuple[str, str]
    members: tuple[list[Any], list[Any]]
    is_needed: bool


def offer(change: RuleChange, bucket: str, arguments: Namespace, *, satisfied: str, write: Callable[[], object]) -> int:
    """Show a change, and write it if that is the action and the person agrees; return 1 if the bucket still needs it.

    :param satisfied: what holds where nothing has to change.
    """
    needed, applied = change.is_needed, False
    # Standard output is for the JSON alone; a person who has to agree sees the change on standard error.
    stream = sys.stderr if arguments.json else sys.stdout
    if needed and not (arguments.json and (arguments.yes or arguments.action == "diff")):
        print_difference(*change.xml, f"bucket {bucket}", stream, arguments.environ)
    elif not needed and not arguments.json:
        print(coloured("Nothing to change:", "green", arguments.environ), satisfied)
    if needed and arguments.action == "apply" and (arguments.yes or confirmed("Apply this?")):
        with waiting("Writing the bucket's rules", arguments.environ):
            write()
        applied = True
    if arguments.json:
        before, after = change.members
        print(json.dumps({"changes": needed, "before": before, "after": after, "applied": applied}, indent=1))
    if arguments.action == "apply" and needed:
        note(f"The rules of bucket {bucket} were changed." if applied else "Nothing was changed.")
    return 1 if needed and not applied else 0
