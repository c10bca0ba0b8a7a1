"""The CORS rules that uploads need, read and obeyed by the local OSS."""

from __future__ import annotations

from dataclasses import replace

import pytest

from local_oss import CORSRule
from local_oss.cors import CORS, read_rules
from oss_wsgi.sdk.cors import Rule, as_xml, origin_problem, with_origins

PAGE = "https://new.example.com"
OTHER = Rule(("https://other.example.com",), ("GET",), (), (), None)
ANYBODY_READS = Rule(("*",), ("GET", "HEAD"), ("range",), ("Content-Range",), 60)
HIDING = Rule(("https://*.example.com",), ("GET", "POST"), ("*",), (), 60)


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
        pytest.param([OTHER, HIDING], [OTHER, Rule((PAGE,)), HIDING], id="before a rule that would hide the answer"),
        pytest.param(
            [HIDING, OTHER, Rule(("http://localhost",))],
            [Rule(("http://localhost", PAGE)), HIDING, OTHER],
            id="ours moves before it",
        ),
        pytest.param(
            [Rule((PAGE,), headers=("content-type",))],
            [Rule((PAGE,)), Rule((PAGE,), headers=("content-type",))],
            id="a rule that lets too few headers through",
        ),
    ],
)
def test_the_change_is_the_least_that_lets_uploads_work(before: list[Rule], after: list[Rule]) -> None:
    rules = with_origins(before, [PAGE])
    assert rules == after
    assert with_origins(rules, [PAGE]) == rules, "a second time nothing changes"
    local_rules = [CORSRule(r.origins, r.methods, r.headers, r.exposed, r.max_age) for r in rules]
    post = {"HTTP_ORIGIN": PAGE, "REQUEST_METHOD": "POST", "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    preflight = {**post, "REQUEST_METHOD": "OPTIONS", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "x-requested-with"}
    assert CORS(local_rules).preflight(preflight).status == 200
    exposed = dict(CORS(local_rules).headers(post))["Access-Control-Expose-Headers"]
    assert {"ETag", "x-oss-request-id"} <= set(exposed.split(", "))


PARTS = Rule((PAGE,), ("POST", "PUT"), exposed=("ETag", "x-oss-request-id", "x-oss-hash-crc64ecma"))
READS_AND_PUTS = Rule(("*",), ("GET", "PUT"), ("*",), ())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([], [PARTS], id="no rules"),
        pytest.param([PARTS], [PARTS], id="there already"),
        pytest.param([Rule((PAGE,))], [PARTS], id="a rule for forms alone becomes ours"),
        pytest.param(
            [OTHER, Rule((PAGE, "http://a.example"), max_age=5)],
            [OTHER, Rule(("http://a.example",), max_age=5), PARTS],
            id="another origin keeps its rule for forms",
        ),
        pytest.param([READS_AND_PUTS], [PARTS, READS_AND_PUTS], id="before a rule that hides the ETag"),
        pytest.param(
            [replace(PARTS, methods=("POST",)), READS_AND_PUTS],
            [PARTS, replace(PARTS, methods=("POST",)), READS_AND_PUTS],
            id="one of the methods is not enough",
        ),
        pytest.param(
            [replace(PARTS, origins=("http://a.example",)), OTHER],
            [replace(PARTS, origins=("http://a.example", PAGE)), OTHER],
            id="ours gets another origin",
        ),
    ],
)
def test_with_parts_the_change_allows_put_and_shows_the_etag(before: list[Rule], after: list[Rule]) -> None:
    rules = with_origins(before, [PAGE], parts=True)
    assert rules == after
    assert with_origins(rules, [PAGE], parts=True) == rules
    assert with_origins(rules, [PAGE]) == rules, "what suffices for parts suffices for forms"
    local_rules = [CORSRule(r.origins, r.methods, r.headers, r.exposed, r.max_age) for r in rules]
    for method in ("POST", "PUT"):
        sent = {"HTTP_ORIGIN": PAGE, "REQUEST_METHOD": method, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": method}
        assert CORS(local_rules).preflight({**sent, "REQUEST_METHOD": "OPTIONS"}).status == 200
        assert "ETag" in dict(CORS(local_rules).headers(sent))["Access-Control-Expose-Headers"]


def test_the_xml_is_what_oss_reads() -> None:
    rules = [OTHER, Rule((PAGE, "http://localhost:*"))]
    read, vary = read_rules(as_xml(rules, True).encode())
    assert vary is True
    assert [Rule(r.allowed_origins, r.allowed_methods, r.allowed_headers, r.expose_headers, r.max_age_seconds)  # type: ignore[arg-type]
            for r in read] == rules  # fmt: skip


@pytest.mark.parametrize("origin", ["*", PAGE, "http://localhost:3000", "http://localhost:*", "https://*.example.com",
                                    "http://[::1]:3000", "capacitor://localhost", "http://a.example:443"])  # fmt: skip
def test_an_origin_that_browsers_send_has_no_problem(origin: str) -> None:
    assert origin_problem(origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        *(
            f"{PAGE}/",
            "app.example.com",
            "https://*",
            "https://*.*.com",
            "",
            "a b",
            f"{PAGE}:443",
            "http://a.example:80",
        ),
        *("https://b\u00fccher.example", "https://a<b>.example", "https://a&b", "https://A.example", f"{PAGE}:0"),
        *(f"{PAGE}:65536", f"{PAGE}:", "null", "https://a.example:"),
    ],
)
def test_an_origin_that_no_browser_sends_has_a_problem(origin: str) -> None:
    assert origin_problem(origin) is not None
