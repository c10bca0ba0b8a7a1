"""Servers of the local OSS for the SDKs of the real one."""

import socket

import pytest
from webtest.lint import middleware as lint

from oss_wsgi.local import CORSRule, LocalOSS, LocalOSSServer


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
    servers = []

    def serve(**options):
        defaults = {"directory": tmp_path / f"objects-{len(servers)}", "key_bits": 512, "transport": lint(recorder)}
        server = LocalOSSServer(LocalOSS(**{**defaults, "cors_rules": [CORSRule(["*"])], **options}))
        servers.append(server)
        server.start()
        return server

    yield serve
    for server in servers:
        server.stop()
        server.oss.close()
