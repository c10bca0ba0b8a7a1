"""The page of speed is drawn from the kept figures, whatever a release was compared with."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from .test_generated import script_of_docs

speed_chart = script_of_docs("speed_chart")
generate = script_of_docs("generate")
HEADINGS, COLORS = speed_chart.HEADINGS[""], speed_chart.COLORS["light"]
RATES = {"server.py": 17_732, "webob on waitress": 4_415, "php -S": 21_837, "node": 18_709}


def labels(results: dict[str, Any]) -> list[str]:
    """Return the texts of the chart."""
    return [element.text or "" for element in ElementTree.fromstring(speed_chart.chart(results, "", COLORS))]


def figures(rate: int) -> dict[str, float]:
    return {"requests_a_second": rate, "p50_ms": 1.0, "p99_ms": 2.0, "cpu_us": 30, "peak_mib": 40.0}


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return figures that a test may change; the functions read no others."""
    results: dict[str, Any] = {
        "date": "2026-12-01",
        "machine": {"processor": "a processor", "cores": 2, "system": "Linux 6.18"},
        "versions": {"oss_wsgi": "0.1.0", "waitress": "3.0.2", "php": "8.4.28", "node": "20.20.2"},
        "works": {work: {name: figures(rate) for name, rate in RATES.items()} for work in HEADINGS},
    }
    monkeypatch.setattr(generate, "newest", lambda: results)
    return results


def test_a_server_that_did_not_run_is_left_out(results: dict[str, Any]) -> None:
    assert "PHP" in " ".join(labels(results))
    del results["versions"]["php"]
    for work in results["works"].values():
        work.pop("php -S", None)
    assert "PHP" not in " ".join(labels(results))
    assert "PHP" not in generate.speed()


def test_a_server_that_is_not_shown_changes_nothing(results: dict[str, Any]) -> None:
    before = labels(results), generate.speed()
    for work in results["works"].values():
        work["another"] = figures(10**6)
    assert (labels(results), generate.speed()) == before


def test_a_work_that_was_not_measured_is_left_out(results: dict[str, Any]) -> None:
    title = "callback, 16 connections, one for each request"
    assert HEADINGS[title] in labels(results)
    assert generate.speed().count("17,732") == 3
    del results["works"][title]
    assert HEADINGS[title] not in labels(results)
    assert generate.speed().count("17,732") == 2


def test_the_quickest_server_has_the_longest_bar(results: dict[str, Any]) -> None:
    work = results["works"]["signature, 16 connections"]
    assert labels(results)[2] == "PHP 8.4, php -S"
    work["server.py"] = figures(30_000)
    assert labels(results)[2] == "server.py"


def test_the_newest_release_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.1"):
        (tmp_path / f"{version}.json").write_text(json.dumps({"version": version}), encoding="utf-8")
    monkeypatch.setattr(speed_chart, "RESULTS", tmp_path)
    assert speed_chart.newest() == {"version": "0.10.0"}
