import pytest

from local_oss.errors import OSSError
from local_oss.forms.policy import MAX_OBJECT_SIZE, Condition, Policy, SizeRange, check_policy, size_range

V4_FIELDS = {"x-oss-signature-version": "OSS4-HMAC-SHA256", "x-oss-credential": "c", "x-oss-date": "d"}


def policy(*conditions, expiration=100.0, ranges=()):
    return Policy(expiration, [Condition(*condition) for condition in conditions], list(ranges))


def check(policy, fields, *, now=0.0, file_type="", strict=False):
    check_policy(policy, fields, bucket="examplebucket", file_type=file_type, now=now, strict=strict)


def refusal(policy, fields, **options):
    with pytest.raises(OSSError) as caught:
        check(policy, fields, **options)
    assert (caught.value.status, caught.value.code) == (403, "AccessDenied")
    return caught.value.ec, caught.value.message


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        pytest.param(("eq", "key", "a/b"), "a/b", True, id="eq"),
        pytest.param(("eq", "key", "a/b"), "a/B", False, id="eq, other case"),
        pytest.param(("eq", "key", "a"), "ab", False, id="eq, longer"),
        pytest.param(("starts-with", "key", "a/"), "a/b", True, id="starts-with"),
        pytest.param(("starts-with", "key", "a/"), "b/a/", False, id="starts-with, elsewhere"),
        pytest.param(("starts-with", "key", ""), "", True, id="starts-with nothing"),
        pytest.param(("in", "key", ["a", "b"]), "b", True, id="in"),
        pytest.param(("in", "key", ["ab", "b"]), "a", False, id="in, a part"),
        pytest.param(("in", "key", []), "a", False, id="in nothing"),
        pytest.param(("not-in", "key", ["a", "b"]), "c", True, id="not-in"),
        pytest.param(("not-in", "key", ["a", "b"]), "b", False, id="not-in, is in"),
        pytest.param(("eq", "KEY", "a"), "a", True, id="name in upper case"),
    ],
)
def test_an_operator_compares_the_value_as_sent(condition, value, holds):
    if holds:
        check(policy(condition), {"key": value})
    else:
        ec, message = refusal(policy(condition), {"key": value})
        assert ec == "0006-00000227"
        assert message == f"Invalid according to Policy: Policy Condition failed: {Condition(*condition)}"


@pytest.mark.parametrize("operator", ["eq", "starts-with", "in", "not-in"])
def test_a_condition_on_an_absent_field_fails(operator):
    operand = [""] if operator in ("in", "not-in") else ""
    ec, message = refusal(policy((operator, "cache-control", operand)), {"key": "a"})
    assert ec == "0006-00000226"
    assert f'["{operator}", "$cache-control"' in message


def test_the_first_failing_condition_is_named():
    failing = policy(("eq", "key", "a"), ("eq", "key", "b"), ("eq", "key", "c"))
    assert '["eq", "$key", "b"]' in refusal(failing, {"key": "a"})[1]


def test_bucket_is_that_of_the_request_not_a_field():
    check(policy(("eq", "bucket", "examplebucket")), {})
    assert refusal(policy(("eq", "bucket", "mine")), {"bucket": "mine"})[0] == "0006-00000227"


def test_content_type_is_the_field_or_the_type_of_the_file():
    typed = policy(("in", "content-type", ["image/png"]))
    check(typed, {}, file_type="image/png")
    check(typed, {"content-type": "image/png"}, file_type="text/html")
    assert refusal(typed, {"content-type": "text/html"}, file_type="image/png")[0] == "0006-00000227"
    assert refusal(typed, {}, file_type="")[0] == "0006-00000226"


def test_a_field_that_no_condition_names_is_accepted():
    check(policy(("eq", "key", "a")), {"key": "a", "name": "x", "callback": "y", "x-oss-object-acl": "private"})


def test_a_policy_is_valid_up_to_its_expiration():
    check(policy(("eq", "key", "a")), {"key": "a"}, now=100.0)
    expired = refusal(policy(("eq", "key", "b")), {"key": "a"}, now=100.001)
    assert expired == ("0006-00000213", "Invalid according to Policy: Policy expired.")


@pytest.mark.parametrize("uncovered", V4_FIELDS)
def test_under_v4_the_policy_must_name_each_signature_field(uncovered):
    named = [("eq", name, value) for name, value in V4_FIELDS.items() if name != uncovered]
    ec, message = refusal(policy(*named), V4_FIELDS)
    assert (ec, message) == ("0006-00000228", f"Invalid according to Policy: Extra input fields: {uncovered}")


def test_under_v4_a_token_must_be_named_too():
    named = [("eq", name, value) for name, value in V4_FIELDS.items()]
    assert refusal(policy(*named), {**V4_FIELDS, "x-oss-security-token": "t"})[0] == "0006-00000228"
    check(policy(*named), {**V4_FIELDS, "x-oss-security-token": ""})
    check(policy(*named, ("eq", "x-oss-security-token", "t")), {**V4_FIELDS, "x-oss-security-token": "t"})


def test_under_v1_a_token_need_not_be_named():
    check(policy(("eq", "key", "a")), {"key": "a", "x-oss-security-token": "t"})


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        pytest.param([], SizeRange(0, MAX_OBJECT_SIZE), id="none"),
        pytest.param([SizeRange(1, 10)], SizeRange(1, 10), id="one"),
        pytest.param([SizeRange(1, 10), SizeRange(5, 20)], SizeRange(5, 10), id="two together"),
        pytest.param([SizeRange(0, 10**15)], SizeRange(0, MAX_OBJECT_SIZE), id="more than OSS takes"),
    ],
)
def test_the_size_range_keeps_all_ranges_and_the_limit_of_oss(ranges, expected):
    assert size_range(policy(ranges=ranges)) == expected


def test_strict_refuses_a_field_without_a_condition():
    fields = {"key": "a", "name": "", "x-oss-tagging": "t"}
    covered = policy(("eq", "KEY", "a"))
    check(covered, fields)
    assert refusal(covered, fields, strict=True) == (
        "0006-00000228",
        "Invalid according to Policy: Extra input fields: name",
    )


def test_strict_accepts_the_signature_and_the_status():
    fields = {"key": "a", "policy": "p", "ossaccesskeyid": "i", "signature": "s", "success_action_status": "200"}
    check(policy(("starts-with", "key", "")), fields, strict=True)
    check(policy(("starts-with", "key", "")), {"key": "a", "policy": "p", "x-oss-signature": "s"}, strict=True)


@pytest.mark.parametrize("name", ["x-oss-date", "key", "x:a"])
def test_strict_demands_a_condition_for_every_other_field(name):
    fields = {**V4_FIELDS, "key": "a", "callback": "c", "x:a": "1"}
    conditions = [("eq", known, value) for known, value in fields.items()]
    check(policy(*conditions), fields, strict=True)
    missing = policy(*(condition for condition in conditions if condition[1] != name))
    assert refusal(missing, fields, strict=True)[1].endswith(f"Extra input fields: {name}")
