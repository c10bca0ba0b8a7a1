"""Target, body, guard and diagnosis with the environs that real servers made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oss_wsgi import AuthorizationPassthrough, CallbackGuard, CallbackVerifier
from oss_wsgi.callback.verifier import string_to_sign
from oss_wsgi.testing import CallbackSigner
from oss_wsgi.wsgi.diagnosis import missing_authorization, server_name, wrong_signature
from oss_wsgi.wsgi.environ import AUTHORIZATION_KEYS, find_authorization, raw_target, request_target

from ..recorded.ways import ALL, BODY, CALLBACKS, FAMILIES, TARGETS, Recorded

pytestmark = pytest.mark.slow

# As with OSS's own URL, the Base64 ends in padding.
SIGNER = CallbackSigner(url="http://127.0.0.1/callback_pub_key_test_1.pem")
VERIFIER = CallbackVerifier(SIGNER.public_keys)
KEY_URL = SIGNER.headers("/", b"")["x-oss-pub-key-url"]
STRANGER = "aHR0cDovL2V2aWwuZXhhbXBsZS9rZXkucGVt"
#: Ways that may lose parts of the target: without a raw target, or with a proxy that rewrites it.
LOSSY = {
    *("wsgiref", "django runserver", "gevent", "bjoern", "granian", "hypercorn", "daphne", "uvicorn asgiref"),
    *(
        "twisted",
        "tornado",
        "paste",
        "rocket3",
        "nginx proxy underscores",
    ),  # these and the ones above pass no raw target
    *("eventlet", "uvicorn a2wsgi", "daphne a2wsgi", "werkzeug"),  # a lone '?' or a first '//' is lost
    *("nginx proxy uri", "nginx proxy prefix", "lighttpd proxy", "proxy_http", "proxy_ajp", "passenger"),
    *("caddy", "caddy fastcgi"),  # a '#' that should not be there is encoded
}
CGI_STYLE = ("mod_wsgi daemon", "mod_wsgi embedded", "cgid", "fcgid flup", "fcgid flipflop", "proxy_fcgi", "proxy_scgi")


each_family = pytest.mark.parametrize("family", FAMILIES)


def recordings(family: str) -> list[Recorded]:
    return [recorded for recorded in ALL if recorded.family == family]


@each_family
def test_the_target_is_as_close_to_the_sent_one_as_can_be(family: str) -> None:
    for recorded in recordings(family):
        environ = recorded.environ()
        target = request_target(environ)
        if raw_target(environ)[0] is None:
            assert string_to_sign(target, b"") == string_to_sign(recorded.seen.encode(), b""), str(recorded)
        else:
            assert target == recorded.seen.encode(), str(recorded)


def test_only_the_listed_ways_lose_parts_of_the_target() -> None:
    approximated = {way for ways in FAMILIES.values() for way, data in ways.items() if "seen as" in data}
    assert approximated <= LOSSY
    # Nothing is lost of a callback but behind a front that takes a prefix away, which no environ shows.
    lost = {str(r) for r in CALLBACKS if string_to_sign(r.seen.encode(), b"") != string_to_sign(r.sent.encode(), b"")}
    assert lost == {"gateways: nginx proxy prefix: callback"}


def expected(recorded: Recorded) -> tuple[int, str]:
    """Return the status and the reason that a request must get, given what was sent and what arrived."""
    values, difference = recorded.values, recorded.difference
    length, chunked = values.get("CONTENT_LENGTH", ""), recorded.request in ("chunked", "broken chunk", "chunk cut off")
    if length in ("", "-1") or (chunked and length == "0"):
        if not (chunked and values.get("wsgi.input_terminated")):
            return 411, "length_required"
    elif not length.isdigit():
        return 400, "content_length_malformed"
    value = next((values[key] for key in AUTHORIZATION_KEYS if "{" in values.get(key, "").replace("%{", "")), "")
    if not value:
        return 403, "authorization_missing"
    if value.strip(" \t") not in ("{A}", "{B}", "{A2}"):  # {A2} is what cheroot keeps of a folded one
        return 403, "authorization_malformed"
    url = values.get("HTTP_X_OSS_PUB_KEY_URL")
    if url != "{U}":
        return 403, {None: "pub_key_url_missing", "{V}": "pub_key_url_untrusted"}.get(url, "pub_key_url_malformed")
    body = difference.get("body", BODY.decode())
    if "raises" in difference or len(body) < int(length if length.isdigit() else 0):
        return 400, "body_truncated"
    same = string_to_sign(recorded.seen.encode(), b"") == string_to_sign(recorded.sent.encode(), b"")
    whole = body == BODY.decode() and length in ("", "-1", "0", "90")
    return (200, "") if same and whole and value.strip(" \t") == "{A}" else (403, "signature_wrong")


def answer(recorded: Recorded, caplog: pytest.LogCaptureFixture, **options: Any) -> tuple[int, str]:
    """Call a guard with the recorded environ and valid signatures; return the status and the logged line."""
    statuses: list[str] = []

    def receive(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])) == BODY
        start_response("200 OK", [])
        return []

    environ = recorded.environ(
        # A lone "?" counts as no query.
        a=SIGNER.headers(recorded.sent.removesuffix("?"), BODY)["Authorization"],
        b=SIGNER.headers("/another", BODY)["Authorization"],
        u=KEY_URL,
        v=STRANGER,
    )
    caplog.clear()
    guard = CallbackGuard(receive, VERIFIER, **options)
    list(guard(environ, lambda status, headers: statuses.append(status)))
    for value in (KEY_URL, STRANGER, *(text for text in environ.values() if isinstance(text, str) and len(text) > 80)):
        assert value not in caplog.text, "key names only"
    return int(statuses[0][:3]), caplog.text


@each_family
def test_the_guard_verifies_only_what_arrived_unchanged(family: str, caplog: pytest.LogCaptureFixture) -> None:
    for recorded in recordings(family):
        status, reason = expected(recorded)
        actual, logged = answer(recorded, caplog)
        assert actual == status, (str(recorded), logged)
        assert f"reason={reason} " in logged if reason else not logged, (str(recorded), logged)


def test_the_recordings_cover_each_outcome() -> None:
    outcomes = {expected(recorded) for recorded in ALL}
    reasons = {"authorization_missing", "authorization_malformed", "signature_wrong", "pub_key_url_missing"}
    reasons |= {"pub_key_url_malformed", "pub_key_url_untrusted"}
    assert outcomes == {
        *((403, reason) for reason in reasons),
        (200, ""),
        (400, "content_length_malformed"),
        (400, "body_truncated"),
        (411, "length_required"),
    }


def test_every_way_that_keeps_the_header_is_verified() -> None:
    refused = {recorded.way for recorded in CALLBACKS if expected(recorded)[0] != 200 and recorded.family != "recipes"}
    assert refused == {*CGI_STYLE, "nginx proxy prefix", "nginx proxy stripped", "nginx proxy xauth"}
    # Of the recipes those fail that hosting-facts.md 3.2 says fail, and those that need a trusted key.
    refused = {r.way.partition(":")[0] for r in CALLBACKS if expected(r)[0] != 200 and r.family == "recipes"}
    fails = {"SetEnv literal", "unset early", "no inheritance", "front controller"}
    assert refused == {*fails, "E REMOTE_USER", "RequestHeader expr", "RequestHeader null", "SetEnvIf X literal null"}


def test_the_public_url_verifies_behind_a_stripped_prefix(caplog: pytest.LogCaptureFixture) -> None:
    url = f"https://app.example.com{TARGETS['callback']}"
    assert answer(Recorded("gateways", "nginx proxy prefix", "callback"), caplog, callback_urls=[url])[0] == 200


TWICE = [recorded for recorded in ALL if recorded.request in ("twice", "twice the same")]


def test_two_headers_arrive_joined_or_as_the_last() -> None:
    joined = {recorded.values.get("HTTP_AUTHORIZATION") for recorded in TWICE if recorded.request == "twice"}
    assert joined - {None} >= {"{A},{B}", "{A}, {B}", "{A}{B}", "{B}"}


def test_a_value_in_another_header_of_the_client_is_ignored() -> None:
    for recorded in (each for each in ALL if each.request == "spoofed"):
        assert any("{B}" in value for value in recorded.values.values() if isinstance(value, str)), "the spoofs arrived"
        environ = recorded.environ()
        assert find_authorization(environ) is None, str(recorded)
        seen: list[dict[str, Any]] = []
        collect = seen.append
        AuthorizationPassthrough(lambda inner, start, collect=collect: collect(inner) or [])(
            environ, lambda *args: None
        )
        assert not seen[0].get("HTTP_AUTHORIZATION") or "%{" in seen[0]["HTTP_AUTHORIZATION"], str(recorded)
        assert "oss_wsgi.authorization_source" not in seen[0], str(recorded)


def test_a_value_is_found_under_the_key_that_a_recipe_sets() -> None:
    for recorded in (each for each in CALLBACKS if each.family == "recipes"):
        keys = [key for key, value in recorded.values.items() if value == "{A}"]
        trusted = [key for key in ("REMOTE_USER", "HTTP_X_AUTHORIZATION") if key in keys]
        expected_value = None if not keys else (min(keys, key=[*AUTHORIZATION_KEYS, *trusted].index), "A")
        assert find_authorization(recorded.environ(), trusted) == expected_value, str(recorded)
        if trusted:
            assert find_authorization(recorded.environ()) is None, str(recorded)


WSGI_PASS, CGI_PASS = "WSGIPassAuthorization On", "CGIPassAuth On"
PROXY = 'proxy_set_header Authorization "";'
NAMES = {
    "mod_wsgi daemon": ("Apache mod_wsgi (daemon)", WSGI_PASS),
    "mod_wsgi embedded": ("Apache mod_wsgi (embedded)", WSGI_PASS),
    "mod_wsgi chunked": ("Apache mod_wsgi (daemon)", WSGI_PASS),
    "mod_wsgi mounted": ("Apache mod_wsgi (daemon)", WSGI_PASS),
    "mod_wsgi-express": ("Apache mod_wsgi (daemon)", WSGI_PASS),
    "cgid": ("Apache CGI", CGI_PASS),
    "fcgid flup": ("Apache mod_fcgid", "FcgidPassHeader Authorization"),
    "fcgid flipflop": ("Apache mod_fcgid", "FcgidPassHeader Authorization"),
    "proxy_fcgi": ("Apache mod_proxy_fcgi", CGI_PASS),
    "proxy_scgi": ("Apache mod_proxy_scgi", CGI_PASS),
    "proxy_http": ("waitress", PROXY),
    "proxy_uwsgi": ("Apache mod_proxy_uwsgi", PROXY),
    "proxy_ajp": ("an AJP gateway", PROXY),
    "passenger": ("Phusion Passenger", PROXY),
    "nginx proxy gunicorn": ("gunicorn", PROXY),
    "nginx proxy underscores": ("wsgiref", PROXY),
    "nginx proxy": ("waitress", PROXY),
    "nginx uwsgi": ("uWSGI", PROXY),
    "nginx fastcgi": ("nginx", PROXY),
    "nginx scgi": ("an SCGI gateway", PROXY),
    "lighttpd uwsgi": ("uWSGI", PROXY),
    "lighttpd proxy": ("waitress", PROXY),
    "lighttpd": ("lighttpd", PROXY),
    "haproxy gunicorn": ("gunicorn", PROXY),
    "haproxy": ("waitress", PROXY),
    "caddy fastcgi": ("Caddy", PROXY),
    "caddy": ("waitress", PROXY),
    "django runserver": ("Django runserver", PROXY),
    "aiohttp-wsgi": ("aiohttp", PROXY),
    "paste": ("Paste", PROXY),
    "rocket3": ("Rocket", PROXY),
    "twisted": ("Twisted", PROXY),
    "uvicorn a2wsgi": ("an ASGI server", PROXY),
    "daphne a2wsgi": ("an ASGI server", PROXY),
    "uwsgi http": ("uWSGI", PROXY),
    **dict.fromkeys(("bjoern", "tornado", "hypercorn", "daphne", "uvicorn asgiref"), ("an unknown server", PROXY)),
    **{name: (name, PROXY) for name in ("wsgiref", "waitress", "cheroot", "werkzeug", "gevent", "eventlet")},
    **{name: (name, PROXY) for name in ("gunicorn", "granian")},
}


def name_and_line(way: str) -> tuple[str, str]:
    """Return what the diagnosis must say about a way of hosting; for a recipe, that of its back end."""
    return NAMES[max((name for name in NAMES if way.rpartition(": ")[2].startswith(name)), key=len)]


def test_the_log_of_a_missing_header_names_server_and_fix(caplog: pytest.LogCaptureFixture) -> None:
    for recorded in (each for each in ALL if each.request == "no authorization"):
        if expected(recorded) != (403, "authorization_missing"):
            continue
        name, line = name_and_line(recorded.way)
        assert server_name(recorded.environ()) == name, str(recorded)
        text = missing_authorization(recorded.environ())
        assert f"the server is {name}: " in text
        assert line in text, str(recorded)
        logged = answer(recorded, caplog)[1]
        assert name in logged
        assert line in logged
        assert logged.count("\n") == 1, "one line"
        assert "\\" not in logged, "as it is to be copied"


@pytest.mark.parametrize(
    ("way", "text"),
    [
        ("SetEnv literal: cgid", "HTTP_AUTHORIZATION holds an unexpanded %{...}: SetEnv does not expand it"),
        ("RequestHeader null: cgid", "HTTP_X_AUTHORIZATION holds `(null)`"),
        ("RequestHeader expr: cgid", 'trusted_keys=["HTTP_X_AUTHORIZATION"]'),
        ("unset early: cgid", "a rule sets HTTP_AUTHORIZATION, but it is empty"),
        ("no inheritance: cgid", "a <VirtualHost> does not inherit"),
        ("E REMOTE_USER: cgid", 'trusted_keys=["REMOTE_USER"]'),
    ],
)
def test_the_log_says_why_a_recipe_does_not_work(way: str, text: str) -> None:
    environ = Recorded("recipes", way, "callback").environ(a="A" * 86 + "==")
    assert text in missing_authorization(environ)


def test_a_value_under_a_renamed_header_is_reported() -> None:
    text = missing_authorization(Recorded("gateways", "nginx proxy xauth", "callback").environ())
    assert 'trusted_keys=["HTTP_X_AUTHORIZATION"]' in text


FLUP = {"nginx fastcgi", "proxy_fcgi", "proxy_scgi"}


def test_only_the_path_info_of_flup_does_not_fit_the_target() -> None:
    for recorded in CALLBACKS:
        text = wrong_signature(recorded.environ())
        fixed = recorded.way.startswith("ProxyFCGISetEnvIf path")
        broken = recorded.way.rpartition(": ")[2] in FLUP and not fixed
        assert ("routing by PATH_INFO is broken" in text) == broken, (str(recorded), text)
        if raw_target(recorded.environ())[0] is None:
            assert "rebuilt from PATH_INFO" in text, str(recorded)


def test_the_recordings_hold_no_paths_and_no_secrets() -> None:
    text = json.dumps(FAMILIES)
    assert not [word for word in ("/tmp", "/home", "/usr", "PASSWORD", "SECRET", "LTAI") if word in text]
