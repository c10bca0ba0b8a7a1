"""The metrics of several registries, or of several processes, added up as if they were those of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

_GAUGE = "gauge"
_CREATED = "_created"


class Family(NamedTuple):
    """A metric as it goes from one process to another, in JSON: ``samples`` are (name, labels, value)."""

    name: str
    meaning: str
    kind: str
    samples: list[tuple[str, dict[str, str], float]]


def families_of(registry: Any) -> list[Family]:
    """Return what a registry of prometheus_client has counted."""
    return [
        Family(metric.name, metric.documentation, metric.type, [sample[:3] for sample in metric.samples])
        for metric in registry.collect()
    ]


def add_up(families: Iterable[Family]) -> list[Family]:
    """Return one family for each name: counts are added, and of a gauge the highest value is taken.

    Gauges describe what the processes share: the rows of their ledger, and what is left in the bucket.
    """
    totals: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for family in map(Family._make, families):
        totals.setdefault(family.name, family)
        total = values.setdefault(family.name, {})
        for name, labels, value in family.samples:
            key = name, tuple(labels.items())
            if key not in total:
                total[key] = value
            elif name.endswith(_CREATED):
                total[key] = min(total[key], value)
            else:
                total[key] = max(total[key], value) if family.kind == _GAUGE else total[key] + value
    return [
        family._replace(samples=[(name, dict(labels), value) for (name, labels), value in values[name_].items()])
        for name_, family in totals.items()
    ]


def counts_of(families: Iterable[Family]) -> list[Family]:
    """Return the families that still count after the process has ended: all but gauges."""
    return [family for family in map(Family._make, families) if family.kind != _GAUGE]


def _collected(families: Iterable[Family]) -> Iterator[Any]:
    """Yield families as a registry of prometheus_client collects them."""
    from prometheus_client.core import Metric

    for family in add_up(families):
        metric = Metric(family.name, family.meaning, family.kind)
        for name, labels, value in family.samples:
            metric.add_sample(name, labels, value)
        yield metric


class JoinedRegistries:
    """A collector for a registry: the metrics of several others. ``add`` may be called while it is served."""

    def __init__(self, *registries: Any) -> None:
        self._registries = list(registries)

    def add(self, registry: Any) -> None:
        """Add a registry, unless it is there already."""
        if not any(registry is other for other in self._registries):
            self._registries.append(registry)

    def families(self) -> list[Family]:
        """Return what all have counted."""
        return add_up(family for registry in self._registries for family in families_of(registry))

    def collect(self) -> Iterator[Any]:
        yield from _collected(self.families())

    def describe(self) -> list[Any]:
        """Return nothing, so that registering collects nothing."""
        return []


class SharedMetrics:
    """A collector for a registry: the metrics of several processes, how many serve, and how often one was restarted.

    :param collect: returns what all have counted, how many serve, and the number of restarts.
    """

    def __init__(self, collect: Callable[[], tuple[list[Family], int, int]]) -> None:
        self._collect = collect

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        families, serving, restarts = self._collect()
        yield from _collected(families)
        yield GaugeMetricFamily("oss_wsgi_processes", "Processes that serve.", serving)
        yield CounterMetricFamily("oss_wsgi_process_restarts", "Processes that ended and were started again.", restarts)

    def describe(self) -> list[Any]:
        """Return nothing, so that registering asks no process."""
        return []
