"""A local OSS at a fixed moment, a client for it, and an application that it calls back."""

import time

import pytest
from webtest import TestApp
from webtest.lint import middleware as lint

from oss_wsgi.local import CORSRule, LocalOSS, LocalOSSServer

from .form_client import NOW


class Recorder:
    """The application behind the callback: keeps what it was sent and answers what it is told to."""

    def __init__(self):
        self.requests = []
        self.status = "200 OK"
        self.body = b'{"Status":"Ok"}'
        self.headers = None
        self.closed = 0

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        self.requests.append((environ, body))
        length = ("Content-Length", str(len(self.body)))
        default = [("Content-Type", "application/json"), length]
        start_response(self.status, default if self.headers is None else self.headers)
        return Closing(self)

    @property
    def body_received(self):
        return self.requests[-1][1]

    @property
    def environ(self):
        return self.requests[-1][0]


class Closing:
    def __init__(self, recorder):
        self._recorder = recorder

    def __iter__(self):
        yield self._recorder.body

    def close(self):
        self._recorder.closed += 1


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def make_oss(tmp_path, recorder):
    """Makes a LocalOSS; arguments replace the fixture's own."""
    made = []

    def make(**options):
        defaults = {
            "directory": tmp_path / "objects",
            "key_bits": 512,
            "clock": lambda: NOW,
            "transport": lint(recorder),
            "cors_rules": [CORSRule(["http://page.example"])],
        }
        oss = LocalOSS(**{**defaults, **options})
        made.append(oss)
        return oss

    yield make
    for oss in made:
        oss.close()


@pytest.fixture
def oss(make_oss):
    return make_oss()


@pytest.fixture
def app(oss):
    return TestApp(oss)


@pytest.fixture
def local(make_oss):
    """One that goes by the true time, as a client on a socket does."""
    return make_oss(clock=time.time, transport=None)


@pytest.fixture
def server(local):
    server = LocalOSSServer(local)
    server.start()
    yield server
    server.stop()
