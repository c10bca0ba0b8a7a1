"""Reading what the client sent from environs as servers make them."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.exceptions import (
    BodyTooLargeError,
    CallbackError,
    LengthRequiredError,
    MalformedCallbackError,
    MalformedRequestError,
)
from oss_wsgi.wsgi.environ import (
    MAX_BODY_BYTES,
    ReceivedCallback,
    find_authorization,
    query_pairs,
    read_body,
    request_target,
    with_authorization,
)
from oss_wsgi.wsgi.facts import RequestFacts

LATIN = "/a b/中+c/callback".encode().decode("latin-1")
QUERY = "x=1&y=%2F%20z&empty="
RAW = "/a%20b/%E4%B8%AD+c/callback?x=1&y=%2F%20z&empty="


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"RAW_URI": RAW, "REQUEST_URI": "/other", "PATH_INFO": "/wrong"}, RAW, id="gunicorn"),
        pytest.param({"REQUEST_URI": RAW, "PATH_INFO": LATIN, "QUERY_STRING": QUERY}, RAW, id="waitress"),
        pytest.param({"REQUEST_URI": f"http://app.example.com{RAW}", "QUERY_STRING": QUERY}, RAW, id="absolute form"),
        pytest.param({"REQUEST_URI": f"{RAW}#part", "QUERY_STRING": QUERY}, RAW, id="a fragment"),
        pytest.param({"REQUEST_URI": RAW.partition("?")[0], "QUERY_STRING": QUERY}, RAW, id="AJP loses the query"),
        pytest.param({"RAW_PATH_INFO": RAW.partition("?")[0], "QUERY_STRING": QUERY}, RAW, id="eventlet"),
        pytest.param(
            {"asgi.scope": {"raw_path": RAW.partition("?")[0].encode(), "query_string": QUERY.encode()}},
            RAW,
            id="uvicorn with a2wsgi",
        ),
        pytest.param(
            {"asgi.scope": {"raw_path": RAW.encode(), "query_string": QUERY.encode()}},
            RAW,
            id="a query in raw_path too",
        ),
        pytest.param({"asgi.scope": {"raw_path": b"/a"}, "PATH_INFO": "/b"}, "/a", id="no query in the scope"),
        pytest.param({"asgi.scope": {"raw_path": b""}, "PATH_INFO": "/a"}, "/a", id="no path in the scope"),
        pytest.param({"RAW_URI": "", "REQUEST_URI": "/a", "PATH_INFO": "/b"}, "/a", id="an empty raw URI"),
        pytest.param({"RAW_URI": "/a%23b#part?x", "QUERY_STRING": "x"}, "/a%23b", id="a question mark in the fragment"),
        pytest.param({"RAW_PATH_INFO": "/a", "QUERY_STRING": "x=1#part"}, "/a?x=1", id="a fragment in the query"),
        pytest.param({"PATH_INFO": "/a#b", "QUERY_STRING": "x=1#part"}, "/a%23b?x=1", id="the same, rebuilt"),
        pytest.param({"REQUEST_URI": "http://app.example.com#part"}, "/", id="absolute with a fragment alone"),
        pytest.param({"REQUEST_URI": "/callback?", "QUERY_STRING": ""}, "/callback?", id="a lone question mark"),
        pytest.param({"REQUEST_URI": "http://app.example.com", "PATH_INFO": "/"}, "/", id="absolute without a path"),
        pytest.param({"SCRIPT_NAME": "/oss", "PATH_INFO": ""}, "/oss", id="rebuilt from the mount alone"),
        pytest.param({}, "/", id="nothing at all"),
    ],
)
def test_the_raw_target_is_found(environ: dict[str, Any], expected: str) -> None:
    assert request_target(environ) == expected.encode()


def test_a_rebuilt_target_decodes_to_the_same_path() -> None:
    environ = {"SCRIPT_NAME": "/a b", "PATH_INFO": LATIN[4:], "QUERY_STRING": QUERY}
    assert request_target(environ) == RAW.encode()


def test_a_path_in_real_unicode_is_read_as_utf_8() -> None:
    assert request_target({"SCRIPT_NAME": "", "PATH_INFO": "/中 +", "QUERY_STRING": ""}) == b"/%E4%B8%AD%20+"
    assert request_target({"REQUEST_URI": "/中"}) == "/中".encode()
    assert request_target({"PATH_INFO": "/中\udcff"}) == b"/%E4%B8%AD%FF", "a byte that the server could not decode"


@pytest.mark.parametrize("server", [{"paste.httpserver.thread_pool": None}, {"SERVER_SOFTWARE": "Rocket3 20260526.0"}])
def test_a_latin_letter_is_two_bytes_where_the_server_decodes_utf_8(server: dict[str, Any]) -> None:
    assert request_target({**server, "PATH_INFO": "/café"}) == b"/caf%C3%A9"
    assert request_target({"PATH_INFO": "/café"}) == b"/caf%E9"


def test_an_absolute_target_in_path_info_loses_its_authority() -> None:
    assert request_target({"SCRIPT_NAME": "", "PATH_INFO": "http://app.example.com/callback"}) == b"/callback"


def environ_with(data: bytes, **extra: Any) -> dict[str, Any]:
    return {"wsgi.input": io.BytesIO(data), **extra}


class Drip(io.BytesIO):
    """A stream that returns two bytes at most for each read."""

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert size > 0, "never read() without a size"
        return super().read(min(size, 2))


def test_the_body_is_read_up_to_its_length() -> None:
    stream = io.BytesIO(b"hello world")
    assert read_body({"wsgi.input": stream, "CONTENT_LENGTH": "5"}, 64) == b"hello"
    assert stream.read() == b" world"


def test_a_stream_that_returns_none_is_a_truncated_body() -> None:
    class Empty:
        def read(self, size: int) -> None:
            return None

    with pytest.raises(MalformedCallbackError) as caught:
        read_body({"CONTENT_LENGTH": "5", "wsgi.input": Empty()}, 10)
    assert caught.value.reason == "body_truncated"


def test_a_body_that_arrives_in_pieces_is_read_whole_and_no_further() -> None:
    assert read_body({"wsgi.input": Drip(b"hello world"), "CONTENT_LENGTH": "5"}, 64) == b"hello"


def test_a_body_over_the_limit_is_refused_unread() -> None:
    assert read_body(environ_with(b"x" * 64, CONTENT_LENGTH="64"), 64) == b"x" * 64
    stream = io.BytesIO(b"x" * 65)
    with pytest.raises(BodyTooLargeError, match="body_too_large: "):
        read_body({"wsgi.input": stream, "CONTENT_LENGTH": "65"}, 64)
    assert stream.tell() == 0


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5000])
def test_a_length_of_many_digits_is_too_large(length: str) -> None:
    with pytest.raises(BodyTooLargeError):
        read_body(environ_with(b"", CONTENT_LENGTH=length), 64)


@pytest.mark.parametrize("length", ["90, 3", "+5", " 5", "5.0", "0x5", "five", "٥", "-2"])
def test_a_length_that_is_not_digits_is_malformed(length: str) -> None:
    with pytest.raises(MalformedCallbackError, match="content_length_malformed: "):
        read_body(environ_with(b"hello", CONTENT_LENGTH=length), 64)


def test_a_body_shorter_than_its_length_is_malformed() -> None:
    with pytest.raises(MalformedCallbackError, match="body_truncated: "):
        read_body(environ_with(b"hell", CONTENT_LENGTH="5"), 64)


@pytest.mark.parametrize("error", [ConnectionResetError, EOFError, ValueError, KeyError])
@pytest.mark.parametrize(
    "length", [{"CONTENT_LENGTH": "5"}, {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}]
)
def test_a_broken_connection_is_a_truncated_body(error: type[Exception], length: dict[str, Any]) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise error("swordfish")

    with pytest.raises(MalformedCallbackError, match="shorter") as caught:
        read_body({"wsgi.input": Broken(), **length}, 64)
    assert error.__name__ in caught.value.hint
    assert "swordfish" not in caught.value.hint


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({}, id="no length"),
        pytest.param({"CONTENT_LENGTH": ""}, id="an empty one"),
        pytest.param({"HTTP_TRANSFER_ENCODING": "chunked"}, id="chunked, end unknown"),
        pytest.param({"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "0"}, id="chunked with 0"),
        pytest.param({"CONTENT_LENGTH": "-1"}, id="Caddy's -1"),
    ],
)
def test_a_length_is_required_where_the_end_is_unknown(extra: dict[str, Any]) -> None:
    with pytest.raises(LengthRequiredError, match="length_required: "):
        read_body({"wsgi.input": Drip(b"hello"), **extra}, 64)


def test_a_body_without_a_length_is_read_to_the_servers_end() -> None:
    for length in ({}, {"CONTENT_LENGTH": ""}):
        for body in (b"hello", b"x" * 64):
            assert read_body({"wsgi.input": Drip(body), "wsgi.input_terminated": True, **length}, 64) == body
        with pytest.raises(BodyTooLargeError, match="body_too_large: "):
            read_body({"wsgi.input": Drip(b"x" * 65), "wsgi.input_terminated": True, **length}, 64)
        with pytest.raises(LengthRequiredError):
            read_body({"wsgi.input": Drip(b""), "wsgi.input_terminated": True, **length}, 64)


@pytest.mark.parametrize(
    "odd",
    [
        {"CONTENT_LENGTH": 5},
        {"CONTENT_LENGTH": 5.0},
        {"HTTP_TRANSFER_ENCODING": 7, "CONTENT_LENGTH": "5"},
        {"RAW_URI": b"/a", "REQUEST_URI": 7, "QUERY_STRING": 7},
        {"asgi.scope": {"raw_path": "/a"}, "PATH_INFO": "/\ud800"},
        {"HTTP_X_OSS_REQUEST_ID": 7, "SCRIPT_NAME": None},
    ],
)
def test_values_of_odd_types_raise_only_callback_errors(odd: dict[str, Any]) -> None:
    environ = {"wsgi.input": Drip(b"hello"), "PATH_INFO": "/b", **odd}
    target = request_target(environ)
    assert target.startswith(b"/") and b"?" not in target
    assert RequestFacts(environ).oss_request_id == "-"
    with contextlib.suppress(LengthRequiredError, MalformedCallbackError):
        assert read_body(environ, 64) == b"hello"


@pytest.mark.parametrize("length", [{}, {"CONTENT_LENGTH": "0"}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "-1"}])
def test_a_chunked_body_is_read_where_the_server_knows_its_end(length: dict[str, str]) -> None:
    extra = {"HTTP_TRANSFER_ENCODING": "Chunked", "wsgi.input_terminated": True, **length}
    for body in (b"hello", b""):
        assert read_body({"wsgi.input": Drip(body), **extra}, 64) == body
    with pytest.raises(BodyTooLargeError):
        read_body({"wsgi.input": Drip(b"x" * 65), **extra}, 64)


def test_an_empty_body_may_have_the_length_minus_1_where_its_end_is_known_or_0() -> None:
    for length in ({"CONTENT_LENGTH": "-1", "wsgi.input_terminated": True}, {"CONTENT_LENGTH": "0"}):
        assert read_body({"wsgi.input": Drip(b""), "HTTP_TRANSFER_ENCODING": "identity", **length}, 64) == b""


@pytest.mark.slow
@given(
    st.dictionaries(
        st.sampled_from(["CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "RAW_URI", "REQUEST_URI", "PATH_INFO"]),
        st.text(max_size=40),
    ),
    st.binary(max_size=80),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_no_environ_raises_anything_but_callback_errors(texts: dict[str, str], data: bytes, terminated: bool) -> None:
    environ = {**texts, "wsgi.input": io.BytesIO(data), "wsgi.input_terminated": terminated}
    assert request_target(environ).startswith(b"/")
    with contextlib.suppress(CallbackError):
        assert len(read_body(environ, 64)) <= 64


def test_a_received_callback_has_all_that_the_client_sent() -> None:
    environ = environ_with(
        b"x=1",
        CONTENT_LENGTH="3",
        CONTENT_TYPE="text/plain",
        REQUEST_URI="/a%20b?c",
        HTTP_X_OSS_PUB_KEY_URL=" QUFB\t",
        REDIRECT_HTTP_AUTHORIZATION=" QkJC ",
    )
    assert ReceivedCallback.from_environ(environ) == ReceivedCallback(
        target=b"/a%20b?c",
        body=b"x=1",
        body_error=None,
        authorization="QkJC",
        authorization_key="REDIRECT_HTTP_AUTHORIZATION",
        pub_key_url="QUFB",
        content_type="text/plain",
    )


def test_an_empty_environ_makes_an_empty_received_callback() -> None:
    received = ReceivedCallback.from_environ(environ_with(b"", CONTENT_LENGTH="0"))
    assert received == (b"/", b"", None, "", None, "", "")


def test_an_unreadable_body_leaves_the_rest_of_a_received_callback() -> None:
    received = ReceivedCallback.from_environ(environ_with(b"x", HTTP_AUTHORIZATION="QkJC", PATH_INFO="/c"))
    assert isinstance(received.body_error, LengthRequiredError)
    assert (received.body, received.authorization, received.target) == (b"", "QkJC", b"/c")


def test_a_received_callback_over_the_limit_is_not_read() -> None:
    stream = io.BytesIO(b"x" * (MAX_BODY_BYTES + 1))
    received = ReceivedCallback.from_environ({"wsgi.input": stream, "CONTENT_LENGTH": str(MAX_BODY_BYTES + 1)})
    assert isinstance(received.body_error, BodyTooLargeError)
    assert stream.tell() == 0


def test_a_query_has_16_kib_and_as_many_parameters_as_are_asked_for() -> None:
    longest = "a=" + "b" * (16 * 1024 - 2)
    assert query_pairs({"QUERY_STRING": longest}, 1) == [("a", longest[2:])]
    for text in (f"{longest}b", "a=b&c", "%FF"):
        with pytest.raises(MalformedRequestError) as raised:
            query_pairs({"QUERY_STRING": text}, 1)
        assert raised.value.reason == "query_malformed"


def test_apache_redirects_ten_times_at_the_most() -> None:
    for times in (1, 10):
        key = "REDIRECT_" * times + "HTTP_AUTHORIZATION"
        assert find_authorization({key: " QkJC "}) == (key, "QkJC")
    assert find_authorization({"REDIRECT_" * 11 + "HTTP_AUTHORIZATION": "QkJC", "HTTP_AUTHORIZATION": 7}) is None


def test_only_an_environ_with_a_hidden_authorization_is_copied() -> None:
    for environ in ({}, {"HTTP_AUTHORIZATION": "Basic x", "Authorization": "Basic y"}):
        assert with_authorization(environ) is environ
    hidden = {"X_HTTP_AUTHORIZATION": "Basic x"}
    assert with_authorization(hidden)["HTTP_AUTHORIZATION"] == "Basic x"
    assert hidden == {"X_HTTP_AUTHORIZATION": "Basic x"}
