"""Query parameters that several operations have: encoding-type, and whole numbers."""

from __future__ import annotations

from urllib.parse import quote

from ..errors import invalid_argument
from ..request import Request
from ..xml_document import Node


class EncodingType:
    """Encodes the names in a response when the client asks for that: XML cannot hold every key.

    `nodes` is the element that repeats the parameter.
    """

    def __init__(self, request: Request) -> None:
        value = request.query.get("encoding-type", "")
        if value not in ("", "url"):
            raise invalid_argument("Invalid Encoding Method specified in Request.", name="encoding-type", value=value)
        self.nodes: list[Node] = [("EncodingType", value)] if value else []

    def __call__(self, name: str) -> str:
        return quote(name, safe="") if self.nodes else name


def whole_number(request: Request, name: str, default: int, minimum: int, maximum: int) -> int:
    """Return the number in a query parameter, or the default when it is missing or empty.

    :raises OSSError: 400 InvalidArgument.
    """
    value = request.query.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdigit()) or len(value) > 9 or not minimum <= int(value) <= maximum:
        message = f"The {name} must be a whole number from {minimum} to {maximum}."
        raise invalid_argument(message, name=name, value=value)
    return int(value)
