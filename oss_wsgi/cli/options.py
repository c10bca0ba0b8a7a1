"""The options of the command line, made from the table of settings."""

from __future__ import annotations

import argparse
from typing import Any

from ..application import DEFAULT_PREFIX
from ..log_format import FORMATS
from ..settings import TABLE

DESCRIPTION = (
    "Serve an upload page, its signatures and OSS's callbacks. "
    "Without a bucket, a local OSS on this machine takes the files."
)
EPILOG = f"Secrets come by environment variables alone: {', '.join(row.variable for row in TABLE if row.secret)}."


def address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT``; port 0 is any free one."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not (colon and port.isascii() and port.isdigit() and int(port[:6]) < 65536) or (":" in host and not bracketed):
        raise argparse.ArgumentTypeError(f"must be HOST:PORT, such as 127.0.0.1:8080, not {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the server."""
    made = argparse.ArgumentParser(description=DESCRIPTION, epilog=EPILOG)
    add_serving(made)
    return made


def add_serving(made: Any) -> None:
    """Add the options of the server, its local OSS and the settings."""
    server = made.add_argument_group("server")
    server.add_argument(
        "--listen", type=address, metavar="HOST:PORT", help="default: LISTEN_FDS' sockets, or 127.0.0.1:8080"
    )
    server.add_argument(
        "--prefix", default=DEFAULT_PREFIX, help="where the endpoints are mounted; %(default)s"
    )
    server.add_argument("--access-log", action="store_true", help="log a line for each request")
    server.add_argument(
        "--metrics-listen", type=address, metavar="HOST:PORT", help="serve metrics for Prometheus there; off"
    )
    add_credentials_library(server)
    _add_bounds(server)
    server.add_argument("--log-format", choices=FORMATS, default="text", help="lines of text or of JSON; %(default)s")
    local = made.add_argument_group("local OSS, without effect where a real bucket is configured")
    local.add_argument("--local", action="store_true", help="use the local OSS although a bucket is configured")
    local.add_argument(
        "--local-listen", type=address, default="127.0.0.1:8081", metavar="HOST:PORT", help="%(default)s"
    )
    local.add_argument("--local-dir", metavar="DIR", help="keep the files here; default: a temporary folder")
    add_settings(made)


def _add_bounds(made: Any) -> None:
    """Add the options that bound connections, and the end."""
    for name, default, meaning in (
        ("header-timeout", 10, "for a whole header"),
        ("body-timeout", 20, "for a body, a second longer for every 500 bytes received"),
        ("idle-timeout", 60, "between two requests of a connection"),
        ("write-timeout", 20, "for a client that does not read, a second longer for every 500 bytes taken"),
        ("drain", 10, "to answer what has begun, after a signal to end"),
        ("drain-delay", 0, "to serve on after a signal to end, while readiness answers 503"),
    ):
        kind = _duration if name.startswith("drain") else _positive
        made.add_argument(f"--{name}", type=kind, default=default, metavar="SECONDS", help=f"{meaning}; %(default)s")
    made.add_argument(
        "--connections", type=_count, metavar="N", help="open at a time; default: as descriptors and memory allow"
    )
    made.add_argument(
        "--connections-per-address", type=_count, metavar="N", help="off: behind a proxy all come from one address"
    )


def _duration(text: str) -> float:
    """Read seconds, 0 or more."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, such as 10, not {text!r}")
    return seconds


def _positive(text: str) -> float:
    """Read seconds, more than 0."""
    seconds = _duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"must be more than 0, not {text!r}")
    return seconds


def _count(text: str) -> int:
    """Read a number, 1 or more."""
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise argparse.ArgumentTypeError(f"must be a number such as 1000, not {text!r}")
    return int(text[:9])


def add_credentials_library(made: Any) -> None:
    """Add the option that takes the access key from elsewhere than the settings."""
    made.add_argument(
        "--credentials-library",
        action="store_true",
        help="take the access key from where SDKCredentialsProvider finds it (oss-wsgi[credentials])",
    )


def add_settings(made: Any) -> None:
    """Add an option for each setting, found under its variable's name: text, or None.

    Secrets have no option, for a command line is public on its machine: they come by environment variables alone.
    """
    table = made.add_argument_group("settings, each also an environment variable")
    for row in TABLE:
        if not row.secret:
            meaning = f"{row.help} [{row.variable}{f'; {row.shown_default}' if row.shown_default else ''}]"
            option = "--" + row.name.replace("_", "-")
            table.add_argument(option, dest=row.variable, metavar="VALUE", help=meaning.replace("%", "%%"))


def environ_of(arguments: argparse.Namespace) -> dict[str, str]:
    """Give the environment, ``arguments.environ``, with what the options of settings say."""
    options = {name: value for name, value in vars(arguments).items() if name.startswith("OSS_") and value is not None}
    return {**arguments.environ, **options}
