import pytest

from local_oss.callbacks.sender import (
    FAULT_REPLIES,
    CallbackCall,
    CallbackError,
    CallbackReply,
    accepted_body,
    cannot_connect,
    timed_out,
)
from local_oss.errors import ErrorText
from local_oss.inspector.exchange import Exchange
from local_oss.inspector.outcome import outcome
from oss_wsgi.explanations.rows import find

from ..form_client import callback_field, form, policy, post, sign_v1


@pytest.fixture
def lines():
    return []


@pytest.fixture
def oss(make_oss, lines):
    return make_oss(log=lines.append)


def test_an_upload_is_one_line(upload, lines):
    value = callback_field()
    upload("图.txt", callback=value, conditions=[{"callback": value}])
    assert len(lines) == 1
    assert lines[0].startswith("ok   ")
    assert " 200 PostObject examplebucket/图.txt 6 B: Stored, application told; callback 200 in " in lines[0]
    assert lines[0].endswith(" ms http://app.example.com/oss/callback")


def test_what_failed_has_its_fix_and_a_link(upload, lines, recorder):
    recorder.status = "403 Forbidden"
    value = callback_field()
    upload(callback=value, conditions=[{"callback": value}])
    assert lines[0].startswith("WARN ")
    assert "Error status : 403" in lines[0]
    assert "read the reason and the fix in the application's log" in lines[0]
    assert "http://127.0.0.1:8081/_inspect/requests/" in lines[0]


def test_a_mistake_in_signing_is_in_the_line(app, oss, lines):
    post(app, form({"key": "a", **sign_v1(oss, policy()), "Signature": "eA=="}), status=403)
    assert lines[0].startswith("FAIL ")
    assert "SignatureDoesNotMatch" in lines[0]


def test_a_refused_preflight_is_a_line(app, lines):
    headers = {"Origin": "http://other.example", "Access-Control-Request-Method": "POST"}
    app.options("/examplebucket", headers=headers, status=403)
    assert "Preflight refused" in lines[0]


def test_what_works_and_is_no_upload_is_no_line(app, upload, lines):
    upload("a")
    app.get("/examplebucket/a")
    assert len(lines) == 1


def test_a_key_cannot_write_to_the_terminal(upload, lines):
    upload("a\x1b[31m\nforged line")
    assert lines[0].isprintable()


def test_lines_come_without_the_inspector_too(make_oss, lines, tmp_path):
    from webtest import TestApp

    oss = make_oss(log=lines.append, inspector=False, directory=tmp_path / "other")
    post(TestApp(oss), form({"key": "a", **sign_v1(oss, policy())}), status=204)
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        ([False], ("good", "Accepted")),
        ([True], ("bad", "Not accepted")),
        ([False, False], ("good", "Both accepted")),
        ([False, True], ("bad", "One of two accepted")),
        ([True, True], ("bad", "Not accepted")),
    ],
)
def test_what_came_of_a_callback_sent_again_is_said(failed, expected):
    failure = ErrorText("Error status : 403.")
    calls = [CallbackCall(None, None, failure if each else None, 0.1) for each in failed]
    assert outcome(Exchange(origin="1", calls=calls)) == expected


def test_every_way_in_which_a_callback_fails_has_a_row():
    errors = [cannot_connect(), timed_out("127.0.0.1:80", 5)]
    for reply in [*FAULT_REPLIES.values(), CallbackReply(500), CallbackReply(302)]:
        try:
            accepted_body(reply)
        except CallbackError as error:
            errors.append(error)
    assert len(errors) == len(FAULT_REPLIES) + 4
    for error in errors:
        assert "the file is stored" in find(error.ec).meaning
