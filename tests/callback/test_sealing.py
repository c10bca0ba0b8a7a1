"""Sealer: a text opens as it was sealed, under its label and the secrets of now, and no other text opens."""

from __future__ import annotations

import base64
import weakref
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from oss_wsgi.callback.sealing import NONCE_BYTES, Sealer
from oss_wsgi.exceptions import UnverifiedError
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
SECRET = "a secret of 32 characters ......"
NONCE = bytes(range(NONCE_BYTES))


def sealer(label: bytes = b"a label") -> Sealer:
    return Sealer([SECRET], clock=FrozenClock(NOW), label=label, max_text=200)


def reason(text: object, label: bytes = b"a label") -> str:
    with pytest.raises(UnverifiedError) as raised:
        sealer(label).open(text)
    return raised.value.reason


@pytest.mark.parametrize("plain", [b"[]", b"[1]", b"[12]", bytes(range(100))])
def test_what_was_sealed_opens_with_its_nonce_and_day(plain: bytes) -> None:
    text = sealer().seal(NONCE, plain)
    nonce, day, opened = sealer().open(text)
    assert (nonce, day, opened[: len(plain)], opened[len(plain) :].strip()) == (NONCE, NOW // 86400, plain, b"")
    assert len(text) % 4 == 0


def test_what_another_label_sealed_is_foreign() -> None:
    assert reason(sealer().seal(NONCE, b"[]"), b"another label") == "ticket_foreign"


def test_a_text_longer_than_allowed_does_not_open() -> None:
    assert reason(sealer().seal(NONCE, bytes(120))) == "ticket_altered"


def test_every_changed_bit_is_detected() -> None:
    raw = base64.urlsafe_b64decode(sealer().seal(NONCE, b"a text"))
    for position in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[position // 8] ^= 1 << position % 8
        again = base64.urlsafe_b64encode(bytes(changed)).decode()
        assert reason(again) == ("ticket_foreign" if position < 32 else "ticket_altered")


@pytest.mark.parametrize("length", range(3))
def test_every_changed_character_is_detected(length: int) -> None:
    text = sealer().seal(NONCE, b"e" * length)
    for changed in (text[:-1] + chr(ord(text[-1]) ^ 1), text + "=", text + "AAAA", text[:-4]):
        assert reason(changed) == "ticket_altered"


@pytest.mark.parametrize("skipped", ["!", ".", "+", "\n", "="])
def test_a_text_with_characters_that_a_decoder_skips_is_refused(skipped: str) -> None:
    text = sealer().seal(NONCE, b"a text")
    for place in (0, 8, len(text)):
        assert reason(text[:place] + skipped * 4 + text[place:]) == "ticket_altered"


def test_forged_days_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: weakref.WeakSet[Any] = weakref.WeakSet()

    class Key:
        def __init__(self, key: bytes) -> None:
            self.decrypt = AESGCM(key).decrypt
            kept.add(self)

    text = base64.urlsafe_b64decode(sealer().seal(NONCE, b"a text"))
    monkeypatch.setattr("oss_wsgi.callback.sealing.AESGCM", Key)
    opener = sealer()
    for day in range(100):
        forged = base64.urlsafe_b64encode(text[:4] + day.to_bytes(4, "big") + text[8:]).decode()
        with pytest.raises(UnverifiedError, match="ticket_altered"):
            opener.open(forged)
    assert 0 < len(kept) < 20


@pytest.mark.parametrize("secrets", [[], SECRET])
def test_secrets_are_a_list(secrets: Any) -> None:
    with pytest.raises(ValueError, match="sequence of one or more secrets"):
        Sealer(secrets, clock=FrozenClock(), label=b"", max_text=200)
