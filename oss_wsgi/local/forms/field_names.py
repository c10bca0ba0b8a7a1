"""The names of form fields: taken in any case, or only as the documentation spells them (P§2.2, P§14.1)."""

from __future__ import annotations

from ..errors import invalid_argument

DOCUMENTED = (
    "key",
    "file",
    "policy",
    "OSSAccessKeyId",
    "Signature",
    "Cache-Control",
    "Content-Type",
    "Content-Disposition",
    "Content-Encoding",
    "Expires",
    "success_action_status",
    "success_action_redirect",
    "callback",
)
_SPELLED = {name.lower(): name for name in DOCUMENTED}
# All other names that mean something are written in lower case.
_PREFIXES = ("x-oss-", "x:")
_METADATA = "x-oss-meta-"


def _spelled(name: str, lower: str) -> str:
    if lower.startswith(_METADATA):  # what follows is the user's
        return _METADATA + name[len(_METADATA) :]
    return _SPELLED.get(lower, lower if lower.startswith(_PREFIXES) else name)


def field_name(name: str, *, exact: bool) -> str:
    """The name by which the rest of the house knows a field; raises OSSError for one without a name.

    :param exact: refuse a name of OSS's that is spelled in another case than documented.
    """
    lower = name.lower()
    if not name or (exact and name != _spelled(name, lower)):
        raise invalid_argument("The bucket POST contains unrecognized field name.", name=name or "name", value=name)
    return lower
