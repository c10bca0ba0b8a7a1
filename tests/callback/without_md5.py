"""A cryptographic library that does not verify RSA with MD5, as callers see it in a FIPS build."""

from __future__ import annotations

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from oss_wsgi.callback import verifier
from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY, load_public_key


class NoPadding(AsymmetricPadding):
    """A padding that the library does not have, so that the refusal is the library's own."""

    name = "refused"


def take_md5_away(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(verifier, "PADDING", NoPadding())
    key = load_public_key(OSS_PUBLIC_KEY)
    assert isinstance(key, RSAPublicKey)
    with pytest.raises(UnsupportedAlgorithm):
        key.recover_data_from_signature(b"s" * 64, verifier.PADDING, None)
