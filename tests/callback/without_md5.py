"""A cryptographic library without MD5, as callers see it in a FIPS build."""

from __future__ import annotations

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import HashAlgorithm

from oss_wsgi.callback import rsa
from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY, load_public_key


class NoMD5(HashAlgorithm):
    """A hash that the library does not have, so that the refusal is the library's own."""

    name = "md5-refused"
    digest_size = 16
    block_size = 64


def take_md5_away(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rsa, "_DIGEST", NoMD5())
    with pytest.raises(UnsupportedAlgorithm):
        load_public_key(OSS_PUBLIC_KEY).verify(b"s" * 64, b"", PKCS1v15(), rsa._DIGEST)
