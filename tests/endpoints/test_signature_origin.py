"""SignatureEndpoint refuses pages of other sites, which could use a visitor's cookie."""

from __future__ import annotations

from typing import Any

import pytest
import webob
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi import Grant

from .test_signature import RootClient

HOST = "app.example.com"
LISTED = "https://pages.example.com"


def ask(headers: dict[str, str], *, host: str = HOST, method: str = "GET", **options: Any) -> Any:
    """Send a request as a browser does; a foreign one must not reach ``authorize``."""
    app = RootClient(**options).app
    return app.request("/sign", method=method, headers={**headers, "Host": host}, expect_errors=True)


def never(request: webob.Request) -> Grant:
    raise AssertionError("authorize is called although the origin is foreign")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, id="fetch of another site"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="image or script of another site"),
        pytest.param({"Sec-Fetch-Site": "same-site", "Origin": "https://other.example.com"}, id="sibling host"),
        pytest.param({"Sec-Fetch-Site": "cross-site", "Origin": f"https://{HOST}"}, id="the browser knows better"),
        pytest.param({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, id="sandboxed frame"),
        pytest.param({"Sec-Fetch-Site": "same-origin, cross-site"}, id="two values in one"),
        pytest.param({"Origin": "https://evil.example"}, id="old browser, another site"),
        pytest.param({"Origin": "null"}, id="old browser, opaque origin"),
        pytest.param({"Origin": f"https://{HOST}:8443"}, id="old browser, another port"),
        pytest.param({"Origin": f"https://{HOST}.evil.example"}, id="our name before another's"),
        pytest.param({"Origin": f"https://{HOST}@evil.example"}, id="our name as a user"),
        pytest.param({"Origin": f"https://{HOST[:-1]}"}, id="a name with which ours begins"),
        pytest.param({"Origin": f"{LISTED}, https://evil.example"}, id="two origins, one listed"),
        pytest.param({"Origin": f"{LISTED}/"}, id="listed, with a slash"),
        pytest.param({"Origin": LISTED.replace("https", "http")}, id="listed, other scheme"),
        pytest.param({"Origin": HOST}, id="no scheme"),
        pytest.param({"Origin": "https://"}, id="no host"),
        pytest.param({"Origin": f"file://{HOST}"}, id="no web page"),
    ],
)
def test_another_site_is_refused_before_authorize_is_called(headers: dict[str, str]) -> None:
    response = ask(headers, authorize=never, allowed_origins=[LISTED])
    assert response.status_int == 403
    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.json["error"]["code"] == "origin_foreign"
    assert "origin" in response.json["error"]["message"]


@pytest.mark.parametrize(
    ("headers", "host"),
    [
        pytest.param({}, HOST, id="curl"),
        pytest.param({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}, HOST, id="our page"),
        pytest.param(
            {"Sec-Fetch-Site": "same-origin", "Origin": f"https://{HOST}"}, "10.0.0.7:8080", id="host rewritten"
        ),
        pytest.param({"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, HOST, id="address typed"),
        pytest.param({"Origin": f"https://{HOST}"}, HOST, id="old browser"),
        pytest.param({"Origin": f"https://{HOST.upper()}"}, HOST, id="case of the origin"),
        pytest.param({"Origin": f"https://{HOST}"}, HOST.upper(), id="case of the host"),
        pytest.param({"Origin": f"http://{HOST}"}, HOST, id="http"),
        pytest.param({"Origin": f"https://{HOST}"}, f"{HOST}:443", id="default port, said"),
        pytest.param({"Origin": f"https://{HOST}"}, f"{HOST}:80", id="default port behind a proxy that ends TLS"),
        pytest.param({"Origin": "http://[::1]:8080"}, "[::1]:8080", id="IPv6"),
        pytest.param({"Origin": "", "Sec-Fetch-Site": ""}, HOST, id="a server that passes absent headers as empty"),
        pytest.param({"Sec-Fetch-Site": "cross-site", "Origin": LISTED}, HOST, id="listed"),
        pytest.param({"Origin": LISTED.upper()}, HOST, id="listed, old browser, case"),
    ],
)
def test_own_pages_listed_pages_and_programs_are_served(headers: dict[str, str], host: str) -> None:
    assert ask(headers, host=host, allowed_origins=[LISTED.title()]).status_int == 200


def test_a_listed_page_can_read_the_response_whatever_the_case_of_its_origin() -> None:
    for origin in (LISTED, LISTED.upper()):
        headers = ask({"Origin": origin, "Sec-Fetch-Site": "cross-site"}, allowed_origins=[LISTED.title()]).headers
        assert headers["Access-Control-Allow-Origin"] == origin


def test_without_a_list_only_own_pages_are_served() -> None:
    own = ask({"Origin": f"https://{HOST}"})
    assert own.status_int == 200
    assert not {"Vary", "Access-Control-Allow-Origin"} & set(own.headers)
    assert ask({"Origin": LISTED}).status_int == 403


@pytest.mark.parametrize("origin", ["https://any.example", "null"])
@pytest.mark.parametrize("site", [{}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_star_allows_any_page_that_uses_cors(origin: str, site: dict[str, str]) -> None:
    assert ask({**site, "Origin": origin}, allowed_origins=["*"]).status_int == 200


def test_a_star_allows_no_link_and_no_image() -> None:
    for mode in ("navigate", "no-cors"):
        response = ask({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}, allowed_origins=["*"])
        assert response.status_int == 403


def test_an_opaque_origin_may_be_listed() -> None:
    assert ask({"Origin": "null"}, allowed_origins=["null"]).status_int == 200


def test_only_the_log_says_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    response = ask({"Origin": LISTED, "Sec-Fetch-Site": "cross-site"})
    assert "OSS_ALLOWED_ORIGINS" in caplog.text
    assert "reason=origin_foreign " in caplog.text
    assert LISTED in caplog.text
    assert "OSS_ALLOWED_ORIGINS" not in response.text
    caplog.clear()
    ask({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    assert "a link or an element" in caplog.text


def test_a_long_origin_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    ask({"Origin": "https://" + "a" * 20000})
    assert len(caplog.text) < 1000


def test_a_preflight_is_answered_for_every_site() -> None:
    response = ask({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, method="OPTIONS")
    assert response.status_int == 204


def test_a_request_without_a_host_is_answered() -> None:
    def without_host(environ: dict[str, Any], start_response: Any) -> Any:
        del environ["HTTP_HOST"]
        return app({**environ, "SCRIPT_NAME": "/sign", "PATH_INFO": ""}, start_response)

    client = RootClient()
    app = client.app.app
    client.app.app = without_host
    for origin in (f"https://{HOST}", "https://"):
        assert client.get(headers={"Origin": origin}).status_int == 403
    assert client.get().status_int == 200


HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=40)


@pytest.mark.slow
@given(site=HEADER, origin=HEADER)
def test_no_header_text_gives_500_or_a_signature(site: str, origin: str) -> None:
    response = ask({"Sec-Fetch-Site": f"x{site}", "Origin": f"x{origin}"}, allowed_origins=[LISTED])
    assert response.status_int == 403


def test_a_text_for_the_allowed_origins_is_refused() -> None:
    with pytest.raises(TypeError, match="list of origins"):
        RootClient(allowed_origins="https://*.example.com")
