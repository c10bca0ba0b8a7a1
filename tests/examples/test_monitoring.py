"""examples/monitoring/: the alerts fire when they should, and they and the dashboard ask for metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from oss_wsgi import Metrics

from ..support.absent import skip_or_fail

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "monitoring"
REFERENCE = ROOT / "docs" / "reference"


def expressions() -> list[str]:
    rules = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    panels = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    return [rule["expr"] for rule in rules] + [target["expr"] for panel in panels for target in panel["targets"]]


def promtool(*words: str) -> None:
    if shutil.which("promtool") is None:
        skip_or_fail("promtool (Debian's package prometheus)")
    process = subprocess.run(["promtool", *words], cwd=FOLDER, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.slow
@pytest.mark.servers
def test_the_alerts_fire_when_they_should() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")


@pytest.mark.slow
@pytest.mark.servers
def test_prometheus_reads_each_expression_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{n}", "expr": expr.replace("$__rate_interval", "5m")} for n, expr in enumerate(expressions())
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(tmp_path / "rules.yml"))


def test_each_metric_exists() -> None:
    page = (REFERENCE / "metrics.md").read_text(encoding="utf-8")
    known = set(re.findall(r"oss_wsgi_\w+", page))
    asked = {name.removesuffix("_bucket") for text in expressions() for name in re.findall(r"oss_wsgi_\w+", text)}
    assert asked <= known
    assert len(asked) > 8


def outcomes() -> set[str]:
    asked = [names for text in expressions() for names in re.findall(r'outcome=~"([^"]+)"', text)]
    return {name for names in asked for name in names.split("|")}


def test_each_outcome_of_an_alert_exists() -> None:
    page = (REFERENCE / "reasons.md").read_text(encoding="utf-8")
    assert {name for name in outcomes() if f"| `{name}` |" not in page} == {"accepted", "application"}


def test_each_outcome_of_an_alert_is_counted_from_the_start() -> None:
    text = Metrics().text()[1].decode()
    assert {name for name in outcomes() if f'oss_wsgi_callbacks_total{{outcome="{name}"}} 0.0' not in text} == set()
