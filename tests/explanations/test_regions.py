"""The list of regions."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from oss_wsgi.explanations.regions import callbacks_dated, callbacks_source, region_ids, sends_callbacks

ROOT = Path(__file__).parents[2]


def test_oss_sends_callbacks_from_22_of_29_regions() -> None:
    without = [region for region in region_ids() if sends_callbacks(region) is False]
    abroad = ["ap-northeast-2", "ap-southeast-7", "us-east-5", "na-south-1"]
    assert without == ["cn-nanjing", "cn-fuzhou", "cn-wuhan-lr", *abroad]
    assert len(region_ids()) == 29


UNKNOWN = ["cn-hangzhou-finance", "cn-north-2-gov-1", "eu-south-9", "oss-cn-nanjing", "", None]


@pytest.mark.parametrize("region", UNKNOWN)
def test_nothing_is_known_of_a_region_that_is_not_listed(region: str | None) -> None:
    assert sends_callbacks(region) is None


def test_the_list_has_its_page_and_the_day_of_the_page() -> None:
    assert callbacks_source().startswith("https://www.alibabacloud.com/help/")
    assert date(2026, 1, 1) < date.fromisoformat(callbacks_dated()) <= date.today()


def test_no_other_file_of_the_houses_lists_regions() -> None:
    """A list has a region that no example names."""
    files = [path for house in ("oss_wsgi", "local_oss", "static") for path in (ROOT / house).rglob("*")]
    texts = {path: path.read_text("utf-8", "ignore") for path in files if path.suffix in {".py", ".toml", ".js"}}
    lists = [path.name for path, text in texts.items() if re.search(r"\b(na-south-1|cn-wulanchabu)\b", text)]
    assert lists == ["regions.toml"]
