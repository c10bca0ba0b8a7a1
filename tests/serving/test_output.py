"""What a socket has not taken is counted: in memory, in temporary files, and not where the application has its file."""

from __future__ import annotations

import io
import socket

import pytest
from waitress.adjustments import Adjustments
from waitress.buffers import ReadOnlyFileBasedBuffer

from oss_wsgi.serving.output import Output

from ..support.server_thread import Wrapped


def an_output(**options: int) -> Output:
    return Output(Adjustments(**{"outbuf_overflow": 10_000, "outbuf_high_watermark": 100_000, **options}))


def a_file(content: bytes) -> ReadOnlyFileBasedBuffer:
    file = ReadOnlyFileBasedBuffer(io.BytesIO(content))
    file.prepare()
    return file


def sent_by(output: Output) -> bytes:
    """Return what a socket gets that takes seven bytes at a time."""
    sent: list[bytes] = []

    class Slow(Wrapped):
        def send(self, data: bytes, flags: int) -> int:
            sent.append(data[:7])
            return len(sent[-1])

    with socket.socket() as client:
        while output:
            output.flush(Slow(client))  # type: ignore[arg-type]
    return b"".join(sent)


def test_only_temporary_files_count_as_files() -> None:
    output = an_output()
    output.append(b"a" * 9000)
    assert (output.length, output.memory, output.file_bytes) == (9000, 9000, 0)
    output.append(a_file(b"b" * 50_000))
    assert (output.length, output.memory, output.file_bytes) == (59_000, 9000, 0)
    output.append(b"c" * 20_000)
    assert (output.length, output.memory, output.file_bytes) == (79_000, 9000, 20_000)
    output.close()
    assert (bool(output), output.memory, output.file_bytes) == (False, 0, 0)


def test_beyond_its_memory_a_response_goes_to_a_file_however_small_its_pieces_are() -> None:
    output = an_output(outbuf_overflow=1 << 20, outbuf_high_watermark=16 << 20)
    for _ in range(64):
        output.append(b"a" * (64 << 10))
    assert output.memory <= 1 << 20
    assert output.file_bytes == (4 << 20) - output.memory
    output.close()


def test_bytes_and_files_are_sent_in_order() -> None:
    output = an_output()
    pieces = [b"a" * 50, a_file(b"b" * 60), b"c" * 2000, a_file(b"d" * 70), a_file(b"e" * 80), b"f"]
    for piece in pieces:
        output.append(piece)
    assert sent_by(output) == b"a" * 50 + b"b" * 60 + b"c" * 2000 + b"d" * 70 + b"e" * 80 + b"f"
    assert output.taken == 2261
    output.close()


def test_the_applications_file_is_closed_when_it_is_sent_and_when_the_peer_is_gone() -> None:
    for end in (sent_by, Output.close):
        file = io.BytesIO(b"x" * 100)
        output = an_output()
        buffer = ReadOnlyFileBasedBuffer(file)
        buffer.prepare()
        output.append(buffer)
        end(output)
        output.flush(None)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="closed"):
            file.read()
