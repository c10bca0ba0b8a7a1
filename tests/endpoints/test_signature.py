"""SignatureEndpoint: what is signed, for whom, and the refusals."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from typing import Any

import pytest
import webob.exc
import webtest

from oss_wsgi import Credentials, Grant, PostPresigner, Settings, SignatureEndpoint, StaticCredentialsProvider
from oss_wsgi.exceptions import CredentialsError
from oss_wsgi.testing import FrozenClock
from oss_wsgi.wsgi.observers import Observers

from ..support.example_settings import EXAMPLE

SETTINGS = Settings(**EXAMPLE)
CLOCK = FrozenClock()


def client(settings: Settings = SETTINGS, credentials: Any = None, **options: Any) -> webtest.TestApp:
    presigner = PostPresigner(settings, credentials, clock=CLOCK)
    return webtest.TestApp(SignatureEndpoint(presigner, **{"allow_anonymous": True, **options}))


def conditions(answer: dict[str, Any]) -> list[Any]:
    return json.loads(base64.b64decode(answer["policy"]))["conditions"]


def test_the_response_is_json_and_not_cached() -> None:
    response = client().get("/?filename=a.png", extra_environ={"PATH_INFO": ""})
    assert response.status_int == 200
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert int(response.headers["Content-Length"]) == len(response.body)


class RootClient:
    """A client of a mounted endpoint, whose PATH_INFO is empty."""

    def __init__(self, **options: Any) -> None:
        app = client(**options).app
        mounted = {"SCRIPT_NAME": "/sign", "PATH_INFO": ""}
        self.app = webtest.TestApp(lambda environ, start: app({**environ, **mounted}, start))

    def get(self, query: str = "", **more: Any) -> Any:
        return self.app.get(f"/sign{query}", expect_errors=True, **more)


def test_authorize_sees_a_header_that_the_web_server_hid() -> None:
    seen = []

    def authorize(request: webob.Request) -> Grant:
        seen.append((request.headers["Authorization"], request.environ["oss_wsgi.authorization_source"]))
        return Grant()

    hidden = {"REDIRECT_HTTP_AUTHORIZATION": "Basic dXNlcjpwYXNz"}
    assert RootClient(authorize=authorize).get("?filename=a.png", extra_environ=hidden).status_int == 200
    assert seen == [("Basic dXNlcjpwYXNz", "REDIRECT_HTTP_AUTHORIZATION")]


def test_v4_has_the_keys_of_all_its_clients() -> None:
    answer = RootClient().get("?filename=a.png&content_type=image/png&size=5").json
    assert list(answer) == [
        *("method", "url", "fields", "headers", "expire", "accessid", "host", "policy", "signature", "callback", "dir"),
        *("x_oss_signature_version", "version", "x_oss_credential", "x_oss_date", "security_token"),
    ]
    assert answer["expire"] == int(CLOCK()) + 300
    assert answer["security_token"] == ""
    assert answer["host"] == answer["url"] == "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"


def test_v1_has_the_samples_keys_and_fields() -> None:
    settings = Settings(**{**vars(SETTINGS), "signature_version": "v1"})
    answer = RootClient(settings=settings).get().json
    assert list(answer)[5:] == ["accessid", "host", "policy", "signature", "callback", "dir"]
    assert list(answer["fields"]) == [
        *("key", "policy", "callback", "OSSAccessKeyId", "Signature", "success_action_status")
    ]
    assert answer["fields"]["key"] == "user-dir-prefix/${filename}"
    assert answer["dir"] == "user-dir-prefix/"


def test_size_pins_exactly_that_many_bytes() -> None:
    assert ["content-length-range", 5, 5] in conditions(RootClient().get("?filename=a&size=5").json)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?size=-1", "size_malformed"),
        ("?size=", "size_malformed"),
        ("?size=%D9%A5", "size_malformed"),
        ("?size=" + "9" * 16, "size_malformed"),
        ("?size=1&size=2", "size_malformed"),
        ("?filename=", "filename_malformed"),
        ("?filename=a&filename=b", "filename_malformed"),
        ("?filename=%FF", "query_malformed"),
        ("?a&" * 101, "query_malformed"),
        ("?filename=a&b=" + "b" * 16 * 1024, "query_malformed"),
        ("?filename=" + "a" * 5000, "filename_malformed"),
        ("?content_type=png", "content_type_malformed"),
        ("?content_type=image/png%0D%0AX:%20y", "content_type_malformed"),
        ("?content_type=${x}/y", "content_type_malformed"),
    ],
)
def test_a_malformed_parameter_is_400_with_a_sentence(query: str, code: str) -> None:
    response = RootClient().get(query)
    assert response.status_int == 400
    assert response.json["error"]["code"] == code
    assert response.json["error"]["message"].endswith(".")


@pytest.mark.parametrize(
    ("query", "grant", "code"),
    [
        ("?filename=a&size=11", Grant(max_size=10), "size_not_allowed"),
        ("?filename=a&size=" + "9" * 15, Grant(max_size=10), "size_not_allowed"),
        ("?filename=a&content_type=text/html", Grant(content_types=["image/png"]), "content_type_not_allowed"),
    ],
)
def test_a_request_outside_the_grant_is_403_with_a_sentence(query: str, grant: Grant, code: str) -> None:
    response = RootClient(authorize=lambda request: grant).get(query)
    assert response.status_int == 403
    assert response.json["error"]["code"] == code


def test_empty_types_and_unknown_parameters_are_ignored() -> None:
    answer = RootClient().get("?filename=a&content_type=&_=123&v=4&v=5").json
    assert "x-oss-content-type" not in answer["fields"]


def test_without_authorize_every_request_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    response = RootClient(allow_anonymous=False).get()
    assert response.status_int == 403
    assert "OSS_ALLOW_ANONYMOUS" not in response.text
    assert "OSS_ALLOW_ANONYMOUS" in caplog.text
    assert "reason=anonymous " in caplog.text


def test_authorize_may_raise_a_webob_exc(caplog: pytest.LogCaptureFixture) -> None:
    def authorize(request: webob.Request) -> Grant:
        raise webob.exc.HTTPUnauthorized(headers={"WWW-Authenticate": "Basic"})

    response = RootClient(authorize=authorize, allowed_origins=["https://a.example"]).get(
        headers={"Origin": "https://a.example"}
    )
    assert response.status_int == 401
    assert response.headers["WWW-Authenticate"] == "Basic"
    assert [record.getMessage().split(" hint")[0] for record in caplog.records] == [
        "refused: status=401 reason=not_authorized"
    ]
    assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"


def test_missing_or_expired_credentials_are_503() -> None:
    class Down:
        def get_credentials(self) -> Credentials:
            raise CredentialsError("the metadata server does not answer")

    assert RootClient(credentials=Down()).get().status_int == 503
    old = Credentials("id", "secret", "token", datetime.fromtimestamp(CLOCK() - 1, timezone.utc))
    assert RootClient(credentials=StaticCredentialsProvider(old)).get().status_int == 503


def test_an_observer_learns_of_each_form() -> None:
    issued: list[Any] = []
    observers = Observers(on_issued=[lambda grant, facts: issued.append(facts["object"])], clock=CLOCK)
    fields = RootClient(observers=observers).get("?filename=a").json["fields"]
    assert issued == [fields["key"]]


def test_only_without_a_callable_of_the_users_it_never_waits() -> None:
    assert client().app.is_nonblocking("GET", "", {})
    assert not client().app.is_nonblocking("HEAD", "", {})
    credentials: Any = lambda: None  # noqa: E731
    for options in ({"authorize": lambda request: Grant()}, {"credentials": credentials}):
        assert not client(**options).app.is_nonblocking("GET", "", {})


@pytest.mark.parametrize("origin", ["https://any.example", "https://app.example.com"])
def test_a_star_allows_any_origin_without_cookies(origin: str) -> None:
    response = RootClient(allowed_origins=["*", "https://app.example.com"]).get(headers={"Origin": origin})
    assert response.headers.getall("Access-Control-Allow-Origin") == ["*"]
    assert response.headers["Access-Control-Expose-Headers"] == "Retry-After"
    names = {name for name in response.headers if name.startswith("Access-Control")}
    assert names == {"Access-Control-Allow-Origin", "Access-Control-Expose-Headers"}
    requested = {"Origin": origin, "Access-Control-Request-Headers": "x-requested-with"}
    preflight = RootClient(allowed_origins=["*"]).app.options("/sign", headers=requested)
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
    assert preflight.headers["Access-Control-Allow-Headers"] == "x-requested-with"
    assert "Access-Control-Expose-Headers" not in preflight.headers


def test_an_original_name_keeps_the_folders_of_a_relative_path() -> None:
    settings = Settings(**{**vars(SETTINGS), "upload_names": "original"})
    page = RootClient(settings=settings, authorize=lambda request: Grant(dir="uploads/"))
    form = page.get("?filename=sea.jpg&relative_path=holidays/../2026/sea.jpg").json
    assert form["fields"]["key"] == "uploads/holidays/2026/sea.jpg"
    assert page.get(f"?filename=sea.jpg&relative_path={'x/' * 1000}y").status_int == 400
