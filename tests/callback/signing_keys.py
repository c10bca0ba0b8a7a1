"""Keys, and a fetcher that returns them, for the tests of PublicKeyStore."""

from __future__ import annotations

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from oss_wsgi.callback.public_keys import PublicKeyStore

KEY = json.loads((Path(__file__).parents[1] / "vectors" / "callbacks.json").read_text("utf-8"))["throwaway_key"]
PEM: str = KEY["pem"]
PEM_BYTES = PEM.encode()
N512 = int(KEY["n"], 16)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_PEM = OTHER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
V2 = "https://gosspublic.alicdn.com/callback_pub_key_v2.pem"
DAY = 24 * 3600


class Fetcher:
    """Returns or raises ``answer``, and records the URLs."""

    def __init__(self, answer: bytes | BaseException = PEM_BYTES) -> None:
        self.answer = answer
        self.urls: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.urls.append(url)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def version(number: int) -> str:
    return f"https://gosspublic.alicdn.com/callback_pub_key_v{number}.pem"


def number_of(store: PublicKeyStore, url: str) -> int:
    return store.get(url).public_numbers().n
