"""Probes: requests of `oss-wsgi doctor`, which prove by the ticket secret that they may hear what arrived."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as random
import threading
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..callback.verifier import string_to_sign

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
