"""A bucket of the local OSS, and a client that signs its requests."""

import pytest

from ..signed_client import SignedClient


@pytest.fixture
def client(oss):
    return SignedClient(oss)


@pytest.fixture
def bucket(oss):
    return oss.storage.bucket("examplebucket")
