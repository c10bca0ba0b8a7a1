"""Asks a server for uploads in parts, below ``{prefix}/s3``, and sends parts; retries what may fail for a while."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from ..application import LIMITS_PATH, MULTIPART_PATH, SIGNATURE_PATH
from .http_client import Response, UnreachableError, parsed, request
from .terminal import plain

#: Tries of one request, and seconds between them: the first wait, which doubles, and the longest.
TRIES = 8
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
#: Seconds that the server may need to let OSS join 10,000 parts.
_COMPLETE_TIMEOUT = 180.0


class StoppedError(Exception):
    """Raised in the threads when the upload is stopped."""


class StoredPart(NamedTuple):
    """A part that OSS has; ``etag`` is in upper case without quotes."""

    number: int
    size: int
    etag: str


class AppRefusedError(Exception):
    """Raised when the server refuses, with its status, and the code and message of its answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {message}".strip())
        self.status = status
        self.code = code


class PartsClient:
    """Speaks with a server whose signature endpoint is at a URL.

    :param headers: for the server, such as a cookie; OSS never gets them.
    :param timeout: seconds for each wait.
    :param stop: set to end all waits between tries.
    :param on_retry: called with the reason before a request is tried again.
    """

    def __init__(
        self,
        endpoint: str,
        headers: Mapping[str, str],
        timeout: float,
        stop: threading.Event,
        on_retry: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._endpoint = endpoint
        self._headers = headers
        self._timeout = timeout
        self._stop = stop
        self._on_retry = on_retry

    def limits(self) -> dict[str, Any]:
        """Return what the server lets this person upload. Raises AppRefusedError, UnreachableError."""
        return _object(self._ask("GET", LIMITS_PATH))

    def begin(self, filename: str, content_type: str | None, size: int, part_size: int) -> dict[str, Any]:
        """Begin an upload, and return what the server says of it. Raises AppRefusedError, UnreachableError."""
        members = {"filename": filename, "type": content_type or "", "metadata": {}}
        return _object(self._ask("POST", "/multipart", members | {"size": size, "part_size": part_size}))

    def list_parts(self, upload_id: str, key: str) -> list[StoredPart]:
        """Return the parts that are stored. Raises AppRefusedError, UnreachableError."""
        listed = _value(self.retried(lambda: self._ask("GET", f"/multipart/{quote(upload_id)}", key=key)))
        if not isinstance(listed, list):
            raise AppRefusedError(200, "", "the answer is not a list of parts")
        try:
            return [StoredPart(int(p["PartNumber"]), int(p["Size"]), plain_etag(str(p["ETag"]))) for p in listed]
        except (LookupError, TypeError, ValueError) as error:
            raise AppRefusedError(200, "", "the answer is not a list of parts") from error

    def sign_part(self, upload_id: str, key: str, number: int) -> dict[str, Any]:
        """Return the signed URL of a part, and the headers to send. Raises AppRefusedError, UnreachableError."""
        signed = _object(self.retried(lambda: self._ask("GET", f"/multipart/{quote(upload_id)}/{number}", key=key)))
        if not isinstance(signed.get("url"), str):
            raise AppRefusedError(200, "", "the answer has no url of the part")
        return signed

    def complete(self, upload_id: str, key: str, etags: Mapping[int, str]) -> dict[str, Any]:
        """Let the server join the parts, and return its answer. Raises AppRefusedError, UnreachableError."""
        parts = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in sorted(etags.items())]
        timeout = max(self._timeout, _COMPLETE_TIMEOUT)

        def ask() -> Response:
            return self._ask(
                "POST", f"/multipart/{quote(upload_id)}/complete", {"parts": parts}, key=key, timeout=timeout
            )

        return _object(self.retried(ask))

    def abort(self, upload_id: str, key: str) -> None:
        """Remove an upload and its parts, as well as that works. Raises AppRefusedError, UnreachableError."""
        _value(self._ask("DELETE", f"/multipart/{quote(upload_id)}", key=key))

    def put(self, url: str, headers: Mapping[str, str], body: Iterable[bytes]) -> Response:
        """Send a part to OSS, once. Raises UnreachableError."""
        return request("PUT", url, headers, body, timeout=self._timeout)

    def retried(self, send: Callable[[], Response]) -> Response:
        """Return the response to a request that is tried again when the network, or a server for a while, fails.

        Raises UnreachableError, and StoppedError.
        """
        wait = _FIRST_WAIT
        for tried in range(1, TRIES + 1):
            seconds = wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            try:
                response = send()
            except UnreachableError as error:
                if tried == TRIES:
                    raise
                self._on_retry(str(error))
            else:
                if tried == TRIES or not (response.status >= 500 or response.status == 429):
                    return response
                seconds = max(seconds, _retry_after(response))
                self._on_retry(f"the answer was {response.status}")
            if self._stop.wait(seconds):
                raise StoppedError
            wait = min(wait * 2, _LONGEST_WAIT)
        raise AssertionError("the last try returns or raises")

    def _ask(
        self,
        method: str,
        path: str,
        members: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        timeout: float | None = None,
    ) -> Response:
        if self._stop.is_set():
            raise StoppedError
        url = self._url(path if path == LIMITS_PATH else MULTIPART_PATH + path, key)
        body = None if members is None else json.dumps(members).encode()
        headers = dict(self._headers) | ({} if body is None else {"Content-Type": "application/json"})
        return request(method, url, headers, body, timeout=timeout or self._timeout)

    def _url(self, path: str, key: str | None) -> str:
        parts = urlsplit(self._endpoint)
        query = "&".join(filter(None, [parts.query, urlencode({"key": key}) if key is not None else ""]))
        return urlunsplit((parts.scheme, parts.netloc, parts.path.removesuffix(SIGNATURE_PATH) + path, query, ""))


def plain_etag(etag: str) -> str:
    """Return an ETag in upper case without quotes."""
    return etag.strip().strip('"').upper()


def _retry_after(response: Response) -> float:
    text = response.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT) if text.isascii() and text.isdigit() else 0.0


def _value(response: Response) -> Any:
    """Return the JSON of a 200. Raises AppRefusedError for any other answer."""
    try:
        value = parsed(response.body)
    except ValueError:
        value = None
    if response.status == 200 and value is not None:
        return value
    members = value if isinstance(value, dict) else {}
    error = members.get("error")
    error = error if isinstance(error, dict) else {}
    message = str(error.get("message") or members.get("message") or "")
    if response.status == 200:
        message = "the answer is not JSON"
    raise AppRefusedError(response.status, str(error.get("code") or ""), plain(message))


def _object(response: Response) -> dict[str, Any]:
    value = _value(response)
    if not isinstance(value, dict):
        raise AppRefusedError(response.status, "", "the answer is not a JSON object")
    return value
