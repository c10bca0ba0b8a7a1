"""What the loop's task keeps from one request for the next stays small, whatever clients send."""

from __future__ import annotations

from oss_wsgi.serving.task import _MOST_KEYS, _Keys


def test_the_keys_of_headers_are_those_of_waitress() -> None:
    keys = _Keys()
    for _ in range(2):
        assert keys["CONTENT_TYPE"] == "CONTENT_TYPE"
        assert keys["CONTENT_LENGTH"] == "CONTENT_LENGTH"
        assert keys["X_FORWARDED_FOR"] == "HTTP_X_FORWARDED_FOR"
    assert len(keys) == 3


def test_no_client_makes_it_keep_much() -> None:
    keys = _Keys()
    assert keys["X" * 10_000] == "HTTP_" + "X" * 10_000
    assert len(keys) == 0
    for number in range(2 * _MOST_KEYS):
        assert keys[f"X_{number}"] == f"HTTP_X_{number}"
    assert len(keys) == _MOST_KEYS
