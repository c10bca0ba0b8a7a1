"""A local OSS at a fixed moment, a client for it, and an application that it calls back."""

import time

import pytest
from webtest import TestApp
from webtest.lint import middleware as lint

from local_oss import CORSRule, LocalOSS

from ..support.server_threads import serving_oss
from .form_client import NOW


class Recorder:
    """The application that gets the callbacks: records them and sends the reply that a test sets."""

    def __init__(self):
        self.requests = []
        self.status = "200 OK"
        self.body = b'{"Status":"Ok"}'
        self.headers = None
        self.closed = 0
        self.on_request = lambda: None

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        self.requests.append((environ, body))
        self.on_request()
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
    """Return a function that makes a LocalOSS; its arguments replace the defaults."""
    instances = []

    def make(**options):
        defaults = {
            "directory": tmp_path / "objects",
            "key_bits": 512,
            "acl": "public-read",
            "clock": lambda: NOW,
            "transport": lint(recorder),
            "cors_rules": [CORSRule(["http://page.example"])],
        }
        oss = LocalOSS(**{**defaults, **options})
        instances.append(oss)
        return oss

    yield make
    for oss in instances:
        oss.close()


@pytest.fixture
def oss(make_oss):
    return make_oss()


@pytest.fixture
def app(oss):
    return TestApp(oss)


@pytest.fixture
def local(make_oss):
    return make_oss(clock=time.time, transport=None)


@pytest.fixture
def server(local):
    with serving_oss(local) as server:
        yield server
