"""One key for every local OSS of these tests: making a key takes longer than an attack."""

from __future__ import annotations

from functools import cache

import pytest

from oss_wsgi.local.callbacks.signing_key import CallbackKey


@pytest.fixture(scope="package", autouse=True)
def _one_key() -> pytest.MonkeyPatch:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CallbackKey, "generate", cache(CallbackKey.generate))
        yield patch
