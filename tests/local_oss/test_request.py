from types import SimpleNamespace

import pytest

from local_oss.errors import OSSError
from local_oss.request import EncodingType, Request


def request(**query):
    return SimpleNamespace(query={name.replace("_", "-"): value for name, value in query.items()})


def test_names_are_encoded_only_on_request():
    plain, encoded = EncodingType(request()), EncodingType(request(encoding_type="url"))
    assert (plain("a/中 +"), plain.nodes) == ("a/中 +", [])
    assert (encoded("a/中 +"), encoded.nodes) == ("a%2F%E4%B8%AD%20%2B", [("EncodingType", "url")])


def test_another_encoding_is_rejected():
    with pytest.raises(OSSError, match="Invalid Encoding Method") as raised:
        EncodingType(request(encoding_type="xml"))
    assert raised.value.members == {"ArgumentName": "encoding-type", "ArgumentValue": "xml"}


@pytest.mark.parametrize(("query", "number"), [({}, 100), ({"max_keys": ""}, 100), ({"max_keys": "7"}, 7)], ids=str)
def test_a_missing_number_has_a_default(query, number):
    assert Request.whole_number(request(**query), "max-keys", 100, 1, 1000) == number


@pytest.mark.parametrize("value", ["0", "1001", "-1", "1.0", "x", "\u0665", "1" * 10])
def test_a_number_out_of_range_is_rejected(value):
    with pytest.raises(OSSError, match="Argument max-keys must be an integer between 1 and 1000") as raised:
        Request.whole_number(request(max_keys=value), "max-keys", 100, 1, 1000)
    assert raised.value.members == {"ArgumentName": "max-keys", "ArgumentValue": value}
