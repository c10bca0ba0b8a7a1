"""Upload: forms and JSON are read alike, malformed bodies raise one error, and a ticket makes a new upload."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oss_wsgi.callback.parameters import VARIABLES, body_template
from oss_wsgi.callback.ticket import TRIAL_WITHOUT_HANDLER, Ticket
from oss_wsgi.callback.upload import Upload
from oss_wsgi.exceptions import MalformedCallbackError

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "callbacks.json").read_text(encoding="utf-8"))
CAPTURES = {vector["name"]: vector["body"].encode() for vector in VECTORS["captures"] + VECTORS["made_here"]}
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
LARGEST = 2**64 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)

FULL_FORM = (
    b"filename=user%2F%E4%B8%AD+%2B%20a.png&size=108904&mimeType=image%2Fpng&height=278&width=200&bucket=examplebucket"
    b"&etag=D8E8FCA2DC0F896FD7CB4CB0031BA249&crc64=18446744073709551615&format=png&reqId=674EF4EC0000000000000001"
    b"&operation=PostObject&x:order_id=4%267"
)
FULL_JSON = json.dumps(
    {
        "bucket": "examplebucket",
        "object": "user/中 + a.png",
        "etag": "D8E8FCA2DC0F896FD7CB4CB0031BA249",
        "size": 108904,
        "mimeType": "image/png",
        "imageInfo": {"height": 278, "width": 200, "format": "png"},
        "crc64": LARGEST,
        "vpcId": None,
        "reqId": "674EF4EC0000000000000001",
        "operation": "PostObject",
        "x:order_id": "4&7",
    },
    ensure_ascii=False,
).encode()


def refused(body: bytes, content_type: str = JSON) -> str:
    with pytest.raises(MalformedCallbackError) as raised:
        Upload.parse(body, content_type)
    return raised.value.reason


@pytest.mark.parametrize(("body", "kind"), [(FULL_FORM, FORM), (FULL_JSON, JSON)], ids=["form", "json"])
def test_every_attribute_is_read(body: bytes, kind: str) -> None:
    upload = Upload.parse(body, kind, "/oss/callback?x=1")
    assert upload.bucket == "examplebucket"
    assert upload.object == "user/中 + a.png"
    assert upload.etag == "D8E8FCA2DC0F896FD7CB4CB0031BA249"
    assert upload.size == 108904
    assert upload.mime_type == "image/png"
    assert (upload.image_width, upload.image_height, upload.image_format) == (200, 278, "png")
    assert upload.crc64 == LARGEST
    assert upload.request_id == "674EF4EC0000000000000001"
    assert upload.operation == "PostObject"
    assert upload.custom == {"order_id": "4&7"}
    assert upload.target == "/oss/callback?x=1"
    assert upload.body is body
    assert upload.members["mimeType"] == "image/png"
    assert Upload.parse(b"mimeType=Image/PNG").mime_type == "Image/PNG"


@pytest.mark.parametrize("text", ["D8E8FCAA", "d8e8fcaa", '"d8E8FCaa"'])
def test_an_etag_has_one_form_however_it_is_reported(text: str) -> None:
    assert Upload.parse(json.dumps({"etag": text}).encode()).etag == "D8E8FCAA"


def test_the_production_captures_are_read() -> None:
    first = Upload.parse(CAPTURES["i"], JSON)
    assert (first.size, first.object, first.members["pic_info"]) == (114020, None, "810,539")
    assert Upload.parse(CAPTURES["ii"], FORM).bucket == "yonghu-test"
    third = Upload.parse(CAPTURES["iii"], FORM)
    assert (third.object, third.size, third.mime_type) == ("headSculpture/jikang2.jpg", 108904, "image/jpeg")
    assert (third.image_height, third.image_width) == (278, 200)
    fourth = Upload.parse(CAPTURES["CB-2"], JSON)
    assert (fourth.object, fourth.size, fourth.image_height, fourth.image_width) == (
        "user/eric/中.txt",
        6,
        None,
        None,
    )


@pytest.mark.parametrize(
    "body",
    [
        b"filename=a.txt&height=&width=&format=",
        b'{"filename":"a.txt","height":null,"width":null,"format":null}',
        b'{"filename":"a.txt","imageInfo":{"height":null,"width":null,"format":null}}',
        b'{"filename":"a.txt","imageInfo.height":null}',
    ],
)
def test_without_an_image_the_image_attributes_are_none(body: bytes) -> None:
    upload = Upload.parse(body)
    assert upload.object == "a.txt"
    assert (upload.image_width, upload.image_height, upload.image_format) == (None, None, None)


@pytest.mark.parametrize(
    "body", [b"", b"bucket=&object=&filename=&etag=&mimeType=&format=&reqId=&operation=&size=&crc64="]
)
def test_what_the_body_leaves_out_or_empty_is_none(body: bytes) -> None:
    upload = Upload.parse(body, FORM)
    assert replace(upload, members={}, body=b"") == Upload()
    for each in (upload, Upload()):
        assert not (each.by_prefix or each.skips_handler or each.recovered)


@pytest.mark.parametrize(
    "body",
    [
        b'{"imageInfo":{"width":7,"height":"8","format":"png"}}',
        b'{"imageInfo.width":7,"imageInfo.height":"8","imageInfo.format":"png"}',
        b'{"width":"7","height":8,"format":"png","imageInfo":{"width":1,"height":1,"format":"gif"}}',
        b"imageInfo.width=7&imageInfo.height=8&imageInfo.format=png&width=&height=&format=",
    ],
    ids=["nested", "dotted", "flat", "form"],
)
def test_the_image_is_found_under_each_of_its_names(body: bytes) -> None:
    upload = Upload.parse(body)
    assert (upload.image_width, upload.image_height, upload.image_format) == (7, 8, "png")


def test_object_wins_over_filename() -> None:
    assert Upload.parse(b"filename=a&object=b").object == "b"
    assert Upload.parse(b"filename=a&object=").object == "a"


@pytest.mark.parametrize("content_type", ["", FORM, "text/plain", JSON, "Application/JSON; charset=utf-8"])
def test_a_body_that_begins_with_a_brace_is_json(content_type: str) -> None:
    assert Upload.parse(b' \n{"size":"6"}', content_type).size == 6


@pytest.mark.parametrize(
    "body", ['filename="a.png"&size=5385&mimeType="image/png"', '{"mimeType":"image/png","size":6,"filename","a.png"}']
)
def test_a_template_that_does_not_fit_its_type_is_named(body: str) -> None:
    """Both bodies are of callbacks that OSS sent: tests/recorded/oss.json, rows 3 and 4."""
    with pytest.raises(MalformedCallbackError, match="callbackBodyType does not fit the template of callbackBody"):
        Upload.parse(body.encode(), JSON)


@pytest.mark.parametrize("content_type", ["", FORM, "application/json5", "text/json"])
def test_any_other_body_is_a_form_unless_its_type_is_json(content_type: str) -> None:
    assert Upload.parse(b"size=6", content_type).size == 6
    own = "&".join(f"{name}=7" for name in (*VARIABLES, "ticket")).encode()
    for kind in (JSON, "Application/JSON; charset=utf-8"):
        assert refused(b"size=6", kind) == refused(own, kind) == "body_malformed"


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("007", 7), (str(LARGEST), LARGEST)])
@pytest.mark.parametrize("form", ['{{"size":"{}","crc64":"{}"}}', "size={}&crc64={}"], ids=["json", "form"])
def test_a_text_that_holds_a_number_is_that_number(form: str, text: str, value: int) -> None:
    upload = Upload.parse(form.format(text, text).encode())
    assert upload.size == upload.crc64 == value
    assert type(upload.size) is int


@pytest.mark.parametrize(
    "value",
    [
        "-1",
        "1.0",
        "18446744073709551616",
        "9" * 60_000,
        "true",
        "[6]",
        '"+1"',
        '" 6"',
        '"６"',
        '"000000000000000000006"',
    ],
    ids=lambda value: ascii(value[:24]),
)
def test_a_number_outside_64_bits_is_refused(value: str) -> None:
    assert refused(f'{{"size":{value}}}'.encode()) == "body_malformed"


@pytest.mark.parametrize("name", ["size", "crc64", "width", "height", "imageInfo.width", "imageInfo.height"])
def test_each_number_is_checked(name: str) -> None:
    assert refused(f'{{"{name}":-1}}'.encode()) == "body_malformed"
    assert refused(f"{name}=six".encode(), FORM) == "body_malformed"


@pytest.mark.parametrize("name", ["bucket", "object", "filename", "etag", "mimeType", "reqId", "operation", "format"])
def test_a_member_that_must_be_a_text_is_refused_otherwise(name: str) -> None:
    for value in ("1", "true", '["a"]', '{"a":1}'):
        assert refused(f'{{"{name}":{value}}}'.encode()) == "body_malformed"
    assert refused(b'{"imageInfo":{"format":1}}') == "body_malformed"


@pytest.mark.parametrize(
    "body",
    [
        b"size=1&%73ize=2",
        b"a&a",
        b'{"size":1,"s\\u0069ze":1}',
        b'{"a":[[{"b":{"c":1,"c":1}}]]}',
    ],
)
def test_a_repeated_member_is_refused_at_any_depth(body: bytes) -> None:
    assert refused(body, "") == "member_repeated"


def test_the_same_name_in_two_objects_is_accepted() -> None:
    assert Upload.parse(b'{"a":{"b":1},"c":{"b":1}}').members == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b'[{"size":6}]',
        b'{"a":1} x',
        b'{"a":NaN}',
        b'{"a":[-1E+999]}',
        b'{"a":"\xff"}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":["\\uDFFF\\uD800"]}',
        b'{"\\ud800":1}',
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    ],
    ids=lambda body: ascii(body[:24]),
)
def test_anything_but_a_json_object_in_utf_8_is_refused(body: bytes) -> None:
    assert refused(body) == "body_malformed"


def test_escaped_surrogate_pairs_are_read() -> None:
    assert Upload.parse(b'{"object":"\\ud83d\\ude00\\u4e2d"}').object == "😀中"


@pytest.mark.parametrize(
    "body",
    [b"a=\xff", b"a=%ED%A0%80", b"&".join(b"%d=" % n for n in range(1001))],
    ids=["raw", "surrogate", "over-a-thousand-members"],
)
def test_anything_but_a_form_in_utf_8_is_refused(body: bytes) -> None:
    assert refused(body, FORM) == "body_malformed"
    assert len(Upload.parse(b"&".join(b"%d=" % n for n in range(1000)), FORM).members) == 1000


def test_custom_variables_begin_with_x_colon() -> None:
    upload = Upload.parse(b'{"x:a":1,"x:":2,"xb":3,"X:c":4}')
    assert upload.custom == {"a": 1, "": 2}


def test_the_body_is_not_in_the_repr() -> None:
    assert "swordfish" not in repr(Upload.parse(b"token=swordfish"))


JSON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


NAMES = st.sampled_from(["size", "bucket", "imageInfo", "width", "format", "x:a", "object", "crc64"])


@pytest.mark.slow
@given(
    body=st.binary(max_size=80)
    | st.dictionaries(NAMES, JSON_VALUE, max_size=5).map(lambda members: json.dumps(members).encode())
    | st.text('{}[]":,\\ud8size0Na&=%', max_size=40).map(lambda text: text.encode()),
    content_type=st.sampled_from(["", FORM, JSON]),
)
@settings(max_examples=300, deadline=None)
def test_any_body_is_read_or_raises_malformed_callback_error(body: bytes, content_type: str) -> None:
    try:
        upload = Upload.parse(body, content_type)
    except MalformedCallbackError:
        return
    assert upload.body == body
    assert upload.size is None or 0 <= upload.size <= LARGEST
    assert upload.object is None or upload.object.encode().decode() == upload.object


ESCAPED = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(lambda text: quote(text, safe=""))
PLAIN = st.text("0123456789ABCxyz.-", max_size=6)


NUMBER = st.just("") | st.sampled_from(["0", "007", "1" + "7" * 19, "18" + "0" * 18]) | st.integers(0, LARGEST).map(str)


@pytest.mark.slow
@given(
    values=st.fixed_dictionaries(
        {
            **dict.fromkeys((*VARIABLES, "ticket"), PLAIN),
            **dict.fromkeys(("filename", "mimeType", "ticket"), ESCAPED),
            **dict.fromkeys(("size", "height", "width", "crc64"), NUMBER),
        }
    )
)
@settings(max_examples=300)
def test_the_quick_reading_gives_the_same_upload(values: dict[str, str]) -> None:
    body = "&".join(f"{name}={values[name]}" for name in (*VARIABLES, "ticket")).encode()
    read, plainly = Upload.parse(body, FORM, "/target"), Upload.parse(body, f"{FORM};", "/target")
    assert vars(read) == vars(plainly)
    assert list(read.members) == [*VARIABLES, "ticket"] == list(plainly.members)


@pytest.mark.parametrize(("sent", "name"), [("a%2Fb+%20%2525", "a/b  %25"), ("a+b", "a b"), ("猫", "猫")])
def test_the_name_in_our_own_form_is_decoded(sent: str, name: str) -> None:
    body = "&".join(f"{member}={sent if member == 'filename' else '7'}" for member in (*VARIABLES, "ticket"))
    assert Upload.parse(body.encode(), FORM).object == name


def test_the_body_of_our_own_forms_is_read_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    body = "&".join(f"{part.partition('=')[0]}=7" for part in body_template().split("&")) + "&ticket=t"
    monkeypatch.setattr("oss_wsgi.callback.upload.urlencoded_pairs", lambda text, limit: pytest.fail("in two"))
    assert Upload.parse(body.encode(), FORM).members["ticket"] == "t"


@pytest.mark.parametrize("size", [str(LARGEST + 1), "-1", "1" * 21])
def test_an_invalid_number_in_our_own_form_is_refused(size: str) -> None:
    body = "&".join(f"{name}={size if name == 'size' else '7'}" for name in (*VARIABLES, "ticket"))
    assert refused(body.encode(), FORM) == "body_malformed"


@pytest.mark.parametrize("body", [b"%s&size=8", b"%s&x:a=%%41", b"x:a=1&%s", b"%s+", b"%s%%zz"])
def test_further_members_beside_our_own_are_read(body: bytes) -> None:
    own = "&".join(f"{name}=7" for name in (*VARIABLES, "ticket")).encode()
    changed = body % own
    if b"size=8" in changed:
        with pytest.raises(MalformedCallbackError) as raised:
            Upload.parse(changed, FORM)
        assert raised.value.reason == "member_repeated"
    else:
        upload = Upload.parse(changed, FORM)
        assert upload.custom == ({"a": "A"} if b"%41" in changed else {"a": "1"} if b"x:a" in changed else {})
        assert upload.members["ticket"] in ("7", "7 ", "7%zz")


def test_with_ticket_returns_a_new_upload_and_leaves_the_old_one() -> None:
    upload = Upload.parse(FULL_FORM, FORM, "/target")
    before = dict(vars(upload))
    ticket = Ticket("t1", "b", None, "user/", 0, 10, (), 1733228232, "eric", {"album": 7}, True, 7, "a.png", None)
    with_ticket = upload.with_ticket(ticket._replace(trial=TRIAL_WITHOUT_HANDLER))
    values = {"user": "eric", "data": {"album": 7}, "ticket_id": "t1", "ticket_until": 1733228232}
    values |= {"forbid_overwrite": True, "max_objects": 7, "by_prefix": True, "filename": "a.png"}
    assert vars(with_ticket) == {**before, **values, "is_trial": True, "skips_handler": True}
    assert vars(upload) == before
    with pytest.raises(FrozenInstanceError):
        upload.user = "mallory"  # type: ignore[misc]
    assert with_ticket == replace(with_ticket, by_prefix=False, skips_handler=False, transaction=object())
    hidden = ("members", "body", "data", "by_prefix", "skips_handler", "transaction")
    assert not [name for name in hidden if f"{name}=" in repr(with_ticket)]
    with_ticket = upload.with_ticket(ticket._replace(key="user/a.png"))
    assert not (with_ticket.by_prefix or with_ticket.is_trial or with_ticket.skips_handler)
