"""The owner of all buckets and objects, and the ACL document that names it."""

from __future__ import annotations

from ..callbacks.message import ACCOUNT_ID
from ..errors import Response
from ..xml_document import Node, xml_response

OWNER: Node = ("Owner", [("ID", ACCOUNT_ID), ("DisplayName", ACCOUNT_ID)])


def acl_response(acl: str) -> Response:
    """Return the ACL of a bucket or an object."""
    return xml_response("AccessControlPolicy", [OWNER, ("AccessControlList", [("Grant", acl)])])
