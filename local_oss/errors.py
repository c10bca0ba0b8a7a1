"""OSS's responses: a status, headers and a body, and an error as XML for every refusal (protocol.md 10.1)."""

from __future__ import annotations

import errno
import re
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from xml.sax.saxutils import escape

Headers = list[tuple[str, str]]

#: The pages that explain an EC: for accounts of the Chinese site, and for those of the international one.
TROUBLESHOOT = "https://api.aliyun.com/troubleshoot?q="
TROUBLESHOOT_INTERNATIONAL = "https://api.alibabacloud.com/troubleshoot?q="

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_IN_HEADER = re.compile("[\x00-\x1f\x7f]")


@dataclass
class Response:
    """The response to one request; the application adds the headers that all responses share."""

    status: int
    headers: Headers = field(default_factory=list)
    body: Iterable[bytes] | bytes = b""

    @property
    def status_line(self) -> str:
        return f"{self.status} {HTTPStatus(self.status).phrase}"


@dataclass(frozen=True)
class ErrorText:
    """The texts of an error, to keep instead of the exception, whose frames keep their values alive."""

    message: str
    ec: str = ""
    code: str = ""
    members: Mapping[str, str] = field(default_factory=dict)


class OSSError(Exception):
    """A refusal: status, code, message, EC and any further XML members.

    `headers` holds further headers of the response. `denied` holds the elements of AccessDeniedDetail, which name the
    right that a policy denies.
    """

    def __init__(self, status: int, code: str, message: str, ec: str = "", **members: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.ec = ec
        self.members = members
        self.headers: Headers = []
        self.denied: Mapping[str, str] = {}

    def response(self, request_id: str, host_id: str, troubleshoot: str = TROUBLESHOOT) -> Response:
        """Return the response with the error as XML, its elements in OSS's order.

        :param troubleshoot: the URL that an EC completes.
        """
        elements = {"Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": host_id}
        elements.update(sorted(self.members.items()))
        lines = _lines(elements)
        if self.denied:
            lines += ["  <AccessDeniedDetail>", *_lines(self.denied, "    "), "  </AccessDeniedDetail>"]
        # A 304 has no body, so it has no content type. A copy whose condition fails gets a 304.
        headers = [*self.headers] if self.status == 304 else [*self.headers, ("Content-Type", "application/xml")]
        if self.ec:
            lines += _lines({"EC": self.ec, "RecommendDoc": troubleshoot + self.ec})
            headers.append(("x-oss-ec", self.ec))
        document = "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', "<Error>", *lines, "</Error>", ""])
        return Response(self.status, headers, document.encode())


def _lines(elements: Mapping[str, str], indent: str = "  ") -> list[str]:
    return [f"{indent}<{name}>{escape(xml_text(value))}</{name}>" for name, value in elements.items()]


def access_denied(message: str, ec: str = "") -> OSSError:
    return OSSError(403, "AccessDenied", message, ec)


def anonymous_access() -> OSSError:
    return access_denied("Anonymous access is forbidden for this operation.", "0003-00001201")


def denied_by_bucket_acl() -> OSSError:
    return access_denied("You have no right to access this object because of bucket acl.", "0003-00000001")


def file_already_exists() -> OSSError:
    message = "The object you specified already exists and can not be overwritten."
    return OSSError(409, "FileAlreadyExists", message, "0026-00000121")


def invalid_argument(message: str, ec: str = "", *, name: str = "", value: str = "") -> OSSError:
    """Return the error for one wrong argument; `name` and `value` say which one."""
    members = {"ArgumentName": name, "ArgumentValue": value} if name else {}
    return OSSError(400, "InvalidArgument", message, ec, **members)


def invalid_digest(value: str, ec: str = "") -> OSSError:
    """Return the error for a Content-MD5 that is not a digest, or differs from the body's."""
    return OSSError(400, "InvalidDigest", "The Content-MD5 you specified was invalid.", ec, **{"Content-MD5": value})


def invalid_part(upload_id: str, number: str, etag: str) -> OSSError:
    """Return the error for a part that an upload does not have, or that has another ETag than the given one."""
    message = (
        "One or more of the specified parts could not be found or the specified entity tag might not have matched"
        " the part's entity tag."
    )
    return OSSError(400, "InvalidPart", message, ETag=etag, PartNumber=number, UploadId=upload_id)


def invalid_policy(message: str, ec: str = "") -> OSSError:
    return OSSError(400, "InvalidPolicyDocument", f"Invalid Policy: {message}", ec)


def malformed_post(ec: str = "0006-00000104") -> OSSError:
    message = "The body of your POST request is not well-formed multipart/form-data."
    return OSSError(400, "MalformedPOSTRequest", message, ec)


def no_such_bucket(name: str) -> OSSError:
    return OSSError(404, "NoSuchBucket", "The specified bucket does not exist.", "0015-00000101", BucketName=name)


def missing_field(name: str, ec: str = "") -> OSSError:
    """Return the error for a field that a form lacks, or that only follows the file."""
    message = (
        f"The bucket POST must contain the specified '{name}'. If it is specified, please check the order of the fields"
    )
    return invalid_argument(message, ec, name=name)


def not_implemented(what: str) -> OSSError:
    """Return the error for a feature that the local OSS does not have; the message names it."""
    return OSSError(501, "NotImplemented", f"The local OSS has no {what}. Nothing was changed.")


def not_installed(what: str, library: str) -> OSSError:
    """Return the error for a feature that needs a missing library, such as Pillow, which the .pyz leaves out."""
    message = f"{what} needs {library}, which is not installed here: pip install 'oss-wsgi[local]'."
    return OSSError(501, "NotImplemented", message)


def insufficient_storage() -> OSSError:
    """Return the error for a request that needs more room than the disk has; a real OSS has no such error."""
    message = "The disk of the local OSS is full. Make room in its folder and try again; nothing was stored."
    return OSSError(507, "InsufficientStorage", message)


def is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return isinstance(error, sqlite3.OperationalError) and "full" in str(error)


def xml_text(value: str) -> str:
    """Return `value` with U+FFFD for each character that XML 1.0 cannot hold even when escaped."""
    return _NOT_IN_XML.sub("\ufffd", value)


def xml_escaped(value: str) -> str:
    """Return `value` escaped; characters that XML 1.0 cannot hold become references, as in OSS's lists of keys.

    Most parsers refuse such references, so clients ask for `encoding-type=url`.
    """
    return _NOT_IN_XML.sub(lambda match: f"&#x{ord(match[0]):X};", escape(value))


def is_header_value(value: str) -> bool:
    """Return whether a header may have this value: it contains no control characters."""
    return not _NOT_IN_HEADER.search(value)


def header_value(value: str) -> str:
    """Return the UTF-8 bytes of `value`, as OSS sends them, in the latin-1 form that WSGI requires."""
    return value.encode().decode("latin-1")
