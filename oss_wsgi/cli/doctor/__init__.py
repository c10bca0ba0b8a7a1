"""The `doctor` command: its checks, and what they share."""

from .command import add

__all__ = ["add"]
