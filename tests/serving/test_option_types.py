"""Values of options are read strictly, and shown where they are refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from oss_wsgi.serving.option_types import address, count, positive_seconds, seconds


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (address, "127.0.0.1:8080", ("127.0.0.1", 8080)),
        (address, ":0", ("127.0.0.1", 0)),
        (address, "[::1]:80", ("::1", 80)),
        (address, "app.example.com:65535", ("app.example.com", 65535)),
        (count, "20", 20),
        (seconds, "0", 0),
        (seconds, "86400", 86_400),
        (positive_seconds, "0.5", 0.5),
    ],
)
def test_a_valid_value_is_read(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((address, text) for text in ("", "8080", "host:", "host:65536", "host:9999999", "host:x", "host:\u0661")),
        (address, "::1:80"),
        *((count, text) for text in ("0", "-1", "1.5", "\u0661", "")),
        *((seconds, text) for text in ("-1", "x", "", "nan", "inf", "86401")),
        *((positive_seconds, text) for text in ("0", "-1", "nan")),
    ],
)
def test_another_value_is_refused_and_shown(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"^must be .*, not ") as caught:
        read(text)
    assert str(caught.value).endswith(f"not {text!r}")
