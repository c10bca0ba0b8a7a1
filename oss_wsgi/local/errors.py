"""The errors that OSS answers, and their XML."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from xml.sax.saxutils import escape

Headers = list[tuple[str, str]]

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_NOT_IN_HEADER = re.compile("[\x00-\x1f\x7f]")


@dataclass
class Answer:
    status: int
    headers: Headers = field(default_factory=list)
    body: Iterable[bytes] | bytes = b""

    @property
    def status_line(self) -> str:
        return f"{self.status} {HTTPStatus(self.status).phrase}"


def xml_text(value: str) -> str:
    """`value` without the characters that XML 1.0 cannot hold, not even escaped."""
    return _NOT_IN_XML.sub("\ufffd", value)


def is_header_value(value: str) -> bool:
    return not _NOT_IN_HEADER.search(value)


def header_value(value: str) -> str:
    """Text as the UTF-8 bytes that OSS sends, in the latin-1 form that WSGI wants."""
    return value.encode().decode("latin-1")


TROUBLESHOOT = "https://api.aliyun.com/troubleshoot?q="


class OSSError(Exception):
    """One refusal of OSS (P§10.1): status, code, message, EC and the members that go with it."""

    def __init__(self, status: int, code: str, message: str, ec: str = "", **members: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.ec = ec
        self.members = members
        #: what the answer carries beside its XML
        self.headers: Headers = []

    def answer(self, request_id: str, host_id: str) -> Answer:
        elements = {"Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": host_id}
        elements.update(self.members)
        # A 304 has no body, and so no type; a copy whose condition fails is answered so.
        headers = [*self.headers] if self.status == 304 else [*self.headers, ("Content-Type", "application/xml")]
        if self.ec:
            elements.update({"EC": self.ec, "RecommendDoc": TROUBLESHOOT + self.ec})
            headers.append(("x-oss-ec", self.ec))
        lines = [f"  <{name}>{escape(xml_text(value))}</{name}>" for name, value in elements.items()]
        document = "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', "<Error>", *lines, "</Error>", ""])
        return Answer(self.status, headers, document.encode())


def access_denied(message: str, ec: str = "") -> OSSError:
    return OSSError(403, "AccessDenied", message, ec)


def file_already_exists() -> OSSError:
    message = "The object you specified already exists and can not be overwritten."
    return OSSError(409, "FileAlreadyExists", message, "0026-00000121")


def invalid_argument(message: str, ec: str = "", *, name: str = "", value: str = "") -> OSSError:
    members = {"ArgumentName": name, "ArgumentValue": value} if name else {}
    return OSSError(400, "InvalidArgument", message, ec, **members)


def invalid_policy(message: str, ec: str = "") -> OSSError:
    return OSSError(400, "InvalidPolicyDocument", f"Invalid Policy: {message}", ec)


def malformed_post(ec: str = "0006-00000104") -> OSSError:
    message = "The body of your POST request is not well-formed multipart/form-data."
    return OSSError(400, "MalformedPOSTRequest", message, ec)


def no_such_bucket(name: str) -> OSSError:
    return OSSError(404, "NoSuchBucket", "The specified bucket does not exist.", "0015-00000101", BucketName=name)


def content_length(text: str) -> int:
    """Reads a Content-Length, which must be there."""
    if not text:
        raise OSSError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise invalid_argument("The Content-Length is not valid.", name="Content-Length", value=text)
    return int(text)


def content_md5(text: str) -> bytes:
    """Reads a Content-MD5; empty when none is announced."""
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        raise invalid_digest() from None
    if text and len(digest) != 16:
        raise invalid_digest()
    return digest


def invalid_digest() -> OSSError:
    return OSSError(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
