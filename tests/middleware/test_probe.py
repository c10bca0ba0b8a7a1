"""Probe and ProbeGate: what a probe of `oss-wsgi doctor` learns, and that nobody else learns it."""

from __future__ import annotations

import base64
import hashlib
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import webtest

from oss_wsgi import DirectUpload, MemoryLedger, Settings
from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.ledger.place import place_of_file
from oss_wsgi.middleware.probe import (
    PROBE_HEADER,
    PROBE_KEY,
    PROBE_MEMBER,
    ProbeGate,
    prove,
    secret_fingerprint,
    target_digest,
)
from oss_wsgi.testing import FrozenClock

from ..support.example_settings import EXAMPLE

SECRET = "a-secret-of-thirty-two-characters"
BODY = b"object=a%2Fb"


def nothing(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return []


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


def client(clock: FrozenClock, **values: Any) -> webtest.TestApp:
    settings = Settings(**{**EXAMPLE, "ticket_secret": (SECRET,), **values})
    return webtest.TestApp(DirectUpload(nothing, settings, clock=clock))


def probed(app: webtest.TestApp, proof: str, path: str = "/oss/callback", **headers: str) -> webtest.TestResponse:
    defaults = {"Authorization": "AAAA", "x-oss-pub-key-url": "BBBB", PROBE_HEADER: proof}
    sent = {name: value for name, value in {**defaults, **headers}.items() if value}
    return app.post(path, BODY, headers=sent, expect_errors=True)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_the_body_of_a_probe_is_read_at_any_path_and_a_look_uses_no_proof_up(clock: FrozenClock) -> None:
    app = client(clock)
    proof = prove(SECRET, clock.now)
    for path in ("/oss/callback", "/elsewhere"):
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": path, "CONTENT_LENGTH": "9", PROBE_KEY: proof}
        assert app.app.reads_body(environ)
        assert not app.app.reads_body({**environ, PROBE_KEY: prove("another secret of 32 characters", clock.now)})
    assert PROBE_MEMBER in probed(app, proof).json


def test_a_probe_gets_digests_of_what_arrived(clock: FrozenClock) -> None:
    response = probed(client(clock), prove(SECRET, clock.now), "/oss/callback?a=%2F")
    arrived = response.json[PROBE_MEMBER]
    assert (arrived["method"], arrived["target"]) == ("POST", "/oss/callback?a=%2F")
    assert arrived["authorization"] == sha256(b"AAAA")
    assert arrived["pub_key_url"] == sha256(b"BBBB")
    assert arrived["body"] == sha256(BODY)
    assert arrived["content_type"] == "application/x-www-form-urlencoded"
    assert arrived["path_fix"], "it is for a signature that is wrong all the same"
    assert response.headers["Cache-Control"] == "no-store"


def test_bytes_that_are_no_utf_8_do_not_hide_what_arrived(clock: FrozenClock) -> None:
    app = client(clock)
    app.extra_environ = {"SCRIPT_NAME": "/\xff", "REQUEST_URI": "/\xff/oss/callback", "HTTP_X_OSS_PUB_KEY_URL": "中"}
    arrived = probed(app, prove(SECRET, clock.now), **{"x-oss-pub-key-url": ""}).json[PROBE_MEMBER]
    assert (arrived["target"], arrived["path"], arrived["callback_path"]) == ("/\ufffd/oss/callback",) * 3


def test_a_probe_gets_the_targets_that_are_tried(clock: FrozenClock) -> None:
    configured = "https://app.example.com/site/oss/callback?x=1;https://b.example.com/"
    arrived = probed(client(clock, callback_url=configured), prove(SECRET, clock.now)).json[PROBE_MEMBER]
    targets = [b"/oss/callback", b"/site/oss/callback?x=1", b"/"]
    assert arrived["targets"] == [target_digest(target) for target in targets]


def test_without_authorization_a_probe_gets_server_and_fix(clock: FrozenClock) -> None:
    app = client(clock)
    app.extra_environ = {"mod_wsgi.version": "5", "mod_wsgi.process_group": "x"}
    arrived = probed(app, prove(SECRET, clock.now), Authorization="").json[PROBE_MEMBER]
    assert arrived["authorization"] is None
    assert arrived["server"] == "Apache mod_wsgi (daemon)"
    assert "WSGIPassAuthorization On" in arrived["fix"]


def test_with_a_changed_authorization_a_probe_gets_the_cause(clock: FrozenClock) -> None:
    arrived = probed(client(clock), prove(SECRET, clock.now), Authorization="AAAA,AAAA").json[PROBE_MEMBER]
    assert arrived["authorization"] == sha256(b"AAAA,AAAA")
    assert "OSS sends the header once and bare" in arrived["fix"]


@pytest.mark.parametrize(
    ("path", "environ", "fix"),
    [
        pytest.param("/callback", {"REQUEST_URI": "/callback"}, None, id="another path was asked for"),
        pytest.param("/x", {"REQUEST_URI": "/oss/callback"}, "routing by PATH_INFO is broken", id="no part of it"),
        pytest.param("/callback", {"SCRIPT_NAME": "/oss"}, "PATH_INFO holds only the end of the path", id="cut"),
    ],
)
def test_routing_is_blamed_only_where_it_is_wrong(
    path: str, environ: dict[str, str], fix: str | None, clock: FrozenClock
) -> None:
    app = client(clock)
    app.extra_environ = environ
    arrived = probed(app, prove(SECRET, clock.now), path).json[PROBE_MEMBER]
    assert arrived["callback_path"] == f"{environ.get('SCRIPT_NAME', '')}/oss/callback"
    assert arrived["path_fix"] is None if fix is None else fix in arrived["path_fix"]


def test_a_probe_without_a_length_gets_the_problem(clock: FrozenClock) -> None:
    request = webtest.TestRequest.blank("/oss/callback", method="POST")
    request.headers[PROBE_HEADER] = prove(SECRET, clock.now)
    arrived = client(clock).do_request(request).json[PROBE_MEMBER]
    assert "no Content-Length" in arrived["body_problem"]


def is_usual_refusal(app: webtest.TestApp, response: webtest.TestResponse) -> bool:
    usual = app.post("/oss/callback", BODY, headers={"Authorization": "AAAA"}, expect_errors=True)
    return bool((response.status_int, response.body) == (usual.status_int, usual.body) and response.status_int == 403)


def test_an_invalid_old_or_used_proof_gets_the_usual_refusal(clock: FrozenClock) -> None:
    app = client(clock)
    proof = prove(SECRET, clock.now)
    assert probed(app, proof).status_int == 200
    for refused in (proof, prove("x" * 32, clock.now), prove(SECRET, clock.now - 1000), "nonsense", "1.2.3.4"):
        assert is_usual_refusal(app, probed(app, refused))


def test_without_a_configured_secret_no_proof_is_valid(clock: FrozenClock) -> None:
    app = client(clock, ticket_secret=())
    assert is_usual_refusal(app, probed(app, prove(SECRET, clock.now)))
    assert is_usual_refusal(app, probed(app, prove("", clock.now)))


def test_on_another_path_a_probe_learns_that_it_missed(clock: FrozenClock) -> None:
    app = client(clock)
    paths = {"/": False, "/oss/callback/": False, "/oss/health": False, "/oss/callback": True}
    for path, reaches in paths.items():
        assert probed(app, prove(SECRET, clock.now), path).json[PROBE_MEMBER]["reaches_callback"] == reaches


def test_a_probe_is_logged_without_its_proof(clock: FrozenClock, caplog: pytest.LogCaptureFixture) -> None:
    proof = prove(SECRET, clock.now)
    with caplog.at_level(logging.INFO):
        probed(client(clock), proof)
    assert "a probe of oss-wsgi doctor arrived" in caplog.text
    assert proof not in caplog.text
    assert SECRET not in caplog.text


def test_a_run_of_probes_is_one_line(clock: FrozenClock, caplog: pytest.LogCaptureFixture) -> None:
    app = client(clock)
    with caplog.at_level(logging.INFO):
        for seconds, lines in ((0, 1), (1, 1), (60, 1), (200, 2), (1, 2)):
            clock.now += seconds
            probed(app, prove(SECRET, clock.now))
            assert caplog.text.count("a probe of oss-wsgi doctor arrived") == lines


@pytest.fixture
def gate(clock: FrozenClock) -> ProbeGate:
    return ProbeGate([SECRET, "o" * 32], clock=clock)


def test_each_secret_makes_proofs_that_are_valid_once(gate: ProbeGate, clock: FrozenClock) -> None:
    for secret in (SECRET, "o" * 32):
        proof = prove(secret, clock.now)
        assert gate.accepts(proof)
        assert not gate.accepts(proof), "a replay"


def test_a_proof_is_unique_and_hides_the_secret(clock: FrozenClock) -> None:
    first, second = prove(SECRET, clock.now), prove(SECRET, clock.now)
    assert SECRET not in first
    assert first != second


@pytest.mark.parametrize("apart", [-121, 121])
def test_a_proof_outside_the_window_is_invalid(apart: int, gate: ProbeGate, clock: FrozenClock) -> None:
    assert not gate.accepts(prove(SECRET, clock.now + apart))


@pytest.mark.parametrize("apart", [-120, 0, 120])
def test_a_proof_inside_the_window_is_valid_once(apart: int, gate: ProbeGate, clock: FrozenClock) -> None:
    proof = prove(SECRET, clock.now + apart)
    assert gate.accepts(proof)
    for _ in range(360):
        clock.advance(1)
        assert not gate.accepts(proof)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda proof: proof[:-1] + ("0" if proof[-1] != "0" else "1"), id="the code"),
        pytest.param(lambda proof: proof.replace("1.", "1.1", 1), id="the time"),
        pytest.param(lambda proof: proof[:20] + ("0" if proof[20] != "0" else "1") + proof[21:], id="the nonce"),
        pytest.param(lambda proof: proof.upper(), id="the case"),
        pytest.param(lambda proof: f"{proof} ", id="a blank"),
        pytest.param(lambda proof: f"{proof},{proof}", id="twice"),
        pytest.param(lambda proof: proof.replace("1.", "\u0661.", 1), id="another one"),
        pytest.param(lambda proof: "", id="nothing"),
    ],
)
def test_a_changed_proof_is_invalid(change: object, gate: ProbeGate, clock: FrozenClock) -> None:
    assert not gate.accepts(change(prove(SECRET, clock.now)))  # type: ignore[operator]


def test_a_proof_with_another_secret_is_invalid(gate: ProbeGate, clock: FrozenClock) -> None:
    assert not gate.accepts(prove("x" * 32, clock.now))


@pytest.mark.slow
def test_a_flood_of_proofs_is_refused(gate: ProbeGate, clock: FrozenClock) -> None:
    taken = [gate.accepts(prove(SECRET, clock.now)) for _ in range(1100)]
    assert taken.count(True) == 1000
    clock.advance(121)
    assert gate.accepts(prove(SECRET, clock.now)), "what is past its window is forgotten"


def test_one_of_many_simultaneous_uses_is_valid(gate: ProbeGate, clock: FrozenClock) -> None:
    proof = prove(SECRET, clock.now)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(gate.accepts, [proof] * 100)).count(True) == 1


def test_proofs_fingerprints_and_digests_are_those_of_other_releases(gate: ProbeGate) -> None:
    """Which may run at the other end."""
    assert gate.accepts(f"1.1733227932.{'0' * 32}.18dd043d73f8c2930bc00833b987a365f1568a4b6f961c54526de29a6269af44")
    assert secret_fingerprint(SECRET) == "d2beffd0"
    assert target_digest(b"/a%2Fb?c=%20") == sha256(b"/a/b?c=%20\n")


def test_targets_that_sign_alike_have_one_digest() -> None:
    assert target_digest(b"/a%2Fb?c=%20") == target_digest(b"/a/b?c=%20")
    assert target_digest(b"/a/b?c=%20") != target_digest(b"/a/b?c= ")
    assert target_digest(b"/a/b") != target_digest(b"/a/b/")


OTHER_SECRET = "another-secret-of-32-characters-x"


def test_a_probe_gets_the_fingerprints_of_the_secrets(clock: FrozenClock) -> None:
    app = client(clock, ticket_secret=(SECRET, OTHER_SECRET))
    for secret in (SECRET, OTHER_SECRET):
        arrived = probed(app, prove(secret, clock.now)).json[PROBE_MEMBER]
        assert arrived["ticket_secrets"] == [secret_fingerprint(SECRET), secret_fingerprint(OTHER_SECRET)]


def test_a_probe_gets_the_fingerprint_of_the_ledger(clock: FrozenClock, tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.sqlite3")
    arrived = probed(client(clock, ledger=path), prove(SECRET, clock.now)).json[PROBE_MEMBER]
    place = place_of_file(path)
    assert place is not None
    assert arrived["ledger"] == {"fingerprint": place.fingerprint, "is_of_one_machine": True}


def test_a_ledger_of_an_applications_own_need_have_no_place(clock: FrozenClock) -> None:
    class Own(MemoryLedger):
        place = None  # type: ignore[assignment]

    settings = Settings(**EXAMPLE, ticket_secret=(SECRET,))
    app = webtest.TestApp(DirectUpload(nothing, settings, clock=clock, ledger=Own(clock=clock)))
    assert "ledger" not in probed(app, prove(SECRET, clock.now)).json[PROBE_MEMBER]


def test_a_stranger_gets_no_fingerprint(clock: FrozenClock) -> None:
    app = client(clock)
    for path in ("/oss/callback", "/oss/health", "/oss/health/ready", "/oss/signature"):
        response = probed(app, prove(OTHER_SECRET, clock.now), path)
        assert secret_fingerprint(SECRET) not in response.text


def test_a_fingerprint_is_short_and_part_of_no_ticket_and_no_proof(clock: FrozenClock) -> None:
    fingerprint = secret_fingerprint(SECRET)
    assert len(bytes.fromhex(fingerprint)) == 4, "too short to find the secret by trying"
    assert fingerprint != secret_fingerprint(OTHER_SECRET)
    ticket = TicketBook([SECRET], clock=clock).issue(
        bucket="b", key="k", prefix="", sizes=(0, 1), content_types=(), expires=int(clock.now)
    )
    assert base64.urlsafe_b64decode(ticket)[:4].hex() != fingerprint, "a label of its own"
    assert fingerprint not in prove(SECRET, clock.now)


def test_a_probe_gets_the_path_that_the_application_sees(clock: FrozenClock) -> None:
    app = client(clock)
    app.extra_environ = {"SCRIPT_NAME": "/site", "REQUEST_URI": "/elsewhere"}
    arrived = probed(app, prove(SECRET, clock.now), "/site/oss/callback").json[PROBE_MEMBER]
    assert (arrived["path"], arrived["callback_path"]) == ("/site/oss/callback", "/site/oss/callback")
