"""How both command lines that start servers read an option: HOST:PORT, a number or seconds, as ``type`` of argparse."""

from __future__ import annotations

from argparse import ArgumentTypeError


def address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT``; port 0 means any free one."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not (colon and port.isascii() and port.isdigit() and int(port[:6]) < 65536) or (":" in host and not bracketed):
        raise ArgumentTypeError(f"must be HOST:PORT, such as 127.0.0.1:8080, not {text!r}")
    return host.strip("[]") or "127.0.0.1", int(port)


def count(text: str) -> int:
    """Read a whole number, 1 or more."""
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise ArgumentTypeError(f"must be a whole number such as 1000, not {text!r}")
    return int(text[:9])


def seconds(text: str) -> float:
    """Read a number of seconds, 0 or more, up to a day."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 86_400:
        raise ArgumentTypeError(f"must be a number of seconds, such as 10, not {text!r}")
    return number


def positive_seconds(text: str) -> float:
    """Read a number of seconds, more than 0."""
    number = seconds(text)
    if not number:
        raise ArgumentTypeError(f"must be a number of seconds over 0, not {text!r}")
    return number
