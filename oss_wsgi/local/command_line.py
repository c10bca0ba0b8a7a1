"""The options of `python -m oss_wsgi.local`."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import Namespace

    from .application import LocalOSS


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
    if not _ORIGIN.fullmatch(text) or text.count("*") > 1 or text.endswith("//*"):
        raise argparse.ArgumentTypeError(f"must be '*' or an origin such as http://localhost:3000, not {text!r}")
    return text


def region(text: str) -> str:
    if not re.fullmatch("[a-z0-9-]+", text):
        raise argparse.ArgumentTypeError(f"must be like cn-hangzhou, not {text!r}")
    return text


def cname(text: str) -> tuple[str, str]:
    """Read `HOST=BUCKET`; any port of a host means the same."""
    host, equals, bucket = text.partition("=")
    if not (equals and bucket and re.fullmatch(r"[\w.-]+", host)):
        raise argparse.ArgumentTypeError(f"must be HOST=BUCKET, such as img.example.com=my-bucket, not {text!r}")
    return host, bucket


def number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text) or not int(text):
        raise argparse.ArgumentTypeError(f"must be a number from 1 on, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not float(text):
        raise argparse.ArgumentTypeError(f"must be seconds, such as 5 or 0.5, not {text!r}")
    return float(text)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        description="A local OSS for development and tests, on a port of this machine. Everything has a default.",
        epilog="A command line is public on its machine: give no AccessKey secret here that opens anything else.",
        allow_abbrev=False,
    )
    made.add_argument("--listen", type=address, default="127.0.0.1:8081", metavar="HOST:PORT", help="%(default)s")
    made.add_argument("--dir", metavar="DIR", help="keep the objects here; default: a temporary folder")
    made.add_argument(
        "--bucket",
        action="append",
        metavar="NAME",
        help="may be repeated: the first is meant where a request names none; default: local-bucket",
    )
    made.add_argument(
        "--cname",
        type=cname,
        action="append",
        default=[],
        metavar="HOST=BUCKET",
        help="a host name that is bound to a bucket; may be repeated",
    )
    made.add_argument("--region", type=region, default="cn-hangzhou", metavar="REGION", help="%(default)s")
    made.add_argument("--access-key-id", metavar="ID", help="default: made at start")
    made.add_argument("--access-key-secret", metavar="SECRET", help="default: made at start and printed")
    made.add_argument("--security-token", metavar="TOKEN", help="refuse the key without this token, as a temporary one")
    made.add_argument(
        "--cors",
        type=origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="origin whose pages may read the answers; '*' for any; may be repeated; default: none",
    )
    made.add_argument("--test-mode", action="store_true", help="let requests ask for faults, x-oss-local-fault: NAME")
    _add_choices(made.add_argument_group("what OSS's pages leave open or contradict"))
    return made


def _add_choices(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--strict", action="store_true", help="refuse form fields that the policy does not name")
    group.add_argument(
        "--exact-field-names", action="store_true", help="refuse form fields that are not spelled as documented"
    )
    group.add_argument("--space-as-plus", action="store_true", help="a space in a callback of the form type is '+'")
    group.add_argument(
        "--refuse-private-callback", action="store_true", help="call public addresses only, as the real OSS does"
    )
    group.add_argument(
        "--callback-timeout", type=seconds, default=5.0, metavar="SECONDS", help="for each callback URL; %(default)s"
    )
    group.add_argument(
        "--max-cors-rules", type=number, default=10, metavar="NUMBER", help="that ?cors takes for a bucket; %(default)s"
    )


def greeting(oss: LocalOSS, arguments: Namespace) -> Iterator[str]:
    """A secret is printed only if it was made here."""
    secret = "as given" if arguments.access_key_secret else oss.access_key_secret
    token = ", security token as given" if arguments.security_token else ""
    where = os.path.abspath(arguments.dir) if arguments.dir else "a temporary folder, removed at the end (--dir DIR)"
    names = ", ".join(held.name for held in oss.storage.buckets())
    yield f"Local OSS at {oss.url}, region {oss.region}, holding {names}. Open {oss.url}/ to look into it."
    yield f"AccessKey ID {oss.access_key_id}, secret {secret}{token}."
    yield f"Objects go to {where}. CORS: {', '.join(arguments.cors) or 'no origin (--cors ORIGIN)'}."
    if arguments.cname:
        yield f"Bound names: {', '.join(f'{host} to {bucket}' for host, bucket in arguments.cname)}."
    if arguments.listen[0] not in ("127.0.0.1", "localhost", "::1"):
        yield "It listens beyond this machine: anyone who reaches it may read its objects."
    yield from _clients(oss, temporary=bool(arguments.security_token))
    yield "Ctrl-C ends it."


def _clients(oss: LocalOSS, *, temporary: bool) -> Iterator[str]:
    url, bucket, region = oss.url, oss.bucket, oss.region
    auth = 'oss2.StsAuth(ID, SECRET, TOKEN, auth_version="v4")' if temporary else "oss2.AuthV4(ID, SECRET)"
    yield f"Point at it, with that ID and SECRET{' and TOKEN' if temporary else ''}:"
    yield f"  forms    POST {oss.host}, callbacks signed with {oss.public_key_url}"
    yield f'  oss2     oss2.Bucket({auth}, "{url}", "{bucket}", region="{region}")'
    yield f'  oss-v2   cfg.endpoint, cfg.region, cfg.use_path_style = "{url}", "{region}", True'
    yield (
        f'  ali-oss  new OSS({{endpoint: "{url}", bucket: "{bucket}", region: "oss-{region}", authorizationV4: true, '
        f"accessKeyId: ID, accessKeySecret: SECRET{', stsToken: TOKEN' if temporary else ''}}})"
    )
    yield (
        f"  ossutil  ossutil ls oss://{bucket} -e {url} --region {region} --addressing-style path "
        f"-i {oss.access_key_id} -k SECRET{' -t TOKEN' if temporary else ''}"
    )
    yield f"  curl     curl {oss.host}/NAME"
    yield (
        f"  oss-wsgi OSS_BUCKET={bucket} OSS_HOST={oss.host} OSS_REGION={region} "
        f"OSS_TRUSTED_KEYS={oss.public_key_url}=key.pem, after curl -so key.pem {oss.public_key_url}"
    )
