"""DeleteObject and DeleteMultipleObjects: what is not there counts as deleted."""

from __future__ import annotations

from ..answer import Answer
from ..object_headers import check_key
from ..request import Request
from ..xml_document import Node, malformed_xml, read_xml, xml_answer
from .parameters import EncodingType
from .small_body import read_small_body

MAX_KEYS = 1000
MAX_BODY_SIZE = 2 * 1024 * 1024


def delete_object(request: Request) -> Answer:
    check_key(request.key)
    request.storage.delete(request.key)
    return Answer(204)


def delete_multiple_objects(request: Request) -> Answer:
    encoding = EncodingType(request)
    document = read_xml(read_small_body(request.environ, MAX_BODY_SIZE), "Delete")
    quiet = document.findtext("Quiet", "false").strip().lower()
    keys = [element.findtext("Key") or "" for element in document.findall("Object")]
    if quiet not in ("true", "false") or not 0 < len(keys) <= MAX_KEYS:
        raise malformed_xml()
    for key in keys:
        check_key(key)
    for key in keys:
        request.storage.delete(key)
    deleted: list[Node] = [] if quiet == "true" else [("Deleted", [("Key", encoding(key))]) for key in keys]
    return xml_answer("DeleteResult", [*encoding.nodes, *deleted])
