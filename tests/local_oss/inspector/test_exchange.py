import pytest

from local_oss.callbacks.parameters import parse_callback_url
from local_oss.callbacks.sender import CallbackRequest
from local_oss.errors import ErrorText, OSSError
from local_oss.inspector.exchange import MAX_FIELDS, MAX_VALUE, Exchange


def exchange(method="GET", path="/examplebucket/a", query="", key="a", **variables):
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "HTTP_HOST": "localhost"}
    made = Exchange.of({**environ, **variables}, 0.0)
    made.bucket, made.key = "examplebucket", key
    return made


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("GetObject", "read"),
        ("HeadObject", "read"),
        ("PutObject", "upload"),
        ("CopyObject", "upload"),
        ("UploadPart", "part"),
        ("CompleteMultipartUpload", "upload"),
        ("DeleteObject", "call"),
        ("PostObject", "upload"),
        ("ListObjects", "call"),
        ("Preflight", "cors"),
    ],
)
def test_an_operation_is_of_a_kind(operation, kind):
    assert Exchange(operation=operation).kind == kind


def test_the_target_is_what_was_sent():
    assert exchange(REQUEST_URI="/a%2fb?x=%2F").target == "/a%2fb?x=%2F"
    assert exchange(path="/中 ".encode().decode("latin-1"), query="x").target == "/%E4%B8%AD%20?x"


def test_values_that_are_too_long_are_left_out_whole():
    made = Exchange()
    made.note_form({"key": "a", "x:long": "x" * (MAX_VALUE + 1), "x:short": "y"}, "", "")
    assert made.fields == {"key": "a", "x:short": "y"}
    assert made.left_out == (f"x:long ({MAX_VALUE + 1} characters)",)


def test_all_fields_together_are_bounded():
    made = Exchange()
    made.note_form({f"x:{number}": "x" * MAX_VALUE for number in range(100)}, "", "")
    assert sum(map(len, made.fields.values())) <= MAX_FIELDS
    assert made.cost() < 2 * MAX_FIELDS


@pytest.mark.parametrize(
    "parts",
    [
        {"left_out": ("x" * 200,) * 100},
        {"error": ErrorText("x" * 20_000)},
        {"error": ErrorText("", members={"StringToSign": "x" * 20_000})},
        {"mistake": "x" * 20_000},
        {"asked": CallbackRequest(parse_callback_url(f"http://a/{'x' * 20_000}"), [], b"")},
    ],
)
def test_whatever_is_kept_costs(parts):
    assert Exchange(**parts).cost() > 20_000


def test_a_text_of_an_error_that_is_too_long_is_left_out_whole():
    made = Exchange()
    made.note_error(OSSError(403, "SignatureDoesNotMatch", "No.", StringToSign="x" * (MAX_VALUE + 1), Short="y"))
    assert made.error.members == {"StringToSign": f"({MAX_VALUE + 1} characters)", "Short": "y"}


def test_an_object_that_is_read_is_not_kept():
    made = exchange()
    made.finish(200, [], iter([b"content"]))
    assert made.answer == b""


@pytest.mark.parametrize(
    ("headers", "answer", "refused"),
    [
        ({"HTTP_ORIGIN": "http://other.example"}, [], True),
        ({"HTTP_ORIGIN": "http://other.example"}, [("Access-Control-Allow-Origin", "*")], False),
        ({"HTTP_ORIGIN": "http://localhost"}, [], False),
        ({"HTTP_ORIGIN": "http://other.example", "HTTP_SEC_FETCH_MODE": "navigate"}, [], False),
        ({}, [], False),
    ],
)
def test_an_answer_that_a_page_may_not_read_is_a_cors_refusal(headers, answer, refused):
    made = exchange(**headers)
    made.finish(200, answer, b"")
    assert made.is_cors_refusal == refused
    assert made.has_failed == refused
