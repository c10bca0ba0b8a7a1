import pytest

from local_oss.inspector.inspector import altered


@pytest.mark.parametrize(
    ("body", "other"),
    [
        (b"object=a&size=6", b"object=a&size=1"),
        (b'{"size":1}', b'{"size":2}'),
        (b"object=cat", b"object=cab"),
        (b"=&=", b"=&=1"),
        (b"", b"1"),
    ],
)
def test_an_altered_body_can_still_be_parsed(body, other):
    assert altered(body) == other
