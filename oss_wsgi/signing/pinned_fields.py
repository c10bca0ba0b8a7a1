"""The fields of a form that are known before its name, policy and callback, and the conditions that pin them."""

from __future__ import annotations

from typing import NamedTuple

from ..credentials import Credentials
from ..http import runs_in_browsers
from . import v1, v4
from .grant import Grant
from .policy_text import exactly


class Pinned(NamedTuple):
    """``conditions`` is the text of those that pin ``fields``; both are the same for the same ``made_of``."""

    made_of: tuple[object, ...]
    fields: dict[str, str]
    conditions: str


class PinnedFields:
    """Makes them, and keeps the last ones, for most forms of one second have the same. Threads may share one."""

    def __init__(self, signature_version: str, region: str) -> None:
        self._v1 = signature_version == "v1"
        self._region = region
        self._kept: Pinned | None = None

    def of(self, credentials: Credentials, date: str, grant: Grant | None, content_type: str | None) -> Pinned:
        """Give the fields that name the signer and, for an exact object name, those of the grant."""
        further = () if grant is None else grant.plain_fields
        made_of = credentials, date, content_type, further
        kept = self._kept
        if kept is not None and kept.made_of == made_of:
            return kept
        fields = self._identity(credentials, date)
        if grant is not None:
            fields |= _exact_fields(grant, content_type)
        made = Pinned(made_of, fields, ",".join([exactly(name, value) for name, value in fields.items()]))
        if further is not None:
            self._kept = made
        return made

    def _identity(self, credentials: Credentials, date: str) -> dict[str, str]:
        if self._v1:
            fields = v1.identity_fields(credentials.access_key_id)
        else:
            fields = v4.identity_fields(credentials.access_key_id, date, self._region)
        if credentials.security_token:
            fields["x-oss-security-token"] = credentials.security_token
        return fields


def _exact_fields(grant: Grant, content_type: str | None) -> dict[str, str]:
    """Give the further fields of a form whose object name is exact."""
    fields = {
        "x-oss-forbid-overwrite": "true" if grant.forbid_overwrite else "false",
        # "default" is what counts without the field, but a browser could add another one to a form that lacks it.
        "x-oss-object-acl": grant.acl or "default",
    }
    if content_type is not None:
        # x-oss-content-type wins over the part's type and over Content-Type (P§2.3); $content-type reads the latter.
        fields |= {"x-oss-content-type": content_type, "Content-Type": content_type}
    if grant.storage_class is not None:
        fields["x-oss-storage-class"] = grant.storage_class
    disposition = grant.content_disposition
    if disposition is None and (content_type is None or runs_in_browsers(content_type)):
        disposition = "attachment"  # a type that is not pinned may turn out to be one that runs
    if disposition:
        fields["Content-Disposition"] = disposition
    fields |= {f"x-oss-meta-{name}": value for name, value in grant.metadata.items()}
    return fields | {f"x:{name}": value for name, value in grant.custom.items()}
