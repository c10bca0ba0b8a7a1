"""A large file from Chromium to the local OSS: our page in parts, ali-oss in parts, and our page in one form.

    python -m tests.benchmarks.parts_in_browser                 2 GiB
    python -m tests.benchmarks.parts_in_browser --mib 256

Prints seconds, MB/s, and the peak memory of the tab, of the browser's own process, of the application's server and of
the local OSS: each is a process of its own, and its peak is reset before each way. Three parts are sent at once,
of 16 MiB by our page and of 1 MiB by ali-oss, which is its default. ali-oss (npm, on NODE_PATH) asks no server: it gets
the access key, and its upload is not reported. It is slow, so it sends the file's beginning only. Loopback only; the
program needs disk for five times the file's size.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from local_oss import CORSRule, LocalOSS, LocalOSSServer
from oss_wsgi import DirectUpload, Settings
from oss_wsgi.endpoints.static import StaticSite
from oss_wsgi.serving import make_server
from tests.support.chromium import chromium

MEBIBYTE = 1024 * 1024
PART = 16 * MEBIBYTE
AT_ONCE = 3
KINDS = ("renderer", "browser")

PAGE = "<!doctype html><meta charset=utf-8><title>Large</title><input type=file><script src=ali-oss.js></script>"

OURS = """async ({ server }) => {
  const { Uploader } = await import(`${server}/upload.js`);
  const uploader = new Uploader({ serverUrl: `${server}/signature`, limitsUrl: `${server}/limits` });
  const ended = new Promise((resolve) => uploader.addEventListener("idle", resolve));
  const [item] = uploader.add([document.querySelector("input").files[0]]);
  uploader.start();
  await ended;
  return item.state === "stored" ? item.answer : `${item.state}: ${item.error}`;
}"""

ALI_OSS = """async ({ key, part, size, atOnce }) => {
  const client = new OSS(key);
  const file = new File([document.querySelector("input").files[0].slice(0, size)], "film.mp4");
  const options = { parallel: atOnce, partSize: part, timeout: 600_000 };
  const { res } = await client.multipartUpload("ali-oss/film.mp4", file, options);
  return String(res.status);
}"""


class Program:
    """One of our two servers, in a process of its own."""

    def __init__(self, role: str, options: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.parts_in_browser", "--serve", role]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(options), file=self._process.stdin, flush=True)
        self.answer = json.loads(self._process.stdout.readline())
        self.pid = self._process.pid

    def stop(self) -> None:
        self._process.communicate(timeout=60)


def serve_oss(options: dict[str, Any]) -> None:
    rule = CORSRule(["*"], allowed_methods=("GET", "HEAD", "POST", "PUT", "DELETE"), expose_headers=("ETag",))
    with LocalOSS(directory=options["folder"], key_bits=1024, cors_rules=[rule], inspector=False) as oss:
        server = LocalOSSServer(oss)
        server.start()
        members = {"bucket": oss.bucket, "region": oss.region, "host": oss.host, "url": oss.url}
        members |= {"access_key_id": oss.access_key_id, "access_key_secret": oss.access_key_secret}
        print(json.dumps({**members, "public_key_url": oss.public_key_url, "pem": oss.public_key_pem}), flush=True)
        sys.stdin.read()
        server.stop()


def serve_application(options: dict[str, Any]) -> None:
    """Serve the page, ``/oss`` with parts and ``/forms`` without."""
    oss = options["oss"]
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    pem = Path(options["pages"]).parent / "key.pem"
    pem.write_text(oss["pem"])
    names = ("bucket", "region", "host", "access_key_id", "access_key_secret")
    common: dict[str, Any] = {name: oss[name] for name in names}
    common |= {"allow_anonymous": True, "ticket_secret": ("a ticket secret for benchmarks only",), "part_size": PART}
    common |= {"upload_max_size": 5 * 1024**3, "trusted_keys": ((oss["public_key_url"], str(pem)),)}
    policy = f"default-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self' {oss['url']}"
    application: Any = StaticSite(Path(options["pages"]), content_security_policy=policy)
    for prefix, multipart in (("/oss", True), ("/forms", False)):
        settings = Settings(**common, multipart=multipart, callback_url=f"{url}{prefix}/callback")
        application = DirectUpload(application, settings, prefix=prefix, on_upload=lambda upload: {"size": upload.size})
    server = make_server(application, [listener], max_request_body_size=MEBIBYTE, threads=8)
    thread = threading.Thread(target=server.run)
    thread.start()
    print(json.dumps({"url": url}), flush=True)
    sys.stdin.read()
    server.drain(0)
    thread.join()


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid: int) -> int:
    """Return the peak of resident memory since `reset_peak`, in MiB."""
    return int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) // 1024


def ali_oss_script() -> Path:
    for folder in os.environ.get("NODE_PATH", "").split(os.pathsep):
        script = Path(folder) / "ali-oss/dist/aliyun-oss-sdk.min.js"
        if script.is_file():
            return script
    sys.exit("ali-oss is not on NODE_PATH: npm install ali-oss")


def measure(file: Path, oss: Program, app: Program, ali_oss_size: int) -> None:
    url, key = app.answer["url"], oss.answer
    ali_oss = {
        "bucket": key["bucket"], "endpoint": key["url"], "region": f"oss-{key['region']}", "authorizationV4": True,
        "accessKeyId": key["access_key_id"], "accessKeySecret": key["access_key_secret"], "sldEnable": True,
    }  # fmt: skip
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("our page in parts", OURS, {"server": f"{url}/oss"}),
        ("ali-oss in parts", ALI_OSS, {"key": ali_oss, "part": MEBIBYTE, "size": ali_oss_size, "atOnce": AT_ONCE}),
        ("our page, one form", OURS, {"server": f"{url}/forms"}),
    ]
    print(f"{'':20}{'s':>8}{'MB/s':>8}   peak MiB: tab, browser, server, local OSS")
    with chromium() as browser:
        for name, script, options in ways:
            with browser.new_context() as context:
                page = context.new_page()
                page.set_default_timeout(600_000)
                page.goto(f"{url}/page.html")
                page.locator("input").set_input_files(file)
                processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
                # Chromium keeps a spare renderer ready; the tab's is the larger.
                tabs, own = ([int(each["id"]) for each in processes if each["type"] == kind] for kind in KINDS)
                measured = [tabs, own, [app.pid], [oss.pid]]
                for pid in [pid for pids in measured for pid in pids]:
                    reset_peak(pid)
                started = time.perf_counter()
                answer = page.evaluate(script, options)
                seconds = time.perf_counter() - started
                peaks = ", ".join(str(max(map(peak, pids))) for pids in measured)
            rate = options.get("size", file.stat().st_size) / seconds / 1e6
            print(f"{name:20}{seconds:8.1f}{rate:8.0f}   {peaks}   ({answer[:80]})", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print, or serve; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--ali-oss-mib", type=int, default=512, help="how much of the file ali-oss sends")
    parser.add_argument("--serve", choices=("oss", "application"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve = {"oss": serve_oss, "application": serve_application}[options.serve]
        serve(json.loads(sys.stdin.readline()))
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pages = folder / "pages"
        pages.mkdir()
        (pages / "page.html").write_text(PAGE)
        shutil.copy(ali_oss_script(), pages / "ali-oss.js")
        file = folder / "film.mp4"
        block = os.urandom(MEBIBYTE)
        with file.open("wb") as writing:
            for _ in range(options.mib):
                writing.write(block)
        oss = Program("oss", {"folder": str(folder / "objects")})
        stack.callback(oss.stop)
        app = Program("application", {"oss": oss.answer, "pages": str(pages)})
        stack.callback(app.stop)
        measure(file, oss, app, min(options.mib, options.ali_oss_mib) * MEBIBYTE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
