"""The side of each page leads to the same page of the newest release and of what is not released yet."""

from __future__ import annotations

from typing import Any

import pytest

from oss_wsgi import __version__

from .test_generated import script_of_docs

conf = script_of_docs("conf")


def versions(page: str, built: str | None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the template gets for a page, in the build that the host calls by this name."""
    monkeypatch.delenv("READTHEDOCS_VERSION", raising=False)
    if built is not None:
        monkeypatch.setenv("READTHEDOCS_VERSION", built)
    context: dict[str, Any] = {}
    conf.offer_both_versions(None, page, "page.html", context, None)
    offered: dict[str, Any] = context["versions"]
    return offered


@pytest.mark.parametrize(
    ("built", "shown"),
    [(None, "Current"), ("latest", "Current"), ("stable", "Released"), ("v1.2.3", "Released")],
)
def test_a_build_says_what_it_is(built: str | None, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = versions("reference/http", built, monkeypatch)["all"]
    assert [each["name"] for each in offered if each["is_shown"]] == [f"{shown} ({__version__})"]
    assert [each["name"] for each in offered if not each["is_shown"]] == list({"Current", "Released"} - {shown})


def test_the_other_build_is_one_click_away_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    released = versions("reference/http", "latest", monkeypatch)["all"][0]
    assert released["url"] == "https://oss-wsgi.readthedocs.io/en/stable/reference/http.html"
    chinese = versions("zh-CN/reference/http", "stable", monkeypatch)
    assert chinese["label"] == "版本"
    assert chinese["all"][1]["url"] == "https://oss-wsgi.readthedocs.io/en/latest/zh-CN/reference/http.html"
    assert [each["name"] for each in chinese["all"]] == [f"已发布 ({__version__})", "开发中"]
