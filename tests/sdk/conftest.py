"""A local OSS behind a socket, for the clients of the real one."""

import pytest
from webtest.lint import middleware as lint

from oss_wsgi.local import CORSRule, LocalOSS, LocalOSSServer
from tests.local.conftest import Recorder


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
