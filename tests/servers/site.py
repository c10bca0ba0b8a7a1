"""The site that every server of these tests hosts: a guarded application in a folder that any user may read."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from oss_wsgi.testing import CallbackSigner

CHECKOUT = Path(__file__).parents[2]

SCRIPT = """\
import json, logging, sys
sys.path.insert(0, {folder!r})
logging.basicConfig(filename={log!r}, level=logging.INFO, format="%(name)s %(message)s")
from oss_wsgi import AuthorizationPassthrough, CallbackGuard, CallbackVerifier, Dispatcher, PublicKeyStore

def receive(environ, start_response):
    upload, source = environ["oss_wsgi.upload"], environ.get("oss_wsgi.authorization_source")
    answer = json.dumps({{"Status": "Ok", "target": upload.target, "size": upload.size, "source": source}}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]

def legacy(environ, start_response):
    # Some gateways report a failure when the application leaves the body unread.
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
    return [b""]

verifier = CallbackVerifier(PublicKeyStore({{{url!r}: {pem!r}}}))
guard = CallbackGuard(receive, verifier, callback_urls={callback_urls!r})
application = AuthorizationPassthrough(guard, trusted_keys={trusted_keys!r})
if {mount!r}:
    application = Dispatcher(legacy, {{{mount!r}: application}})
"""


class Site:
    """A folder with ``app.py``, whose ``application`` is a guard that logs to a file of its own."""

    def __init__(self, signer: CallbackSigner, callback_urls: tuple[str, ...] = ()) -> None:
        # Web servers run as another user, who cannot read pytest's own folders.
        self.folder = Path(tempfile.mkdtemp(prefix="oss-wsgi-servers-"))
        self.folder.chmod(0o755)
        shutil.copytree(CHECKOUT / "oss_wsgi", self.folder / "oss_wsgi", ignore=shutil.ignore_patterns("__pycache__"))
        # As the wheel has it.
        shutil.copytree(CHECKOUT / "static", self.folder / "oss_wsgi" / "static", dirs_exist_ok=True)
        self.log_file = self.folder / "guard.log"
        self.log_file.touch()
        self.log_file.chmod(0o666)
        self.signer = signer
        self.script = self.host(callback_urls)
        self.processes: list[subprocess.Popen[bytes]] = []

    def host(
        self, callback_urls: tuple[str, ...] = (), mount: str | None = None, trusted_keys: tuple[str, ...] = ()
    ) -> Path:
        """Write ``app.py``. With ``mount`` the guard is below that prefix of an application that returns 404."""
        script = SCRIPT.format(
            folder=str(self.folder),
            log=str(self.log_file),
            url=self.signer.url,
            pem=self.signer.pem,
            callback_urls=callback_urls,
            mount=mount,
            trusted_keys=trusted_keys,
        )
        return self.write("app.py", script)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    def output(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.out")))

    def run(self, *command: str, port: int) -> None:
        """Start a server and wait until it accepts connections."""
        output = (self.folder / f"{len(self.processes)}.out").open("wb")
        environ = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env=environ,
                start_new_session=True,
            )
        self.processes.append(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert process.poll() is None, f"{command[0]} ended: {self.output()}"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"{command[0]} does not listen: {self.output()}")

    def close(self) -> None:
        """Kill the servers with their children: Apache takes a second to end by itself."""
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
