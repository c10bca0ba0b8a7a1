"""The options of `python -m oss_wsgi.local`."""

from __future__ import annotations

import argparse
import re

PROGRAM = "python -m oss_wsgi.local"

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/?#@]+", re.IGNORECASE)


def address(text: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `[IPV6]:PORT` or `:PORT`; port 0 is any free one."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not (colon and re.fullmatch("[0-9]{1,5}", port) and int(port) < 65536) or (":" in host and not bracketed):
        raise argparse.ArgumentTypeError(f"must be HOST:PORT, such as 127.0.0.1:8081, not {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def origin(text: str) -> str:
    """Read an origin as browsers send it: no slash at the end, or no page would ever match it."""
    if not _ORIGIN.fullmatch(text) or text.count("*") > 1:
        raise argparse.ArgumentTypeError(f"must be '*' or an origin such as http://localhost:3000, not {text!r}")
    return text


def region(text: str) -> str:
    if not re.fullmatch("[a-z0-9-]+", text):
        raise argparse.ArgumentTypeError(f"must be like cn-hangzhou, not {text!r}")
    return text


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        description="A local OSS for development and tests, on a port of this machine. Everything has a default.",
        epilog="A command line is public on its machine: give no AccessKey secret here that opens anything else.",
        allow_abbrev=False,
    )
    made.add_argument("--listen", type=address, default="127.0.0.1:8081", metavar="HOST:PORT", help="%(default)s")
    made.add_argument("--dir", metavar="DIR", help="keep the objects here; default: a temporary folder")
    made.add_argument("--bucket", action="append", metavar="NAME", help="may be repeated; default: local-bucket")
    made.add_argument("--region", type=region, default="cn-hangzhou", metavar="REGION", help="%(default)s")
    made.add_argument("--access-key-id", metavar="ID", help="default: made at start")
    made.add_argument("--access-key-secret", metavar="SECRET", help="default: made at start and printed")
    made.add_argument(
        "--cors",
        type=origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin whose pages may read the answers; '*' for any; may be repeated; default: none",
    )
    made.add_argument("--strict", action="store_true", help="refuse form fields that the policy does not name")
    made.add_argument("--test-mode", action="store_true", help="let forms ask for faults, by x-oss-local-fault: NAME")
    return made
