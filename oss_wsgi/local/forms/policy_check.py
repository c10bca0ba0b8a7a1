"""The check of a form against the conditions of its policy (protocol.md 3.2, protocol.md 3.3, protocol.md 3.4)."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import OSSError, access_denied
from ..signatures.v4 import V4
from .policy import Condition, Policy, SizeRange

MAX_OBJECT_SIZE = 5 * 1024**3
#: Under V4 the policy must name those of these fields that the form has (protocol.md 3.3.3).
COVERED_FIELDS = ("x-oss-signature-version", "x-oss-credential", "x-oss-date", "x-oss-security-token")
#: The fields that a strict check accepts without a condition: they sign the policy, or store nothing.
UNCOVERED_FIELDS = ("policy", "ossaccesskeyid", "signature", "x-oss-signature", "success_action_status")


def check_policy(
    policy: Policy, fields: Mapping[str, str], *, bucket: str, file_type: str, now: float, strict: bool = False
) -> None:
    """Raise OSSError for the first condition that fails; values count as they were sent, `${filename}` included.

    :param file_type: the content type of the file part, for forms without a Content-Type field.
    :param strict: refuse every field that no condition names, except UNCOVERED_FIELDS.
    """
    if now > policy.expiration:
        raise access_denied("Invalid according to Policy: Policy expired.", "0006-00000213")
    values = compared_values(fields, bucket=bucket, file_type=file_type)
    for condition in policy.conditions:
        _check_condition(condition, values)
    for name in not_named(policy, fields, strict=strict):
        raise access_denied(f"Invalid according to Policy: Extra input fields: {name}", "0006-00000228")


def compared_values(fields: Mapping[str, str], *, bucket: str, file_type: str) -> dict[str, str]:
    """Return what conditions are compared with, by lower-case name."""
    values = {**fields, "bucket": bucket}
    if file_type:
        values.setdefault("content-type", file_type)
    return values


def size_range(policy: Policy) -> SizeRange:
    """Return the sizes that all ranges of the policy and the limit of OSS allow."""
    return SizeRange(
        max((limit.minimum for limit in policy.ranges), default=0),
        min(limit.maximum for limit in [*policy.ranges, SizeRange(0, MAX_OBJECT_SIZE)]),
    )


def too_large(limit: SizeRange) -> OSSError:
    message = "Your proposed upload exceeds the maximum allowed size."
    return OSSError(400, "EntityTooLarge", message, "0006-00000003", MaxSizeAllowed=str(limit.maximum))


def too_small(size: int, limit: SizeRange) -> OSSError:
    message = "Your proposed upload smaller than the minimum allowed size."
    members = {"MinSizeAllowed": str(limit.minimum), "ProposedSize": str(size)}
    return OSSError(400, "EntityTooSmall", message, "0006-00000004", **members)


def _check_condition(condition: Condition, values: Mapping[str, str]) -> None:
    value = values.get(condition.name.lower())
    if value is None:
        raise _failed(condition, "0006-00000226")
    if not holds(condition, value):
        raise _failed(condition, "0006-00000227")


def holds(condition: Condition, value: str) -> bool:
    """Return whether a value is what a condition asks for."""
    operand = condition.operand
    if isinstance(operand, list):
        return (value in operand) == (condition.operator == "in")
    return value.startswith(operand) if condition.operator == "starts-with" else value == operand


def not_named(policy: Policy, fields: Mapping[str, str], *, strict: bool = False) -> list[str]:
    """Return the fields that a condition must name, and none does."""
    named = {condition.name.lower() for condition in policy.conditions}
    if strict:
        names = [name for name in fields if name not in UNCOVERED_FIELDS]
    else:
        is_v4 = fields.get("x-oss-signature-version") == V4
        names = [name for name in COVERED_FIELDS if fields.get(name)] if is_v4 else []
    return [name for name in names if name not in named]


def _failed(condition: Condition, ec: str) -> OSSError:
    return access_denied(f"Invalid according to Policy: Policy Condition failed: {condition}", ec)
