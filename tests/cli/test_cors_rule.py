"""Which rules a bucket gets: the least change, all others kept, and ours decides where it must."""

from __future__ import annotations

import pytest

from oss_wsgi.cli.cors import Rule, as_xml, origin_problem, planned
from oss_wsgi.local.cors import CORS, CORSRule, read_rules

PAGE = "https://app.example.com"
OTHER = Rule(("https://other.example.com",), ("GET",), (), (), None)
ANYBODY_READS = Rule(("*",), ("GET", "HEAD"), ("range",), ("Content-Range",), 60)
HIDES = Rule(("https://*.example.com",), ("GET", "POST"), ("*",), (), 60)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([], [Rule((PAGE,))], id="no rules"),
        pytest.param([Rule((PAGE,))], [Rule((PAGE,))], id="there already"),
        pytest.param([Rule(("*",), ("GET", "POST"))], [Rule(("*",), ("GET", "POST"))], id="a wider rule suffices"),
        pytest.param([OTHER, ANYBODY_READS], [OTHER, ANYBODY_READS, Rule((PAGE,))], id="others are kept"),
        pytest.param(
            [OTHER, Rule(("https://b.example.com",), max_age=5), ANYBODY_READS],
            [OTHER, Rule(("https://b.example.com", PAGE), max_age=5), ANYBODY_READS],
            id="ours gets another origin",
        ),
        pytest.param([OTHER, HIDES], [OTHER, Rule((PAGE,)), HIDES], id="before a rule that would hide the answer"),
        pytest.param(
            [HIDES, OTHER, Rule(("http://localhost",))],
            [Rule(("http://localhost", PAGE)), HIDES, OTHER],
            id="ours moves before it",
        ),
        pytest.param(
            [Rule((PAGE,), headers=("content-type",))],
            [Rule((PAGE,)), Rule((PAGE,), headers=("content-type",))],
            id="a rule that lets too few headers through",
        ),
    ],
)
def test_the_change_is_the_least_and_uploads_work_after_it(before: list[Rule], after: list[Rule]) -> None:
    rules = planned(before, [PAGE])
    assert rules == after
    assert planned(rules, [PAGE]) == rules, "a second time there is nothing to do"
    made = [CORSRule(r.origins, r.methods, r.headers, r.exposed, r.max_age) for r in rules]
    asked = {"HTTP_ORIGIN": PAGE, "REQUEST_METHOD": "POST", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    preflight = {**asked, "REQUEST_METHOD": "OPTIONS", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "x-requested-with"}
    assert CORS(made).preflight(preflight).status == 200
    exposed = dict(CORS(made).headers(asked))["Access-Control-Expose-Headers"]
    assert {"ETag", "x-oss-request-id"} <= set(exposed.split(", "))


def test_the_xml_is_what_oss_reads() -> None:
    rules = [OTHER, Rule((PAGE, "http://localhost:*"))]
    read, vary = read_rules(as_xml(rules, True).encode())
    assert vary is True
    assert [Rule(r.allowed_origins, r.allowed_methods, r.allowed_headers, r.expose_headers, r.max_age_seconds)  # type: ignore[arg-type]
            for r in read] == rules  # fmt: skip


@pytest.mark.parametrize("origin", ["*", PAGE, "http://localhost:3000", "http://localhost:*", "https://*.example.com",
                                    "http://[::1]:3000", "capacitor://localhost", "http://a.example:443"])  # fmt: skip
def test_origins_that_oss_takes(origin: str) -> None:
    assert origin_problem(origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        *(f"{PAGE}/", "app.example.com", "https://*", "https://*.*.com", "", "a b", f"{PAGE}:443", "http://a.example:80"),
        *("https://b\u00fccher.example", "https://a<b>.example", "https://a&b", "https://A.example", f"{PAGE}:0"),
        *(f"{PAGE}:65536", f"{PAGE}:", "null", "https://a.example:"),
    ],
)
def test_origins_that_are_none(origin: str) -> None:
    assert origin_problem(origin) is not None
