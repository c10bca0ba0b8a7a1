"""Observers hear what happens and change nothing; RequestFacts holds the facts of a request."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import webtest

from oss_wsgi import AccessLog, DirectUpload, Grant, Settings
from oss_wsgi.testing import CallbackSigner, UploadClient, callback_body
from oss_wsgi.wsgi.observers import Observers

from ..support.callbacks import post_callback, without_signed_id

SIGNER = CallbackSigner()
SECRET = "ExampleSecret0000000000000000A"
SETTINGS = Settings(
    bucket="examplebucket",
    region="cn-hangzhou",
    access_key_id="LTAI5tExampleKeyId000001",
    access_key_secret=SECRET,
    session_token="TheSessionToken",
    callback_url="https://app.example.com/oss/callback",
    ticket_secret=("t" * 32,),
    upload_content_types=["image/png"],
)
GRANT = Grant(user="eric", dir="users/eric")


class Recorder:
    def __init__(self) -> None:
        self.issued: list[tuple[Grant, dict[str, Any]]] = []
        self.refused: list[tuple[str, int, dict[str, Any]]] = []

    def on_issued(self, grant: Grant, facts: Any) -> None:
        self.issued.append((grant, facts))

    def on_refused(self, reason: str, status: int, facts: Any) -> None:
        self.refused.append((reason, status, facts))


def client(observers: Recorder, **options: Any) -> webtest.TestApp:
    sent = {"authorize": lambda request: GRANT, "public_keys": SIGNER.public_keys, **options}
    app = DirectUpload(
        lambda environ, start: [], SETTINGS, on_issued=observers.on_issued, on_refused=observers.on_refused, **sent
    )
    return webtest.TestApp(app, extra_environ={"HTTP_X_REQUEST_ID": "r1", "REMOTE_ADDR": "192.0.2.1"})


def test_on_issued_gets_the_grant_and_facts_without_secrets() -> None:
    observers = Recorder()
    signed = client(observers).get("/oss/signature?filename=a.png").json
    ((grant, facts),) = observers.issued
    assert grant is GRANT
    assert facts == {
        "request_id": "r1",
        "address": "192.0.2.1",
        "method": "GET",
        "path": "/oss/signature",
        "user": "eric",
        "object": signed["fields"]["key"],
        "expires": signed["expire"],
        "url": signed["url"],
    }
    assert observers.refused == []


def test_on_refused_gets_the_reason_of_a_refused_signature() -> None:
    observers = Recorder()
    client(observers).get("/oss/signature?filename=a.gif&content_type=image/gif", status=403)
    client(observers, authorize=lambda request: None).get("/oss/signature", status=403)
    client(observers).get("/oss/nothing", status=404)
    assert [(reason, status, facts.get("user")) for reason, status, facts in observers.refused] == [
        ("content_type_not_allowed", 403, "eric"),
        ("not_authorized", 403, None),
        ("not_found", 404, None),
    ]
    assert {(facts["request_id"], facts["reason"]) for _, _, facts in observers.refused} == {
        *(("r1", reason) for reason, _, _ in observers.refused),
    }
    assert observers.issued == []


def test_on_refused_gets_user_and_object_only_of_a_verified_callback() -> None:
    observers = Recorder()
    app = client(observers, on_upload=lambda upload: 1 / 0)
    body = callback_body(app.get("/oss/signature?filename=a.png").json, size=6, mime_type="image/png")
    headers: dict[str, str | None] = {"x-oss-request-id": "674EF4EC"}
    post_callback(app, body, SIGNER, headers={**headers, "Authorization": "AAAA"}, status=403)
    post_callback(app, body, SIGNER, headers=headers, status=500)
    (wrong, _, unverified), (failed, status, verified) = observers.refused
    assert (wrong, failed, status) == ("signature_wrong", "handler_failed", 500)
    assert unverified["oss_request_id"] == verified["oss_request_id"] == "674EF4EC"
    assert "user" not in unverified
    assert (verified["user"], verified["object"]) == ("eric", observers.issued[0][1]["object"])


def test_observers_get_no_secrets() -> None:
    observers = Recorder()
    app = client(observers)
    signed = app.get("/oss/signature?filename=a.png").json
    body = callback_body(signed, size=6, mime_type="image/png")
    headers = SIGNER.headers("/oss/callback", body)
    wrong = SIGNER.headers("/x", body)["Authorization"]
    for changed in (body + b"&x=1", body):
        app.post("/oss/callback", changed, headers={**headers, "Authorization": wrong}, status=403)
    reported = json.dumps([facts for _, facts in observers.issued] + [facts for _, _, facts in observers.refused])
    fields = signed["fields"]
    secrets = [SECRET, "TheSessionToken", fields["policy"], fields["x-oss-signature"], fields["callback"]]
    secrets += [wrong, body.decode().partition("ticket=")[2]]
    assert all(secret and secret not in reported for secret in secrets)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_an_observer_that_raises_changes_no_response(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def on_issued(self, grant: Grant, facts: Any) -> None:
            facts.clear()
            raise error

        def on_refused(self, reason: str, status: int, facts: Any) -> None:
            raise error

    quiet, failing = Recorder(), Failing()
    for observers in (quiet, failing):
        assert client(observers).get("/oss/signature?filename=a.png").status_int == 200
    responses = [client(recorder).get("/oss/signature?size=x", status=400).json for recorder in (quiet, failing)]
    assert responses[0] == responses[1]
    assert "on_issued raised" in caplog.text
    assert "on_refused raised" in caplog.text


def test_the_next_observer_is_called_after_one_that_raises() -> None:
    calls: list[Any] = []
    observers = Observers(
        on_issued=[lambda grant, facts: 1 / 0, lambda grant, facts: calls.append(facts)],
        on_refused=[lambda reason, status, facts: facts.clear(), lambda *refusal: calls.append(refusal)],
        on_answered=[lambda *answer: 1 / 0, lambda *answer: calls.append(answer)],
        clock=lambda: 0.0,
    )
    facts = {"object": "a"}
    observers.issued(GRANT, facts)
    observers.refused("ticket_used", 409, facts)
    observers.answered("callback", 200, 0.5, None)
    assert calls == [{"object": "a"}, ("ticket_used", 409, {"object": "a"}), ("callback", 200, 0.5, None)]
    assert calls[0] is not facts


def test_a_whole_upload_works_with_observers() -> None:
    observers = Recorder()
    options: dict[str, Any] = {"on_issued": observers.on_issued, "on_refused": observers.on_refused}
    with UploadClient(lambda environ, start: [], authorize=lambda request: GRANT, **options) as upload_client:
        answer = upload_client.upload("cat.png", b"123456", content_type="image/png").json
        assert without_signed_id(answer) == {"Status": "Ok"}
    assert [facts["user"] for _, facts in observers.issued] == ["eric"]
    assert observers.refused == []


def test_the_access_log_has_user_and_object_of_a_verified_callback(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    upload_app = DirectUpload(
        lambda environ, start: [], SETTINGS, authorize=lambda request: GRANT, public_keys=SIGNER.public_keys
    )
    app = webtest.TestApp(AccessLog(upload_app, clock=lambda: 0.0))
    signed = app.get("/oss/signature?filename=a.png").json
    body = callback_body(signed, size=6, mime_type="image/png")
    for _ in range(2):
        post_callback(app, body, SIGNER)
    lines = [vars(record) for record in caplog.records if record.name.endswith("access_log")]
    assert [(line["user"], line["object"], line.get("reason")) for line in lines] == [
        ("eric", signed["fields"]["key"], None),
        ("eric", signed["fields"]["key"], None),
        ("eric", signed["fields"]["key"], "repeated"),
    ]


def test_a_ticket_mismatch_is_reported_with_the_tickets_user() -> None:
    observers = Recorder()
    app = client(observers)
    body = callback_body(app.get("/oss/signature?filename=a.png&size=6").json, size=7, mime_type="image/png")
    post_callback(app, body, SIGNER, status=403)
    ((reason, status, facts),) = observers.refused
    assert (reason, status, facts["user"], facts.get("object")) == ("ticket_mismatch", 403, "eric", None)


def test_a_refusal_without_observers_logs_user_and_object(caplog: pytest.LogCaptureFixture) -> None:
    upload_app = DirectUpload(
        lambda environ, start: [],
        SETTINGS,
        authorize=lambda request: GRANT,
        on_upload=lambda upload: 1 / 0,  # type: ignore[arg-type,return-value]
        public_keys=SIGNER.public_keys,
    )
    app = webtest.TestApp(upload_app)
    app.get("/oss/signature?filename=a.gif&content_type=image/gif", status=403)
    signed = app.get("/oss/signature?filename=a.png").json
    body = callback_body(signed, size=6, mime_type="image/png")
    post_callback(app, body, SIGNER, status=500)
    outside, failed = (vars(record) for record in caplog.records if "refused" in record.getMessage())
    assert (outside["reason"], outside["user"]) == ("content_type_not_allowed", "eric")
    assert (failed["reason"], failed["user"], failed["object"]) == ("handler_failed", "eric", signed["fields"]["key"])
