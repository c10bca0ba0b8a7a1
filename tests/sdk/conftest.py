"""A local OSS behind a socket, for the clients of the real one."""

import socket

import pytest
from webtest.lint import middleware as lint

from oss_wsgi.local import CORSRule, LocalOSS, LocalOSSServer
from tests.local.conftest import Recorder


@pytest.fixture(autouse=True)
def example_names(monkeypatch):
    """All names below .example lead to this machine."""
    resolve = socket.getaddrinfo

    def to_here(host, *arguments, **options):
        return resolve("127.0.0.1" if str(host).endswith(".example") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", to_here)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def serve(recorder, tmp_path):
    """Starts a server; arguments replace those of its LocalOSS."""
    started = []

    def start(**options):
        defaults = {"directory": tmp_path / f"objects-{len(started)}", "key_bits": 512, "transport": lint(recorder)}
        server = LocalOSSServer(LocalOSS(**{**defaults, "cors_rules": [CORSRule(["*"])], **options}))
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()
        server.oss.close()
