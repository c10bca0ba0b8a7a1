import time

from oss_wsgi.local.environ import ARRIVED, arrival

from .form_client import NOW


def test_a_request_arrived_when_the_server_noted_it(monkeypatch):
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    assert arrival({ARRIVED: 100.0}, NOW) == NOW - 900


def test_without_a_note_it_arrives_now():
    assert arrival({}, NOW) == NOW
