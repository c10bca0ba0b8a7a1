import pytest

from oss_wsgi.local.errors import OSSError
from oss_wsgi.local.signatures.signed_request import check_not_expired

from ..form_client import NOW


def test_the_last_moment_counts():
    check_not_expired(int(NOW), NOW)


def test_after_it_the_answer_tells_both_times():
    with pytest.raises(OSSError) as raised:
        check_not_expired(int(NOW), NOW + 1)
    error = raised.value
    assert (error.status, error.code, error.message, error.ec) == (
        403, "AccessDenied", "Request has expired.", "0002-00000069"
    )  # fmt: skip
    assert error.members == {"Expires": "2024-12-03T12:12:12.000Z", "ServerTime": "2024-12-03T12:12:13.000Z"}
