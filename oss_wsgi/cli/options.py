"""The options that commands share, and those of the settings, made from the table of settings."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..application import DEFAULT_PREFIX, with_callback_path
from ..exceptions import SettingsError
from ..ledger.url import passwords_in, shown
from ..log_format import FORMATS
from ..serving.option_types import address, count, positive_seconds, seconds
from ..settings import TABLE, Setting, Settings, duration, with_secrets_read
from .parser import CommandParser
from .terminal import MisuseError

DESCRIPTION = (
    "Serve an upload page, its signatures and the callbacks of OSS. "
    "Without a bucket, a local OSS on this machine takes the files."
)
#: What a first real upload needs.
_FIRST_SETTINGS = ("OSS_BUCKET", "OSS_REGION", "OSS_ACCESS_KEY_ID", "OSS_CALLBACK_URL")
#: Beside it a reader would look for --ticket-secret, and secrets cannot be options.
_NOT_SHOWN = frozenset({"ticket_secret_file"})
#: The settings with which a command reaches the bucket.
BUCKET_SETTINGS = frozenset(
    {"access_key_id", "credentials_library", "bucket", "region", "endpoint", "host", "signature_version"}
)
#: A switch: its option takes no value.
_LIBRARY = "OSS_CREDENTIALS_LIBRARY"
#: More processes than any machine has cores for.
MOST_PROCESSES = 256
#: The secrets with which a command reaches the bucket.
BUCKET_SECRETS = ("OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")


def secrets_line(*variables: str) -> str:
    """Return the sentence of the help about the secrets that a command reads."""
    return f"Secrets are environment variables only: {', '.join(variables)}."


EPILOG = secrets_line(*(row.variable for row in TABLE if row.secret))


def server_parser() -> argparse.ArgumentParser:
    """Return the parser of server.py, which serves only the page."""
    parser = CommandParser(description=DESCRIPTION, epilog=EPILOG)
    add_server_options(parser)
    parser.set_defaults(app=None, forms=False, authorize=None, reload=False)
    return parser


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the bucket, of the server and of its local OSS, and then those that few people need."""
    bucket = parser.add_argument_group("bucket, each option also an environment variable; secrets only there")
    rows = {row.variable: row for row in TABLE}
    _add_settings(bucket, [rows[variable] for variable in _FIRST_SETTINGS])
    server = parser.add_argument_group("server")
    server.add_argument(
        "--listen", type=address, metavar="HOST:PORT", help="default: the sockets of LISTEN_FDS, or 127.0.0.1:8080"
    )
    server.add_argument(
        "--prefix", default=DEFAULT_PREFIX, help="the path of the endpoints, also of your DirectUpload; %(default)s"
    )
    server.add_argument(
        "--processes",
        type=_processes,
        default=1,
        metavar="N",
        help="how many processes serve; more than one need OSS_LEDGER and OSS_TICKET_SECRET; %(default)s",
    )
    server.add_argument("--access-log", action="store_true", help="log a line for each request")
    server.add_argument("--log-format", choices=FORMATS, default="text", help="log lines as text or JSON; %(default)s")
    local = parser.add_argument_group("local OSS; without effect if a real bucket is configured")
    local.add_argument("--local", action="store_true", help="use the local OSS even if a bucket is configured")
    local.add_argument(
        "--local-listen", type=address, default="127.0.0.1:8081", metavar="HOST:PORT", help="%(default)s"
    )
    local.add_argument("--local-dir", metavar="DIR", help="keep the files here; default: a temporary folder")
    local.add_argument(
        "--local-allow-public",
        action="store_true",
        help="switch Block Public Access off, so that a Grant may have a public acl",
    )
    operation = parser.add_argument_group("operation")
    operation.add_argument(
        "--metrics-listen",
        type=address,
        metavar="HOST:PORT",
        help="address that serves metrics for Prometheus, to at most 10 connections; default: off",
    )
    _add_bounds(operation)
    further = parser.add_argument_group("further settings, each also an environment variable")
    _add_settings(further, [row for row in TABLE if row.variable not in _FIRST_SETTINGS])


def _add_bounds(group: argparse._ActionsContainer) -> None:
    """Add the options that bound how long a connection waits, how many there are, and how long the end takes."""
    for name, default, meaning in (
        ("header-timeout", 10, "for the whole header of a request"),
        (
            "body-timeout",
            20,
            "for a body; each 500 bytes received add a second, up to a limit that depends on its length",
        ),
        ("idle-timeout", 60, "between two requests of a connection"),
        ("write-timeout", 20, "for a client that reads nothing; each 500 bytes read add a second"),
        ("drain", 10, "after a signal, to finish requests that have begun"),
        ("drain-delay", 0, "after a signal, to serve as before while readiness returns 503"),
    ):
        kind = seconds if name.startswith("drain") else positive_seconds
        group.add_argument(f"--{name}", type=kind, default=default, metavar="SECONDS", help=f"{meaning}; %(default)s")
    group.add_argument(
        "--connections",
        type=count,
        metavar="N",
        help="how many may be open in all processes together; default: as many as descriptors and memory allow; "
        "descriptors also limit what is given here",
    )
    group.add_argument(
        "--connections-per-address",
        type=count,
        metavar="N",
        help="how many one client address may have open in each process; default: no limit, as a proxy is one "
        "address for all its clients",
    )


def add_settings(parser: argparse.ArgumentParser, shown: Collection[str] | None = None) -> None:
    """Add an option for each setting, stored as text under its variable's name.

    A command line is public on its machine, so secrets have no option.

    :param shown: names of the settings that the command reads; the help leaves out the others, which have no effect.
        None shows all.
    """
    _add_settings(parser.add_argument_group("settings, each also an environment variable"), TABLE, shown)


def _add_settings(
    group: argparse._ActionsContainer, rows: Sequence[Setting], shown: Collection[str] | None = None
) -> None:
    for row in rows:
        if not row.secret:
            meaning = f"{row.help} [{row.variable}{f'; {row.shown_default}' if row.shown_default else ''}]"
            option = "--" + row.name.replace("_", "-")
            is_shown = row.name not in _NOT_SHOWN and (shown is None or row.name in shown)
            text = meaning.replace("%", "%%") if is_shown else argparse.SUPPRESS
            value: Any = {"metavar": row.placeholder}
            if row.variable == _LIBRARY:
                value = {"action": "store_const", "const": "on"}
            group.add_argument(option, dest=row.variable, help=text, **value)


def environ_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the environment, ``arguments.environ``, with the options of settings in place of its variables.

    Raises SettingsError for a password in an option, and for an option that names another ledger than OSS_LEDGER.
    """
    options = {name: value for name, value in vars(arguments).items() if name.startswith("OSS_") and value is not None}
    if passwords_in(options.get("OSS_LEDGER", "")):
        raise SettingsError(
            "--ledger has a password, and other users of this machine can read command lines: set OSS_LEDGER in the "
            "environment."
        )
    ledgers = arguments.environ.get("OSS_LEDGER", "").strip(), options.get("OSS_LEDGER", "").strip()
    if all(ledgers) and ledgers[0] != ledgers[1]:
        names = [shown(ledger) for ledger in ledgers]
        difference = " with another user or query" if names[0] == names[1] else ""
        raise SettingsError(
            f"OSS_LEDGER is {names[0]} and --ledger is {names[1]}{difference}: uploads that one remembers would be "
            "handled again with the other. Leave one of them out."
        )
    return {**arguments.environ, **options}


def refuse_settings(arguments: argparse.Namespace, application: str) -> None:
    """Raise MisuseError for options of settings beside an application, which has settings of its own."""
    given = [f"--{row.name.replace('_', '-')}" for row in TABLE if getattr(arguments, row.variable, None) is not None]
    if given:
        raise MisuseError(f"{application} has settings of its own: leave out {', '.join(given)}.")


def settings_of(environ: Mapping[str, str], required: Sequence[str] = ()) -> Settings:
    """Return the settings of an environment as DirectUpload reads them. Raises SettingsError."""
    return with_secrets_read(with_callback_path(Settings.from_environ(environ, required=required)))


def is_set(environ: Mapping[str, str], name: str) -> bool:
    """Return whether a variable has a value other than blanks."""
    return bool(environ.get(name, "").strip())


def duration_argument(text: str) -> int:
    """Read a duration such as ``15m``, ``26h`` or ``7d``; return seconds."""
    try:
        return duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, not {text!r}") from None


def _processes(text: str) -> int:
    """Read a number of processes. Thousands are refused: nobody means them, and they would take all memory."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_PROCESSES):
        raise argparse.ArgumentTypeError(f"must be 1 to {MOST_PROCESSES}, about one for each core, not {text!r}")
    return int(text)
