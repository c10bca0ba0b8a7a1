"""Serves the upload page, the signatures and the callbacks with waitress; unconfigured, with a local OSS beside them.

    python server.py                  try it: http://127.0.0.1:8080, nothing to set up
    python server.py --help           what can be set
    gunicorn server:application       the same application under another server
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from oss_wsgi.application import CALLBACK_PATH, DEFAULT_PREFIX, DirectUpload, ledger_of, public_key_store, upload_page
from oss_wsgi.command_line import parser
from oss_wsgi.credentials import from_environ as access_key_from
from oss_wsgi.exceptions import SettingsError
from oss_wsgi.ledger import MemoryLedger
from oss_wsgi.middleware.access_log import AccessLog
from oss_wsgi.middleware.callback import MAX_BODY_BYTES
from oss_wsgi.middleware.dispatcher import check_prefix
from oss_wsgi.responses import refuse
from oss_wsgi.serving import make_server
from oss_wsgi.settings import Settings

if TYPE_CHECKING:
    from argparse import Namespace

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from oss_wsgi.local import LocalOSS

LOCAL_BUCKET = "local-bucket"
LOCAL_REGION = "cn-hangzhou"
# Nothing but callbacks has a body here; waitress refuses from this number on.
MAX_BODY = MAX_BODY_BYTES + 1
MAX_HEADERS = 32 * 1024

log = logging.getLogger("oss_wsgi.server")


class CannotStartError(Exception):
    """Something that keeps the server from starting, in a sentence for the person who started it."""


def site(settings: Settings, prefix: str = DEFAULT_PREFIX, **options: Any) -> DirectUpload:
    """Join the page and the endpoints."""
    page = upload_page(settings, prefix=prefix)
    return DirectUpload(page, settings, prefix=prefix, **options)


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or Ctrl-C; exit status 0 then, 2 when it cannot start."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _leave)
    try:
        with contextlib.ExitStack() as stack:
            run(arguments, stack)
    except (CannotStartError, SettingsError, ValueError) as error:
        for problem in getattr(error, "problems", [str(error)]):
            print(f"server.py: {problem}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit):
        pass
    return 0


def run(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    """Serve as the arguments and the environment say; what must be undone at the end goes onto the stack."""
    options = {name: value for name, value in vars(arguments).items() if name.startswith("OSS_") and value is not None}
    environ = {**os.environ, **options}
    check_prefix(arguments.prefix)
    local = arguments.local or not (is_set(environ, "OSS_BUCKET") or is_set(environ, "OSS_HOST"))
    settings = Settings.from_environ(local_environ(environ) if local else environ)
    listener = stack.enter_context(bind(arguments.listen, "--listen"))
    url = web_address(listener)
    if local:
        if settings.callback_url is None:
            if listener.family == socket.AF_INET6:
                raise CannotStartError("--listen: OSS calls no IPv6 address back: use IPv4, or set OSS_CALLBACK_URL.")
            settings = replace(settings, callback_url=f"{url}{quote(arguments.prefix)}{CALLBACK_PATH}")
        oss = start_local_oss(settings, arguments, url, stack)
        settings = replace(settings, host=oss.host, ledger=settings.ledger or beside(arguments.local_dir))
        keys = public_key_store(settings, {oss.public_key_url: oss.public_key_pem})
        # Without a folder nothing outlives this process, so its memory is the ledger that fits.
        ledger = ledger_of(settings) if settings.ledger else MemoryLedger(clock=time.time)
        uploads = site(settings, arguments.prefix, public_keys=keys, ledger=ledger)
    else:
        uploads = site(settings, arguments.prefix)
    server = make_server(
        AccessLog(uploads, clock=time.monotonic) if arguments.access_log else uploads,
        listener,
        uploads.answers_at_once,
        threads=8,
        connection_limit=1000,
        ident=None,
        max_request_body_size=MAX_BODY,
        max_request_header_size=MAX_HEADERS,
    )
    stack.callback(server.close)
    for line in local_greeting(url, settings, arguments) if local else greeting(url, settings):
        print(line, flush=True)
    server.run()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def is_set(environ: dict[str, str], name: str) -> bool:
    """Tell whether a variable has a value; blanks are none."""
    return bool(environ.get(name, "").strip())


def local_environ(environ: dict[str, str]) -> dict[str, str]:
    """Give the environment with what the local OSS needs filled in; what is set keeps its meaning."""
    defaults = {
        "OSS_BUCKET": LOCAL_BUCKET,
        "OSS_REGION": LOCAL_REGION,
        "OSS_ALLOW_ANONYMOUS": "on",
        "OSS_TICKET_SECRET": secrets.token_hex(32),
    }
    if not any(access_key_from(environ)):
        defaults["OSS_ACCESS_KEY_ID"] = f"local-{secrets.token_hex(8)}"
        defaults["OSS_ACCESS_KEY_SECRET"] = secrets.token_hex(16)
    filled = {name: value for name, value in defaults.items() if not is_set(environ, name)}
    # The local OSS is where the form goes, so where a real one would be does not count.
    return {**environ, **filled, "OSS_HOST": "", "OSS_ENDPOINT": ""}


def start_local_oss(settings: Settings, arguments: Namespace, page: str, stack: contextlib.ExitStack) -> LocalOSS:
    """Start the local OSS; it ends with the stack."""
    try:
        from oss_wsgi.local import CORSRule, LocalOSS, LocalOSSServer
    except ModuleNotFoundError as error:
        raise CannotStartError(
            f"the local OSS needs {error.name}: pip install 'oss-wsgi[local]', or set OSS_BUCKET for the real one."
        ) from error
    key = settings.credentials()
    bucket, _ = settings.place()
    origins = [page, *settings.allowed_origins]
    if page.startswith("http://127.0.0.1:"):
        origins.append(page.replace("127.0.0.1", "localhost", 1))
    try:
        oss = LocalOSS(
            bucket=bucket,
            region=settings.region or LOCAL_REGION,
            access_key_id=key.access_key_id,
            access_key_secret=key.access_key_secret,
            security_token=key.security_token,
            directory=arguments.local_dir,
            cors_rules=[CORSRule(allowed_origins=tuple(origins))],
        )
    except OSError as error:
        raise CannotStartError(f"--local-dir: {arguments.local_dir!r} cannot be used: {error.strerror}.") from error
    stack.enter_context(oss)
    host, port = arguments.local_listen
    try:
        server = LocalOSSServer(oss, host, port)
    except OSError as error:
        raise CannotStartError(_cannot_listen("--local-listen", host, port, error)) from error
    stack.callback(server.stop)
    server.start()
    return oss


def beside(local_dir: str | None) -> str | None:
    """Give the ledger's file for a folder of the local OSS, which lives as long as the folder; None in memory."""
    return f"{os.path.abspath(local_dir)}.ledger.sqlite3" if local_dir else None


@contextlib.contextmanager
def bind(address: tuple[str, int], option: str) -> Iterator[socket.socket]:
    """Give a listening socket."""
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise CannotStartError(_cannot_listen(option, host, port, error)) from error
    with listener:
        yield listener


def _cannot_listen(option: str, host: str, port: int, error: OSError) -> str:
    # socket.create_server adds the address to the system's own words.
    reason = (error.strerror or str(error)).partition(" (while")[0]
    return f"cannot listen on {host}:{port}: {reason}. Choose another with {option} HOST:PORT."


def web_address(listener: socket.socket) -> str:
    """Give the URL at which this machine reaches a listening socket."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def local_greeting(url: str, settings: Settings, arguments: Namespace) -> Iterable[str]:
    """Say what runs, where files go and what to set for the real OSS."""
    yield f"Open {url}/ in a browser and upload something."
    if arguments.local:
        yield f"A local OSS at {settings.host} takes the files, as --local asks."
    else:
        yield f"No bucket is configured: a local OSS at {settings.host} takes the files."
    where = os.path.abspath(arguments.local_dir) if arguments.local_dir else "a temporary folder, removed at the end"
    yield f"Files go to {where}{'' if arguments.local_dir else ' (keep them with --local-dir DIR)'}."
    yield "For the real OSS set OSS_BUCKET, OSS_REGION, OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and OSS_CALLBACK_URL."
    yield "Ctrl-C ends it."


def greeting(url: str, settings: Settings) -> Iterable[str]:
    """Say what runs, and what is missing for the whole road."""
    yield f"Serving {url}/; uploads go to {settings.host}."
    if not settings.callback_url:
        yield "OSS_CALLBACK_URL is not set: OSS will not tell this application of uploads."
    if not settings.allow_anonymous:
        yield "OSS_ALLOW_ANONYMOUS is off and server.py has no authorize: every signature is refused."


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)


def _unconfigured(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    hint = "set OSS_BUCKET and the other OSS_* variables; the local OSS comes with `python server.py` alone"
    return refuse(log, environ, start_response, 503, "not_configured", hint, message="Not configured.")


def application_for(environ: dict[str, str]) -> WSGIApplication:
    """Make the application that other servers load; a wrong setting raises at once, no bucket answers 503."""
    settings = Settings.from_environ(environ)
    return site(settings) if settings.configured else _unconfigured


if __name__ == "__main__":
    sys.exit(main())
else:
    application = application_for(dict(os.environ))
