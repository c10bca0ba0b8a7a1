"""Uploads a large file in parts through a server's ``{prefix}/s3``: three at once, checked, resumed after a stop."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..callback.url import without_password
from .form_body import FileChangedError
from .http_client import Response, read_refusal
from .parts_client import AppRefusedError, PartsClient, StoppedError, StoredPart, plain_etag
from .refusal_fix import fix_refusal, see_also
from .terminal import Progress, plain
from .upload_state import StateError, UploadState, load_state

#: Parts that are sent at the same time.
AT_ONCE = 3

_CHUNK = 256 * 1024
#: Tries of one part whose bytes did not arrive as they were sent, or whose URL had expired.
_TRIES = 4
#: Times that parts which are missing at the end are sent again.
_ROUNDS = 3
#: Seconds between two looks of the main thread, which a signal interrupts.
_TICK = 0.2
_EXPIRED = "0002-00000069"


class PartsFailedError(Exception):
    """Raised in a sentence when OSS refuses a part; ``members`` are for JSON."""

    def __init__(self, message: str, members: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.members = members or {}


@dataclass(frozen=True)
class UploadedFile:
    """What became of a file: its name in OSS, the application's answer, and how many parts were there before."""

    key: str
    answer: Any
    parts: int
    resumed: int


class PartsUpload:
    """The upload of one file, which begins, or goes on where the state in ``path`` says.

    :param name: the file.
    :param path: of the state, which the errors name.
    :param progress: the bar of the whole file.
    """

    def __init__(self, name: str, path: Path, client: PartsClient, stop: threading.Event, progress: Progress) -> None:
        self._name = name
        self._path = path
        self._client = client
        self._stop = stop
        self._progress = progress
        self._lock = threading.Lock()
        self._done = 0
        self._shown = 0

    def run(self, state: UploadState, *, resumed: bool) -> UploadedFile:
        """Send what is missing, and complete. Raises as `PartsClient` does, PartsFailedError, FileChangedError."""
        etags: dict[int, str] = {}
        before = 0
        for number in range(_ROUNDS):
            if number or resumed:
                with self._progress.waiting("Comparing the stored parts with the file"):
                    etags = self._stored(state, self._client.list_parts(state.upload_id, state.key))
                before = before if number else len(etags)
            self._done = self._shown = sum(state.length(part) for part in etags)
            self._progress.start_at(self._done)
            missing = [part for part in range(1, state.count + 1) if part not in etags]
            etags |= self._send(state, missing)
            self._check_unchanged(state)
            self._progress(state.size)
            try:
                completed = self._client.complete(state.upload_id, state.key, etags)
            except AppRefusedError as error:
                if error.code != "parts_missing" or number == _ROUNDS - 1:
                    raise
            else:
                return UploadedFile(state.key, completed.get("answer"), state.count, before)
        raise AssertionError("the last round returns or raises")

    def _stored(self, state: UploadState, listed: Iterable[StoredPart]) -> dict[int, str]:
        """Return the ETags of the stored parts that are those of the file; the others are sent again."""
        etags: dict[int, str] = {}
        with open(self._name, "rb") as file:
            for part in listed:
                if part.number > state.count or part.size != state.length(part.number):
                    continue
                # A completed upload has the object's own ETag, which is not an MD5, in place of the parts'.
                if "-" in part.etag or part.etag == self._digest(state, part.number, file):
                    etags[part.number] = part.etag
        return etags

    def _digest(self, state: UploadState, number: int, file: BinaryIO) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in _read(file, (number - 1) * state.part_size, state.length(number)):
            if self._stop.is_set():
                raise StoppedError
            digest.update(chunk)
        return digest.hexdigest().upper()

    def _send(self, state: UploadState, numbers: Iterable[int]) -> dict[int, str]:
        """Send parts, and return their ETags. The first failure stops the others, and is raised."""
        waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in numbers:
            waiting.put(number)
        etags: dict[int, str] = {}
        failures: list[BaseException] = []

        def work() -> None:
            try:
                with open(self._name, "rb") as file:
                    while not self._stop.is_set():
                        number = waiting.get_nowait()
                        etags[number] = self._send_part(state, number, file)
            except queue.Empty:
                pass
            except BaseException as error:
                failures.append(error)
                self._stop.set()

        # Threads of the system's own end with the program: Ctrl-C waits for no answer of OSS.
        threads = [threading.Thread(target=work, daemon=True, name=f"part-{number}") for number in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(_TICK)
        except BaseException:
            self._stop.set()
            raise
        for failure in failures:
            if not isinstance(failure, StoppedError):
                raise failure
        if failures:
            raise failures[0]
        return etags

    def _send_part(self, state: UploadState, number: int, file: BinaryIO) -> str:
        """Send one part until OSS has it as it was sent, and return its ETag."""
        body = _PartBody(self, state, number, file)
        for tried in range(1, _TRIES + 1):
            response = self._client.retried(self._signed(state, number, body))
            etag = plain_etag(response.headers.get("ETag") or "")
            if response.status == 200 and etag == body.digest:
                return etag
            body.take_back()
            refusal = read_refusal(response.body)
            retriable = response.status == 200 or refusal.ec == _EXPIRED or refusal.code == "RequestTimeout"
            if not retriable or tried == _TRIES:
                raise _failure(state, number, response, etag)
        raise AssertionError("the last try returns or raises")

    def _signed(self, state: UploadState, number: int, body: _PartBody) -> Callable[[], Response]:
        """Return what sends a part by a new signed URL."""
        signed = self._client.sign_part(state.upload_id, state.key, number)
        given = signed.get("headers")
        headers = {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
        headers["Content-Length"] = str(state.length(number))
        return lambda: self._client.put(signed["url"], headers, body)

    def _check_unchanged(self, state: UploadState) -> None:
        check_unchanged(state, os.stat(self._name), self._path)

    def add_progress(self, size: int) -> None:
        """Count bytes sent; a negative number counts bytes to send again. The bar never goes back."""
        with self._lock:
            self._done += size
            if self._done > self._shown:
                self._shown = self._done
                # At the end of its last byte a part is not yet stored.
                self._progress(min(self._done, max(self._progress.total - 1, 0)))

    def check_stopped(self) -> None:
        """Raise StoppedError if the upload is stopped."""
        if self._stop.is_set():
            raise StoppedError


class _PartBody:
    """The bytes of a part; iterating over it again sends them again."""

    def __init__(self, upload: PartsUpload, state: UploadState, number: int, file: BinaryIO) -> None:
        self._upload = upload
        self._start = (number - 1) * state.part_size
        self._length = state.length(number)
        self._file = file
        self._counted = 0
        self.digest = ""

    def __iter__(self) -> Iterator[bytes]:
        self.take_back()
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in _read(self._file, self._start, self._length):
            self._upload.check_stopped()
            digest.update(chunk)
            yield chunk
            self._counted += len(chunk)
            self._upload.add_progress(len(chunk))
        self.digest = digest.hexdigest().upper()

    def take_back(self) -> None:
        """Count the bytes as not sent."""
        self._upload.add_progress(-self._counted)
        self._counted = 0


def _read(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    file.seek(start)
    while length:
        chunk = file.read(min(_CHUNK, length))
        if not chunk:
            raise FileChangedError(f"the file became shorter by at least {length} bytes while it was read")
        length -= len(chunk)
        yield chunk


def state_to_resume(path: Path, endpoint: str, status: os.stat_result) -> UploadState | None:
    """Return the state of an upload that can go on; None if there is none, or its time is over.

    Raises StateError if the file has changed or the upload began at another server, and FileChangedError.
    """
    state = load_state(path)
    if state is None:
        return None
    if state.endpoint != endpoint:
        raise StateError(
            f"the upload began at {without_password(state.endpoint)}: name it with --endpoint, or remove "
            f"{plain(str(path))} to begin anew"
        )
    check_unchanged(state, status, path)
    return state if time.time() < state.expire else None


def check_unchanged(state: UploadState, status: os.stat_result, path: Path) -> None:
    """Raise FileChangedError if a file is not as it was when its upload began."""
    if (status.st_size, status.st_mtime_ns) != (state.size, state.mtime):
        raise FileChangedError(
            f"the file has changed since its upload began, so its parts would not fit together: remove "
            f"{plain(str(path))} to begin anew"
        )


def _failure(state: UploadState, number: int, response: Response, etag: str) -> PartsFailedError:
    if response.status == 200:
        problem = "without an ETag" if not etag else "with an ETag that is not the MD5 of what was sent"
        return PartsFailedError(
            f"part {number} of {state.count} was answered {problem}. Look for a proxy that changes what passes, or "
            "drops response headers"
        )
    refusal = read_refusal(response.body)
    fix = fix_refusal(refusal, response.status, "oss:PutObject", "acs:oss:*:*:BUCKET/DIR/*")
    message = f"part {number} of {state.count} was refused: {response.status} {str(refusal).rstrip('.')}. "
    return PartsFailedError(
        f"{message}{see_also(refusal)} {fix}".strip(),
        {"status": response.status, "error": {**refusal.members(), "fix": fix}},
    )
