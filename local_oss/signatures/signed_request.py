"""The parts of a request that are signed: method, headers, query, and the bucket and object that it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from ..environ import Address
from ..errors import access_denied, invalid_argument
from ..xml_document import iso_time


@dataclass(frozen=True)
class SignedRequest:
    """One request as a signature sees it.

    :param headers: by lower-case name.
    :param query: decoded, in the order of the URL; `+` is a space, as oss2 sends and signs it.
    :param path: the decoded path of the URL, which S3 signs in place of bucket and key.
    """

    method: str
    address: Address
    headers: Mapping[str, str]
    query: tuple[tuple[bytes, bytes], ...]
    path: bytes = b""

    @classmethod
    def read(cls, environ: Mapping[str, Any], address: Address) -> SignedRequest:
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1")
        query = _query(environ.get("QUERY_STRING", ""))
        return cls(environ["REQUEST_METHOD"], address, read_headers(environ), query, path)

    @property
    def resource(self) -> str:
        """The bucket and the key. The bucket is signed by name even if only the Host names it."""
        return f"/{self.address.bucket}/{self.address.key}" if self.address.bucket else "/"

    def sorted_query(self, signature: str) -> list[tuple[str, str]]:
        """Return the query as V4 signs it, encoded and without the signature, which does not cover itself."""
        pairs = ((name, value) for name, value in self.query if name != signature.encode())
        return sorted((quote(name, safe=""), quote(value, safe="")) for name, value in pairs)

    def parameter(self, name: str) -> str | None:
        """Return the first parameter of this name, "" if it has no value, None if it is missing."""
        values = (value for parameter, value in self.query if parameter == name.encode())
        value = next(values, None)
        return None if value is None else value.decode(errors="replace")

    def required_parameter(self, name: str) -> str:
        """Return the first parameter of this name; raise OSSError if it is missing or empty."""
        value = self.parameter(name)
        if not value:
            raise invalid_argument(f"The signed URL has no {name}.", name=name)
        return value


def read_headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers by lower-case name, their bytes decoded as UTF-8."""
    headers = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name] = environ[name]
    return {
        name.replace("_", "-").lower(): value.strip().encode("latin-1").decode(errors="replace")
        for name, value in headers.items()
    }


def check_not_expired(expires: int, now: float) -> None:
    """Raise OSSError after the last second, in Unix time, in which a signed URL is valid."""
    if now > expires:
        error = access_denied("Request has expired.", "0002-00000069")
        error.members = {"Expires": iso_time(expires), "ServerTime": iso_time(now)}
        raise error


def _query(text: str) -> tuple[tuple[bytes, bytes], ...]:
    pairs = (pair.partition("=") for pair in text.replace("+", " ").split("&") if pair)
    return tuple((unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs)
