"""What the loop's task caches between requests stays small, whatever clients send."""

from __future__ import annotations

from oss_wsgi.serving.task import MAX_CACHED_KEYS, Keys


def test_header_names_get_the_keys_that_waitress_gives() -> None:
    keys = Keys()
    for _ in range(2):
        assert keys["CONTENT_TYPE"] == "CONTENT_TYPE"
        assert keys["CONTENT_LENGTH"] == "CONTENT_LENGTH"
        assert keys["X_FORWARDED_FOR"] == "HTTP_X_FORWARDED_FOR"
    assert len(keys) == 3


def test_clients_cannot_grow_the_cache() -> None:
    keys = Keys()
    assert keys["X" * 10_000] == "HTTP_" + "X" * 10_000
    assert len(keys) == 0
    for number in range(2 * MAX_CACHED_KEYS):
        assert keys[f"X_{number}"] == f"HTTP_X_{number}"
    assert len(keys) == MAX_CACHED_KEYS
