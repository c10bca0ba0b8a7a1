import pytest

from oss_wsgi.local.callbacks.transports import is_certificate_of


@pytest.mark.parametrize(
    ("host", "is_its"),
    [
        ("a.example", True),
        ("A.Example", True),
        ("x.b.example", True),
        ("b.example", False),
        ("y.x.b.example", False),
        ("c.example", False),
        ("192.0.2.1", False),
        ("example", False),
    ],
)
def test_a_certificate_is_of_the_names_it_lists(host, is_its):
    listed = [("DNS", "a.example"), ("DNS", "*.B.example"), ("IP Address", "192.0.2.1")]
    assert is_certificate_of(host, {"subjectAltName": tuple(listed)}) is is_its


def test_a_certificate_without_names_is_of_nobody():
    assert not is_certificate_of("a.example", {})
