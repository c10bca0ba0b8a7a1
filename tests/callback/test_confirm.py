"""confirmed(): what each result of a ``confirm`` callable means for the report."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from oss_wsgi import Upload
from oss_wsgi.callback.confirm import confirmed
from oss_wsgi.exceptions import ConfirmationUnavailableError, NotConfirmedError

REPORT = Upload(object="a.txt")


def raising(error: BaseException) -> Callable[[Upload], bool]:
    def confirm(upload: Upload) -> bool:
        raise error

    return confirm


def test_true_marks_the_upload_as_confirmed() -> None:
    reports = []
    assert confirmed(lambda upload: reports.append(upload) or True, REPORT) == replace(REPORT, confirmed=True)
    assert reports == [REPORT]


def test_false_refuses_the_report() -> None:
    with pytest.raises(NotConfirmedError) as raised:
        confirmed(lambda upload: False, REPORT)
    assert raised.value.reason == "not_confirmed"


@pytest.mark.parametrize("result", [None, 1])
def test_a_result_that_is_not_a_bool_confirms_nothing(result: Any) -> None:
    with pytest.raises(ConfirmationUnavailableError, match="must return True or False") as raised:
        confirmed(lambda upload: result, REPORT)
    assert raised.value.reason == "confirm_failed"


def test_the_callable_refuses_with_a_reason_of_its_own() -> None:
    error = NotConfirmedError("another_size", "OSS holds 5 bytes")
    with pytest.raises(NotConfirmedError) as raised:
        confirmed(raising(error), REPORT)
    assert raised.value is error


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit])
def test_any_other_exception_confirms_nothing(kind: type[BaseException]) -> None:
    with pytest.raises(ConfirmationUnavailableError, match=f"confirm raised {kind.__name__}") as raised:
        confirmed(raising(kind("a secret")), REPORT)
    assert raised.value.reason == "confirm_failed"
    assert "a secret" not in str(raised.value)
    assert isinstance(raised.value.__cause__, kind)


def test_the_callable_chooses_what_happens_when_nothing_is_known(caplog: pytest.LogCaptureFixture) -> None:
    error = ConfirmationUnavailableError("down", "no answer")
    with pytest.raises(ConfirmationUnavailableError) as raised:
        confirmed(raising(error), REPORT)
    assert raised.value is error
    accepting = raising(ConfirmationUnavailableError("down", "no answer", accept=True))
    report = replace(REPORT, request_id="5C3D")
    assert confirmed(accepting, report) == replace(report, confirmed=False)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert all(part in record.getMessage() for part in ("reason=down", "hint='no answer'", "oss_request_id='5C3D'"))
    found = replace(REPORT, confirmed=True)  # by our own HEAD
    assert confirmed(accepting, found) == found
