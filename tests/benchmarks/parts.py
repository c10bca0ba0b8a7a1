"""What completing an upload of 10,000 parts costs this server, and what the URL of a part costs.

    python -m tests.benchmarks.parts                10,000 parts of 100 KB, the smallest that OSS joins
    python -m tests.benchmarks.parts --parts 1000

A local OSS in a process of its own holds the parts. This process asks it with the official SDK, as a server does; its
CPU time and the growth of its peak memory are measured. An upload of two parts goes first, so that loading modules does
not count. Exit status 1 above 2 s or 64 MiB. Loopback only; it needs 2 GB of disk for a while.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

from local_oss import LocalOSS, LocalOSSServer
from oss_wsgi import DirectUpload, SDKBucket, Settings
from oss_wsgi.callback.ticket import TicketBook
from oss_wsgi.parts.ticket import PartsBook
from oss_wsgi.testing.clients import get_response

PART = 100 * 1024
SECRET = "a ticket secret for benchmarks and nothing else"
MAX_SECONDS, MAX_MEBIBYTES = 2.0, 64.0
URLS = 2000


def serve() -> None:
    """Run the local OSS, and fill each upload that a line of the input names: its key, its ID, its number of parts."""
    with LocalOSS(key_bits=512) as oss:
        server = LocalOSSServer(oss)
        server.start()
        print(json.dumps([oss.bucket, oss.region, oss.host, oss.access_key_id, oss.access_key_secret]), flush=True)
        bucket = oss.storage.bucket(oss.bucket)
        for line in sys.stdin:
            key, upload_id, parts = json.loads(line)
            upload = bucket.upload(key, upload_id)
            etags = []
            for number in range(1, parts + 1):
                with bucket.incoming() as incoming:
                    incoming.write(number.to_bytes(4, "big") * (PART // 4))
                    etags.append(incoming.commit_part(upload, number, now=time.time()).etag)
            print(json.dumps(etags), flush=True)
        server.stop()


class Site:
    """An application whose local OSS is in another process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        bucket, region, host, key_id, secret = self._read()
        settings = Settings(
            bucket=bucket,
            region=region,
            host=host,
            access_key_id=key_id,
            access_key_secret=secret,
            allow_anonymous=True,
            multipart=True,
            upload_max_size=5 * 1024**3,
            ticket_secret=(SECRET,),
        )
        self.bucket = SDKBucket(settings, clock=time.time)
        self.application = DirectUpload(_nothing, settings, bucket_client=self.bucket)
        tickets = TicketBook([SECRET], clock=time.time)
        self._book = PartsBook([SECRET], clock=time.time, tickets=tickets)

    def begin(self, parts: int) -> tuple[str, str, list[str]]:
        """Begin an upload, and return its ID, its key and the ETags of its parts, which are stored already."""
        answer = self.ask("POST", "", {"filename": "film.mp4", "size": parts * PART, "part_size": PART})
        opened = self._book.open(answer["uploadId"])
        assert self._process.stdin is not None
        print(json.dumps([answer["key"], opened.upload_id, parts]), file=self._process.stdin, flush=True)
        return answer["uploadId"], answer["key"], self._read()

    def complete(self, upload_id: str, key: str, etags: list[str]) -> None:
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)]
        answer = self.ask("POST", f"/{upload_id}/complete?key={key}", {"parts": parts})
        assert answer["answer"]["Status"] == "Ok", answer

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        import webob

        request = webob.Request.blank(f"/oss/s3/multipart{path}", method=method)
        if body is not None:
            request.body = json.dumps(body).encode()
        return get_response(request, self.application).json

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def _nothing(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [])
    return []


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, default=10_000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return 0
    command = [sys.executable, "-m", "tests.benchmarks.parts", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        site = Site(process)
        upload_id, key, etags = site.begin(2)
        started = time.process_time()
        for number in range(URLS):
            site.ask("GET", f"/{upload_id}/{number % 2 + 1}?key={key}")
        microseconds = (time.process_time() - started) / URLS * 1e6
        print(f"a request for the URL of a part: {microseconds:.0f} us, WebOb's own included")
        site.complete(upload_id, key, etags)
        large = site.begin(options.parts)
        before, started, clock = peak_mebibytes(), time.process_time(), time.monotonic()
        site.complete(*large)
        seconds, waited = time.process_time() - started, time.monotonic() - clock
        grown = peak_mebibytes() - before
        print(f"{options.parts} parts completed: {seconds:.2f} s of CPU in {waited:.1f} s, {grown:.1f} MiB more")
        site.bucket.close()
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
    return int(seconds > MAX_SECONDS or grown > MAX_MEBIBYTES)


if __name__ == "__main__":
    sys.exit(main())
