"""Servers of the local OSS for the SDKs of the real one."""

import contextlib
import itertools
import socket

import pytest
from webtest.lint import middleware as lint

from local_oss import CORSRule, LocalOSS

from ...support.server_threads import serving_oss


@pytest.fixture(autouse=True)
def example_names(monkeypatch):
    """Let all names below .example resolve to this machine."""
    resolve = socket.getaddrinfo

    def resolve_here(host, *arguments, **options):
        return resolve("127.0.0.1" if str(host).endswith(".example") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)


@pytest.fixture
def serve(recorder, tmp_path):
    """Start a server; keywords replace the default options of its LocalOSS."""
    with contextlib.ExitStack() as stack:
        numbers = itertools.count()

        def serve(**options):
            folder = tmp_path / f"objects-{next(numbers)}"
            defaults = {"directory": folder, "key_bits": 512, "transport": lint(recorder), "allow_public": True}
            oss = stack.enter_context(LocalOSS(**{**defaults, "cors_rules": [CORSRule(["*"])], **options}))
            return stack.enter_context(serving_oss(oss))

        yield serve
