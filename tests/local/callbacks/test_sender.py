import pytest

from oss_wsgi.local.callbacks.sender import MAX_REPLY_SIZE, CallbackError, CallbackReply, accepted_body


def reply(body=b'{"a":1}', status=200, length=None):
    return CallbackReply(status, {"content-length": str(len(body)) if length is None else length}, body)


@pytest.mark.parametrize("body", [b'{"a":1}', b"[]", b"1", b"null", '"中"'.encode(), b' {"a": "\\ud83d"} '])
def test_a_json_reply_is_relayed_byte_for_byte(body):
    assert accepted_body(reply(body)) == body


@pytest.mark.parametrize(
    ("answer", "message", "ec"),
    [
        pytest.param(reply(status=301), "Error status : 301.", "203", id="301"),
        pytest.param(reply(status=201), "Error status : 201.", "203", id="201"),
        pytest.param(reply(status=204), "Error status : 204.", "203", id="204"),
        pytest.param(reply(status=500), "Error status : 500.", "203", id="500"),
        pytest.param(
            CallbackReply(200, {}, b"{}"),
            "Error Status : 400.User server missing content-length.",
            "203",
            id="no length",
        ),
        *(
            pytest.param(
                reply(length=length),
                "Error Status : 400.User server return invalid conent-length value.",
                "203",
                id=f"length {length!a}",
            )
            for length in ("0", "-1", "x", "", "7, 7", "٧")
        ),
        *(
            pytest.param(
                reply(length=length),
                "Error Status : 400.User server return too long content-length value.",
                "203",
                id=f"length {length}",
            )
            for length in (str(MAX_REPLY_SIZE + 1), "9" * 30)
        ),
        pytest.param(reply(length="8"), "Error status : 502.", "203", id="cut"),
        *(
            pytest.param(reply(body), "Response body is not valid json format.", "205", id=ascii(body))
            for body in (b"OK", b'\xef\xbb\xbf{"a":1}', b'{"a":NaN}', b"\xff", b"<a/>", b"[" * 100000)
        ),
    ],
)
def test_any_other_reply_is_an_error_with_the_text_of_oss(answer, message, ec):
    with pytest.raises(CallbackError) as caught:
        accepted_body(answer)
    assert (caught.value.message, caught.value.ec) == (message, f"0007-00000{ec}")


def test_a_reply_of_1_megabyte_is_relayed():
    body = b'"' + b"x" * (MAX_REPLY_SIZE - 2) + b'"'
    assert accepted_body(reply(body)) == body
