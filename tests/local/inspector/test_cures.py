"""The local OSS shares no code with what it checks, so the sentences of `explain` stand in it a second time."""

from oss_wsgi.cli.error_codes import find
from oss_wsgi.local.callbacks.message import CallbackError, CallbackReply, cannot_connect, timed_out
from oss_wsgi.local.callbacks.sender import FAULT_REPLIES, accepted_body
from oss_wsgi.local.inspector.cures import CURES


def test_they_are_those_of_explain():
    for ec, (meaning, cure) in CURES.items():
        row = find(ec)
        assert (row.meaning, row.fix) == (meaning, cure)


def test_every_way_to_fail_has_one():
    errors = [cannot_connect(), timed_out("127.0.0.1:80", 5)]
    for reply in [*FAULT_REPLIES.values(), CallbackReply(500), CallbackReply(302)]:
        try:
            accepted_body(reply)
        except CallbackError as error:
            errors.append(error)
    assert len(errors) == len(FAULT_REPLIES) + 4
    assert {error.ec for error in errors} == set(CURES)
