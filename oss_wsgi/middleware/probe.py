"""Answers a probe of `oss-wsgi doctor` with what arrived of it; all else goes on."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets as random
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..callback.url import target_of
from ..callback.verifier import string_to_sign
from ..exceptions import CallbackError
from ..wsgi.diagnosis import missed_path, missing_authorization, server_name, several_values, wrong_signature
from ..wsgi.environ import decoded_path, find_authorization, header, raw_target, read_body, request_target
from ..wsgi.responses import json_response
from .callback_guard import MAX_BODY_BYTES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


#: The header that carries a probe's proof.
PROBE_HEADER = "x-oss-wsgi-probe"

#: Member of the answer's JSON.
PROBE_MEMBER = "oss_wsgi_probe"

#: Seconds that the two clocks may be apart.
WINDOW = 120

_PROOF = re.compile(r"1\.([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")

_MAX_SEEN = 1000


def prove(secret: str, now: float) -> str:
    """Make the text of the header, good for one request within the window; it does not tell the secret."""
    return _text(_key(secret), str(int(now)), random.token_hex(16))


class ProbeGate:
    """Says whether a request is a probe: made with one of the secrets, now, and not seen before.

    :param secrets: those of the tickets.
    :param clock: gives Unix seconds.
    """

    def __init__(self, secrets: Sequence[str], *, clock: Callable[[], float]) -> None:
        self._keys = [_key(secret) for secret in secrets]
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def takes(self, text: str) -> bool:
        """Tell whether this is the proof of a probe; a second time it is not."""
        match = _PROOF.fullmatch(text)
        if match is None:
            return False
        moment, nonce, _ = match.groups()
        good = [hmac.compare_digest(_text(key, moment, nonce), text) for key in self._keys]
        now = self._clock()
        if not any(good) or abs(int(moment) - now) > WINDOW:
            return False
        with self._lock:
            # Past its window a proof is refused by its time.
            self._seen = {seen: until for seen, until in self._seen.items() if until >= now}
            if nonce in self._seen or len(self._seen) >= _MAX_SEEN:
                return False
            self._seen[nonce] = int(moment) + WINDOW
        return True


def target_digest(target: bytes) -> str:
    """Give the SHA-256 of what OSS signs of a target: path decoded, query as it is."""
    return hashlib.sha256(string_to_sign(target, b"")).hexdigest()


def _key(secret: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"oss_wsgi probe").derive(secret.encode())


def _text(key: bytes, moment: str, nonce: str) -> str:
    said = f"1.{moment}.{nonce}"
    return f"{said}.{hmac.new(key, said.encode(), hashlib.sha256).hexdigest()}"


PROBE_KEY = "HTTP_X_OSS_WSGI_PROBE"

log = logging.getLogger(__name__)


class Probe:
    """Middleware around everything: a probe hears whether header, path and body survived the way here.

    It is told digests, the name of the server in front and the cure, as the log tells them of a refused callback. Who
    lacks the secret, comes late or comes twice is no probe, and gets what ``app`` answers to a stranger.

    Each process remembers for itself what came: who overheard a probe, and asks another process within the window,
    learns the server's name and what he sent himself.

    :param path: PATH_INFO of the callback, which a probe should have.
    :param callback_urls: those over whose targets a callback is verified beside the one received.
    """

    def __init__(self, app: WSGIApplication, gate: ProbeGate, path: str, callback_urls: Iterable[str] = ()) -> None:
        self._app = app
        self._gate = gate
        self._path = path
        self._targets = [target_digest(target_of(url).encode()) for url in callback_urls]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if PROBE_KEY not in environ or not self._gate.takes(header(environ, PROBE_KEY)):
            return self._app(environ, start_response)
        log.info("a probe of oss-wsgi doctor came in")
        arrived = _arrived(environ, self._path)
        arrived["targets"] = [target_digest(request_target(environ)), *self._targets]
        return json_response(environ, start_response, 200, {PROBE_MEMBER: arrived})


def _arrived(environ: WSGIEnvironment, path: str) -> dict[str, Any]:
    found = find_authorization(environ)
    reaches = header(environ, "PATH_INFO") == path
    arrived: dict[str, Any] = {
        "method": environ["REQUEST_METHOD"],
        "server": server_name(environ),
        "reaches_callback": reaches,
        "target": request_target(environ).decode("utf-8", "replace"),
        "target_from": raw_target(environ)[0],
        "authorization": _digest(found[1].encode("latin-1", "replace")) if found else None,
        "pub_key_url": _digest(header(environ, "HTTP_X_OSS_PUB_KEY_URL").encode("latin-1", "replace")),
        "content_type": header(environ, "CONTENT_TYPE"),
        "callback_path": decoded_path({**environ, "PATH_INFO": path}).decode("utf-8", "replace"),
        "path_cure": wrong_signature(environ) if reaches else missed_path(environ, path),
        "cure": several_values(environ) if found else missing_authorization(environ),
    }
    try:
        arrived["body"] = _digest(read_body(environ, MAX_BODY_BYTES))
    except CallbackError as error:
        arrived["body_problem"] = error.hint
    return arrived


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
