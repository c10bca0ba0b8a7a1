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
    server.add_argument("--listen", type=address, default="127.0.0.1:8080", metavar="HOST:PORT", help="%(default)s")
    server.add_argument(
        "--prefix", default=DEFAULT_PREFIX, help="where the endpoints are mounted; %(default)s"
    )
    server.add_argument("--access-log", action="store_true", help="log a line for each request")
    server.add_argument(
        "--metrics-listen", type=address, metavar="HOST:PORT", help="serve metrics for Prometheus there; off"
    )
    add_credentials_library(server)
    server.add_argument("--log-format", choices=FORMATS, default="text", help="lines of text or of JSON; %(default)s")
    local = made.add_argument_group("local OSS, without effect where a real bucket is configured")
    local.add_argument("--local", action="store_true", help="use the local OSS although a bucket is configured")
    local.add_argument(
        "--local-listen", type=address, default="127.0.0.1:8081", metavar="HOST:PORT", help="%(default)s"
    )
    local.add_argument("--local-dir", metavar="DIR", help="keep the files here; default: a temporary folder")
    add_settings(made)


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
