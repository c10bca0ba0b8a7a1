"""Middleware that answers a probe of `oss-wsgi doctor` with what arrived of it."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import secrets as random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..callback.sealing import DerivedSecrets, Secrets
from ..callback.url import target_of
from ..callback.verifier import string_to_sign
from ..explanations.text import parts_of
from ..ledger.base import Ledger
from ..ledger.place import Place
from ..threads import WithLock
from ..wsgi.diagnosis import missed_path, missing_authorization, server_name, several_values, wrong_signature
from ..wsgi.environ import ReceivedCallback, decoded_path, header
from ..wsgi.questions import body_test
from ..wsgi.responses import json_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: The header that carries a probe's proof, and its environ key.
PROBE_HEADER = "x-oss-wsgi-probe"
PROBE_KEY = "HTTP_X_OSS_WSGI_PROBE"

#: Member of the response's JSON.
PROBE_MEMBER = "oss_wsgi_probe"

#: Seconds by which the two clocks may differ.
WINDOW = 120

_PROOF = re.compile(r"1\.([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})")
_MAX_SEEN = 1000

log = logging.getLogger(__name__)


class Probe:
    """Outermost middleware: its response tells `doctor` whether a probe's headers, path and body arrived unchanged.

    The response has digests, the name of the server in front and the fix, as the log has them for a refused callback. A
    request whose proof was made without the secret, is too old or was used already goes to ``app`` like any other.

    Each process remembers only its own proofs. An attacker who intercepts a probe and sends it to another process in
    time learns only the server's name and the request that they sent.

    :param path: PATH_INFO of the callback, at which a probe should arrive.
    :param callback_urls: the callback URLs whose targets are tried besides the received one when a callback is
        verified.
    :param ledger: the one whose place the probe learns.
    :param forms: whether the application's forms bring files of OSS.
    """

    def __init__(
        self,
        app: WSGIApplication,
        gate: ProbeGate,
        path: str,
        callback_urls: Iterable[str] = (),
        ledger: Ledger | None = None,
        *,
        forms: bool = False,
    ) -> None:
        self._app = app
        self._forms = forms
        self._app_reads_body = body_test(app)
        self._ledger = ledger
        self._gate = gate
        self._path = path
        self._targets = [target_digest(target_of(url).encode()) for url in callback_urls]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._gate.accepts(header(environ, PROBE_KEY)):
            return self._app(environ, start_response)
        # One run of `doctor` sends dozens of probes, so only the first is logged at INFO.
        level = logging.INFO if self._gate.remembered == 1 else logging.DEBUG
        log.log(level, "a probe of oss-wsgi doctor arrived (further ones of the next %d s are not logged)", WINDOW)
        return json_response(environ, start_response, 200, {PROBE_MEMBER: self._arrived(environ)})

    def reads_body(self, environ: WSGIEnvironment) -> bool:
        """Return whether a request is a probe, or the application reads its body."""
        return self._gate.recognizes(header(environ, PROBE_KEY)) or self._app_reads_body(environ)

    def _arrived(self, environ: WSGIEnvironment) -> dict[str, Any]:
        """Return what arrived of a probe, as members of the response."""
        received = ReceivedCallback.from_environ(environ)
        reaches_callback = header(environ, "PATH_INFO") == self._path
        has_authorization = received.authorization_key is not None
        arrived: dict[str, Any] = {
            "method": environ["REQUEST_METHOD"],
            "server": server_name(environ),
            "reaches_callback": reaches_callback,
            "target": received.target.decode("utf-8", "replace"),
            "targets": [target_digest(received.target), *self._targets],
            "authorization": _text_digest(received.authorization) if has_authorization else None,
            "pub_key_url": _text_digest(received.pub_key_url),
            "content_type": received.content_type,
            "path": decoded_path(environ).decode("utf-8", "replace"),
            "callback_path": decoded_path({**environ, "PATH_INFO": self._path}).decode("utf-8", "replace"),
            "path_fix": wrong_signature(environ) if reaches_callback else missed_path(environ, self._path),
            "fix": several_values(environ) if has_authorization else missing_authorization(environ),
        }
        arrived["ticket_secrets"] = self._gate.fingerprints
        arrived["forms"] = self._forms
        place = getattr(self._ledger, "place", None)  # a ledger of the application's own need not have one
        if isinstance(place, Place):
            arrived["ledger"] = {"fingerprint": place.fingerprint, "is_of_one_machine": place.is_of_one_machine}
        if received.body_error is None:
            arrived["body"] = hashlib.sha256(received.body).hexdigest()
        else:
            arrived["body_problem"] = received.body_error.hint
        # In the language of the person who runs `doctor` they are said there.
        texts = {name: arrived.get(name) for name in ("fix", "path_fix", "body_problem")}
        arrived["texts"] = {name: parts_of(text) for name, text in texts.items() if text is not None}
        return arrived


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("latin-1", "replace")).hexdigest()


def target_digest(target: bytes) -> str:
    """Return the SHA-256 of a target as OSS signs it: the path decoded, the query unchanged."""
    return hashlib.sha256(string_to_sign(target, b"")).hexdigest()


class ProbeGate(WithLock):
    """Recognizes probes: their proof was made with one of the secrets, within the last two minutes, and is new.

    :param secrets: the ticket secrets, or a callable that returns the current ones.
    :param clock: returns Unix seconds.
    """

    def __init__(self, secrets: Secrets, *, clock: Callable[[], float]) -> None:
        self._proofs = DerivedSecrets(secrets, lambda texts: [(_key(text), secret_fingerprint(text)) for text in texts])
        self._clock = clock
        self._seen: dict[str, float] = {}
        super().__init__()

    @property
    def fingerprints(self) -> list[str]:
        """Return the fingerprints of the secrets; the first secret, which seals, comes first."""
        return [fingerprint for _, fingerprint in self._proofs.current()]

    @property
    def remembered(self) -> int:
        """Return how many accepted proofs are still within the window."""
        return len(self._seen)

    def accepts(self, text: str) -> bool:
        """Return whether a header's text is a valid proof; each proof is accepted once."""
        if not self.recognizes(text):
            return False
        _, moment, nonce, _ = text.split(".")
        now = self._clock()
        with self._lock:
            # Forget proofs outside the window: their time alone refuses them.
            self._seen = {seen: until for seen, until in self._seen.items() if until >= now}
            if nonce in self._seen or len(self._seen) >= _MAX_SEEN:
                return False
            self._seen[nonce] = int(moment) + WINDOW
        return True

    def recognizes(self, text: str) -> bool:
        """Return whether a header's text is a valid proof, which may have been accepted already."""
        match = _PROOF.fullmatch(text)
        if match is None:
            return False
        moment, nonce, _ = match.groups()
        # Compare all keys, so that the time taken does not tell which one fits.
        fits = [hmac.compare_digest(_proof(key, moment, nonce), text) for key, _ in self._proofs.current()]
        return any(fits) and abs(int(moment) - self._clock()) <= WINDOW


def secret_fingerprint(secret: str) -> str:
    """Return eight hex digits by which two machines can tell whether they have the same secret.

    They are derived under their own label, so they reveal nothing about the keys of tickets and probes. Only a probe
    whose proof shows that it has the secret gets them, because 32 bits still tell a right guess from a wrong one.
    """
    return HKDF(SHA256(), 4, salt=None, info=b"oss_wsgi ticket secret fingerprint").derive(secret.encode()).hex()


def prove(secret: str, now: float) -> str:
    """Return the header's text: a proof for one request within the window, which does not reveal the secret."""
    return _proof(_key(secret), str(int(now)), random.token_hex(16))


def _proof(key: bytes, moment: str, nonce: str) -> str:
    signed = f"1.{moment}.{nonce}"
    return f"{signed}.{hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()}"


def _key(secret: str) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"oss_wsgi probe").derive(secret.encode())
