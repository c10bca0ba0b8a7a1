"""The command after `local-oss --`: an application, which gets the variables that lead to the local OSS."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from oss_wsgi.explanations.text import Text
from oss_wsgi.private_file import write_private
from oss_wsgi.serving.until_stopped import CannotStartError

if TYPE_CHECKING:
    import contextlib

    from .application import LocalOSS

_KEY_FILE = "callback_pub_key.pem"
_LEDGER_FILE = "ledger.sqlite3"
#: The default ports of servers whose port is not the usual one.
_PORTS = {"flask": 5000, "waitress-serve": 8080}
_USUAL_PORT = 8000
_NAMED_PORT = re.compile(r"(?:^|\s)(?:--port|-p|--bind|-b|--listen|runserver)[=\s]+(?:\S*:)?([0-9]{2,5})(?=\s|$)")


def callback_url_of(words: Sequence[str], environ: Mapping[str, str]) -> str:
    """Return OSS_CALLBACK_URL, or else the usual URL at the port that the words name, or at their server's default."""
    named = _NAMED_PORT.search(" ".join(words))
    usual = next((_PORTS[name] for name in map(os.path.basename, words[:3]) if name in _PORTS), _USUAL_PORT)
    url = f"http://127.0.0.1:{named[1] if named else usual}/oss/callback"
    return environ.get("OSS_CALLBACK_URL", "").strip() or url


def page_origins(callback_url: str) -> list[str]:
    """Return the origins of the application's pages: where its callback is, under both names of this machine."""
    parts = urlsplit(callback_url)
    origins = [f"{parts.scheme}://{parts.netloc}"]
    if parts.hostname == "127.0.0.1":
        origins.append(origins[0].replace("127.0.0.1", "localhost"))
    return origins


def environ_with(
    oss: LocalOSS, environ: Mapping[str, str], callback_url: str, *, security_token: str | None = None
) -> dict[str, str]:
    """Return an environment in which an application of oss_wsgi uses a local OSS.

    The ticket secret, OSS_LEDGER and OSS_ALLOW_ANONYMOUS keep their values.
    """
    key_file = oss.directory.absolute() / _KEY_FILE
    write_private(key_file, oss.public_key_pem, replace=True)
    # Credentials of a real bucket would contradict the other variables.
    others = {name: text for name, text in environ.items() if not name.startswith("ALIBABA_CLOUD_")}
    others.pop("OSS_CREDENTIALS_LIBRARY", None)
    if not (others.get("OSS_TICKET_SECRET") or others.get("OSS_TICKET_SECRET_FILE")):
        others["OSS_TICKET_SECRET"] = secrets.token_hex(32)
    return {
        "OSS_ALLOW_ANONYMOUS": "on",
        "OSS_LEDGER": str(oss.directory.absolute() / _LEDGER_FILE),
        **others,
        "OSS_BUCKET": oss.bucket,
        "OSS_REGION": oss.region,
        "OSS_HOST": oss.host,
        "OSS_ENDPOINT": oss.url,
        "OSS_ACCESS_KEY_ID": oss.access_key_id,
        "OSS_ACCESS_KEY_SECRET": oss.access_key_secret,
        "OSS_SESSION_TOKEN": security_token or "",
        "OSS_TRUSTED_KEYS": f"{oss.public_key_url}={key_file}",
        # A page that reports uploads needs no callback.
        "OSS_CALLBACK_URL": "" if environ.get("OSS_REPORT_BY", "").strip().lower() == "page" else callback_url,
    }


def run_command(words: Sequence[str], environ: Mapping[str, str], stack: contextlib.ExitStack) -> int:
    """Run a command, pass signals on to it, and return its exit status, as a shell shows it.

    Ctrl-C in a terminal reaches the command directly. Closing the stack ends the command.

    Raises CannotStartError.
    """
    try:
        process = subprocess.Popen(words, env=dict(environ))  # noqa: S603 - the developer has typed it
    except OSError as error:
        raise CannotStartError(Text("{1} cannot be run: {2}.", repr(words[0]), error.strerror)) from error
    stack.callback(process.wait)
    stack.callback(process.terminate)

    def pass_on(number: int, frame: object) -> None:
        if number == signal.SIGTERM or not _is_in_foreground():
            process.send_signal(number)

    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    status = process.wait()
    return status if status >= 0 else 128 - status


def _is_in_foreground() -> bool:
    """Return whether a terminal sends its signals to this process, and so to its command."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (AttributeError, OSError, ValueError):  # there is no terminal
        return False
