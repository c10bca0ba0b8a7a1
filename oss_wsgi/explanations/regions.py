"""The regions of OSS, as ``regions.toml`` lists them, and whether OSS sends callbacks from there."""

from __future__ import annotations

from .rows import tables_of

_FILE = "regions.toml"


def region_ids() -> tuple[str, ...]:
    """Return the IDs of the public regions, such as ``cn-hangzhou``."""
    return tuple(tables_of(_FILE)["regions"])


def sends_callbacks(region: str | None) -> bool | None:
    """Return whether OSS sends callbacks from a region; None if the list does not have it, so that nothing is known.

    Source: page "Callback" of OSS's API reference, as of ``callbacks_dated``.
    """
    entry = tables_of(_FILE)["regions"].get(region)
    return None if entry is None else bool(entry["callbacks"])


def callbacks_dated() -> str:
    """Return the date, as ``YYYY-MM-DD``, of the page that lists the regions with callbacks."""
    return str(tables_of(_FILE)["dated"])


def callbacks_source() -> str:
    """Return the address of the page that lists the regions with callbacks."""
    return str(tables_of(_FILE)["source"])
