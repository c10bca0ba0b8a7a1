"""The options of `local-oss`, and what it prints when it is ready."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from oss_wsgi.explanations.text import Text, joined, sentences
from oss_wsgi.serving.option_types import address, count, positive_seconds

if TYPE_CHECKING:
    from argparse import Namespace

    from .application import LocalOSS

PROGRAM = "local-oss"

_ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://[^\s/?#@]+", re.IGNORECASE)


class _Help(argparse.HelpFormatter):
    """The usual help, whose lines end at a blank and never at a hyphen, so that names can be copied."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


def parser() -> argparse.ArgumentParser:
    """Return the parser; `oss-wsgi local` takes the same options. Arguments of `LocalOSS` keep their names."""
    options = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Run a local OSS for development and tests on a port of this machine. Every option has a default.",
        epilog="Other users of this machine can see the command line: give no AccessKey secret that you use elsewhere.",
        allow_abbrev=False,
        formatter_class=_Help,
    )
    add = options.add_argument
    add("--listen", type=address, default="127.0.0.1:8081", metavar="HOST:PORT", help="default: %(default)s")
    add(
        "--tls",
        action="store_true",
        help="serve HTTPS with a certificate of its own for 127.0.0.1 and localhost, kept in --dir",
    )
    add(
        "--dir", dest="directory", metavar="DIR", help="keep the objects and the keys here; default: a temporary folder"
    )
    add(
        "--bucket",
        action="append",
        metavar="NAME",
        help="may be repeated; requests that name no bucket use the first; default: local-bucket",
    )
    add(
        "--acl",
        choices=("private", "public-read"),
        default="private",
        help="of the buckets: who may read objects without a signature; default: %(default)s",
    )
    add(
        "--allow-public",
        action="store_true",
        help="switch Block Public Access off, so that buckets and objects may have a public ACL; --acl public-read "
        "implies it",
    )
    add(
        "--cname",
        dest="cnames",
        type=cname,
        action="append",
        default=[],
        metavar="HOST=BUCKET",
        help="bind a host name to a bucket; may be repeated",
    )
    add("--region", type=region, default="cn-hangzhou", metavar="REGION", help="default: %(default)s")
    add("--access-key-id", metavar="ID", help="default: made at start, kept in --dir")
    add("--access-key-secret", metavar="SECRET", help="default: made at start and printed, kept in --dir")
    add(
        "--refuse-v1",
        action="store_true",
        help="refuse signatures of version 1, as OSS does for new accounts and new buckets",
    )
    add("--security-token", metavar="TOKEN", help="make the key temporary: refuse it without this token")
    add(
        "--cors",
        type=origin,
        action="append",
        default=[],
        metavar="ORIGIN",
        help="let pages of this origin read responses; '*' for any; may be repeated; default: none",
    )
    add("--test-mode", action="store_true", help="let requests ask for faults with the header x-oss-local-fault: NAME")
    add(
        "--log",
        action="store_const",
        const=_print_line,
        help="print each upload as one line: stored, callback, and what went wrong",
    )
    inspector = options.add_mutually_exclusive_group().add_argument
    inspector(
        "--no-inspector",
        dest="inspector",
        action="store_false",
        help="serve no pages at / and /_inspect that show requests and objects",
    )
    inspector(
        "--open-inspector",
        dest="inspector",
        action="store_const",
        const="everywhere",
        help="show those pages to other machines too, and let them act",
    )
    add(
        "--reset",
        dest="reset_keys",
        action="store_true",
        help="with --dir: make a new access key and callback key; keep the objects",
    )
    add(
        "--international",
        action="store_true",
        help="let errors name the page of OSS's international site, as for accounts of that site",
    )
    add(
        "words",
        nargs="*",
        metavar="COMMAND",
        help="after `--`: run this command with the OSS_* variables that lead to the local OSS, and end with it",
    )
    choice = options.add_argument_group("where OSS's documentation is silent or contradicts itself").add_argument
    choice("--strict", action="store_true", help="refuse form fields that the policy does not name")
    choice("--exact-field-names", action="store_true", help="refuse form fields that are not spelled as documented")
    choice(
        "--space-as-plus", action="store_true", help="in callbacks of the form type, write a space in a value as '+'"
    )
    choice(
        "--refuse-private-callback",
        dest="allow_private_callback",
        action="store_false",
        help="call only public addresses, as the real OSS does",
    )
    choice(
        "--callback-timeout",
        type=positive_seconds,
        default=5.0,
        metavar="SECONDS",
        help="wait this long for each callback URL; default: %(default)s",
    )
    choice(
        "--max-cors-rules",
        type=count,
        default=10,
        metavar="NUMBER",
        help="accept at most this many rules for a bucket by ?cors; default: %(default)s",
    )
    return options


def origin(text: str) -> str:
    """Parse an origin as browsers send it; with a slash at the end it would match no page."""
    if not _ORIGIN.fullmatch(text) or text.count("*") > 1 or text.endswith("//*"):
        raise argparse.ArgumentTypeError(f"must be '*' or an origin such as http://localhost:3000, not {text!r}")
    return text


def region(text: str) -> str:
    if not re.fullmatch("[a-z0-9-]+", text):
        raise argparse.ArgumentTypeError(f"must be like cn-hangzhou, not {text!r}")
    return text


def cname(text: str) -> tuple[str, str]:
    """Parse `HOST=BUCKET`; the port of a request does not matter."""
    host, equals, bucket = text.partition("=")
    if not (equals and bucket and re.fullmatch(r"[\w.-]+", host)):
        raise argparse.ArgumentTypeError(f"must be HOST=BUCKET, such as img.example.com=my-bucket, not {text!r}")
    return host, bucket


def _print_line(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # such as `--log | head`; the server goes on
        print(line, flush=True)


def greeting(oss: LocalOSS, arguments: Namespace) -> Iterator[str]:
    """Yield the lines to print at start; they show a secret only if it was made here."""
    secret = "as given" if arguments.access_key_secret else oss.access_key_secret
    token = ", security token as given" if arguments.security_token else ""
    folder = (
        os.path.abspath(arguments.directory)
        if arguments.directory
        else "a temporary folder, removed at the end (--dir DIR)"
    )
    names = ", ".join(bucket.name for bucket in oss.storage.buckets())
    opened = Text("Open {1}/ to see each request, and what is stored.", oss.url) if arguments.inspector else ""
    yield sentences(Text("Local OSS at {1}, region {2}, holding {3}.", oss.url, oss.region, names), opened)
    yield Text("AccessKey ID {1}, secret {2}{3}.", oss.access_key_id, secret, token)
    yield Text("Objects go to {1}. CORS: {2}.", folder, ", ".join(arguments.cors) or "no origin (--cors ORIGIN)")
    if arguments.tls:
        yield f"Let clients trust its certificate, {_certificate(oss)}, by SSL_CERT_FILE, REQUESTS_CA_BUNDLE or such."
    if arguments.cnames:
        yield f"Bound host names: {', '.join(f'{host} to {bucket}' for host, bucket in arguments.cnames)}."
    if arguments.listen[0] not in ("127.0.0.1", "localhost", "::1"):
        is_public = arguments.acl != "private"
        acts = ["read its objects"] * is_public
        acts += ["read objects with a public ACL"] * (arguments.allow_public and not is_public)
        acts += ["use its inspector"] * (arguments.inspector == "everywhere")
        told = (
            Text("anyone who can connect can {1}", joined("{1}, and {2}", acts))
            if acts
            else "only its access key reads and writes"
        )
        yield Text("It listens beyond this machine: {1}.", told)
    made = None if arguments.access_key_secret else oss.access_key_secret
    yield from _client_examples(oss, made, is_temporary=bool(arguments.security_token))
    yield "Ctrl-C ends it."


def short_greeting(oss: LocalOSS, callback_url: str) -> Iterator[str]:
    """Yield the lines to print before the command that the local OSS runs."""
    yield Text("Local OSS at {1}. Open {2}/ to see each request, and what is stored.", oss.url, oss.url)
    yield Text(
        "It calls {1}: if the application listens elsewhere, name its port in the command, or set OSS_CALLBACK_URL.",
        callback_url,
    )


def _client_examples(oss: LocalOSS, secret: str | None, *, is_temporary: bool) -> Iterator[str]:
    url, bucket, region = oss.url, oss.bucket, oss.region
    auth = 'oss2.StsAuth(ID, SECRET, TOKEN, auth_version="v4")' if is_temporary else "oss2.AuthV4(ID, SECRET)"
    yield Text("Clients, with that ID and SECRET{1}:", " and TOKEN" if is_temporary else "")
    yield Text("  forms    POST {1}, callbacks signed with {2}", oss.host, oss.public_key_url)
    yield f'  oss2     oss2.Bucket({auth}, "{url}", "{bucket}", region="{region}")'
    yield f'  oss-v2   cfg.endpoint, cfg.region, cfg.use_path_style = "{url}", "{region}", True'
    yield (
        f'  ali-oss  new OSS({{endpoint: "{url}", bucket: "{bucket}", region: "oss-{region}", authorizationV4: true, '
        f"accessKeyId: ID, accessKeySecret: SECRET{', stsToken: TOKEN' if is_temporary else ''}}})"
    )
    yield (
        f"  ossutil  ossutil ls oss://{bucket} -e {url} --region {region} --addressing-style path "
        f"-i {oss.access_key_id} -k SECRET{' -t TOKEN' if is_temporary else ''}"
    )
    yield Text("  curl     {1} {2}/NAME, if everybody may read (--acl public-read)", _curl(oss), oss.host)
    yield from _oss_wsgi_lines(oss, secret, is_temporary=is_temporary)


def _oss_wsgi_lines(oss: LocalOSS, secret: str | None, *, is_temporary: bool) -> Iterator[str]:
    """Yield lines to paste into another shell: then `oss-wsgi sign`, and an application, use this local OSS."""
    yield "oss-wsgi, or an application with it: paste these lines into its shell:"
    yield f"  {_curl(oss)} -so oss-key.pem {oss.public_key_url}"
    yield (
        f"  export OSS_BUCKET={oss.bucket} OSS_REGION={oss.region} OSS_HOST={oss.host} "
        f'OSS_TRUSTED_KEYS="{oss.public_key_url}=$PWD/oss-key.pem" '
        f"OSS_ACCESS_KEY_ID={oss.access_key_id}{f' OSS_ACCESS_KEY_SECRET={secret}' if secret else ''}"
    )
    # Lines that wait for what is typed would read the lines below them.
    given = ["OSS_ACCESS_KEY_SECRET"] * (not secret) + ["OSS_SESSION_TOKEN"] * is_temporary
    if given:
        reads = "; ".join(f"printf '{name}: '; read -r {name}" for name in given)
        yield f"  {reads}; export {' '.join(given)}"
    yield "An application on port 8080 needs this too: export OSS_CALLBACK_URL=http://127.0.0.1:8080/oss/callback"


def _curl(oss: LocalOSS) -> str:
    return f"curl --cacert {shlex.quote(_certificate(oss))}" if oss.url.startswith("https:") else "curl"


def _certificate(oss: LocalOSS) -> str:
    from .serving.tls import CERTIFICATE_FILE

    return str((oss.directory / CERTIFICATE_FILE).absolute())
