"""The metrics of several processes, added up."""

from __future__ import annotations

import json

import prometheus_client

from oss_wsgi.serving.joined_metrics import Family, JoinedRegistries, SharedMetrics, add_up, counts_of, families_of


def counted(signatures: int, seconds: float, rows: int) -> list[Family]:
    """Return the families of a process that has counted this, as its parent reads them."""
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("issued", "Forms.", ["kind"], registry=registry).labels("post").inc(signatures)
    prometheus_client.Histogram("seconds", "Time.", buckets=(1, 2), registry=registry).observe(seconds)
    prometheus_client.Gauge("rows", "Rows.", registry=registry).set(rows)
    return [Family(*family) for family in json.loads(json.dumps(families_of(registry)))]


def text(*families: Family) -> str:
    registry = prometheus_client.CollectorRegistry()
    registry.register(SharedMetrics(lambda: (list(families), 2, 1)))
    return str(prometheus_client.generate_latest(registry).decode())


def test_counts_and_histograms_are_added() -> None:
    lines = text(*counted(2, 0.5, 7), *counted(3, 1.5, 7)).splitlines()
    assert 'issued_total{kind="post"} 5.0' in lines
    assert 'seconds_bucket{le="1.0"} 1.0' in lines
    assert 'seconds_bucket{le="+Inf"} 2.0' in lines
    assert "seconds_sum 2.0" in lines


def test_a_gauge_says_what_all_share() -> None:
    assert "rows 9.0" in text(*counted(0, 1, 7), *counted(0, 1, 9)).splitlines()


def test_several_registries_are_shown_as_one() -> None:
    first, second = prometheus_client.CollectorRegistry(), prometheus_client.CollectorRegistry()
    for registry in (first, second):
        prometheus_client.Counter("issued", "Forms.", registry=registry).inc(2)
    joined = JoinedRegistries(first)
    joined.add(second)
    joined.add(first)
    shown = prometheus_client.CollectorRegistry()
    shown.register(joined)
    assert b"issued_total 4.0" in prometheus_client.generate_latest(shown).splitlines()


def test_the_earliest_creation_counts() -> None:
    first, second = ([Family("x", "", "counter", [("x_created", {}, value)])] for value in (30.0, 20.0))
    assert add_up([*first, *second])[0].samples == [("x_created", {}, 20.0)]


def test_processes_and_restarts_are_shown() -> None:
    lines = text().splitlines()
    assert "oss_wsgi_processes 2.0" in lines
    assert "oss_wsgi_process_restarts_total 1.0" in lines


def test_of_a_process_that_ended_only_the_counts_stay() -> None:
    assert [family.name for family in counts_of(counted(1, 1, 1))] == ["issued", "seconds"]
