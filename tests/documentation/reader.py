"""Types a page into a bash and a Python, step by step, and says which line failed."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from .blocks import MissingError, Step, StepError, steps
from .configuration import load
from .environment import environment, in_own_network

#: What bash runs for a step: the lines of a file, as if typed; then their status and whether an earlier line failed.
TYPE = '__failed=; source {0}.sh </dev/null >{0}.out 2>&1; echo "$? ${{__failed:+failed}}" >&3\n'
WAIT = """
for __wait in {{1..3000}}; do
    (exec 4<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && break
    kill -0 {pid} 2>/dev/null || break
    sleep 0.1
done
(exec 4<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null
"""
#: Ctrl-C, until the whole group has ended: the shell around a server ends before it.
END = """
kill -INT -- -{pid} 2>/dev/null || :
for __wait in {{1..600}}; do
    kill -0 -- -{pid} 2>/dev/null || break
    sleep 0.1
done
wait {pid} 2>/dev/null || :
"""


class Reader:
    """A person with a terminal, an empty folder and a page."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.home = folder / "reader"
        self.logs = folder / "logs"
        self.home.mkdir()
        self.logs.mkdir()
        self.names: dict[str, Any] = {"__name__": "__page__"}
        self.servers: dict[str, tuple[int, Path]] = {}
        self.count = 0
        self.visit = ""
        out, into = os.pipe()
        self.bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.home,
            env={**environ, "HOME": str(self.home)},
            text=True,
            pass_fds=[into],
            start_new_session=True,
        )
        os.close(into)
        self.statuses = os.fdopen(out)
        self.say(f"exec 3>&{into} {into}>&-\nset -m\ntrap '__failed=1' ERR\n")

    def say(self, text: str) -> None:
        assert self.bash.stdin is not None
        self.bash.stdin.write(text)
        self.bash.stdin.flush()

    def type(self, text: str, status: int = 0) -> str:
        """Type lines into the shell; return their output, raise ``StepError`` with it unless they end as expected."""
        self.count += 1
        path = self.logs / f"{self.count}"
        path.with_suffix(".sh").write_text(text, encoding="utf-8")
        self.say(TYPE.format(path))
        answer = self.statuses.readline().split()
        output = path.with_suffix(".out").read_text(encoding="utf-8", errors="replace")
        if not answer:
            raise StepError(f"the shell ended:\n{output}")
        if int(answer[0]) != status or (status == 0 and len(answer) > 1):
            raise StepError(
                f"exit status {answer[0]} instead of {status}, or an earlier line failed:\n{output}{self.log()}"
            )
        return output

    def log(self) -> str:
        """Return what the servers printed."""
        return "".join(
            f"--- port {port}:\n{path.read_text(errors='replace')}" for port, (_, path) in self.servers.items()
        )

    def serve(self, text: str, port: str) -> str:
        """Type lines whose last one runs on, and wait until the port answers."""
        self.stop(port)
        lines = text.rstrip().split("\n")
        start = len(lines) - 1
        while start and lines[start - 1].endswith("\\"):
            start -= 1
        if start:
            self.type("\n".join(lines[:start]) + "\n")
        output = self.logs / f"server-{port}-{self.count}.out"
        last = "\n".join(lines[start:])
        pid = int(self.type(f"{{ {last}\n}} >{output} 2>&1 3>&- &\necho $!\n").split()[-1])
        self.servers[port] = (pid, output)
        self.type(WAIT.format(port=port, pid=pid))
        return output.read_text(errors="replace")

    def stop(self, *ports: str) -> None:
        """Press Ctrl-C for the servers on some ports, or for all."""
        for port in ports or tuple(self.servers):
            if port in self.servers:
                pid, _ = self.servers.pop(port)
                self.type(END.format(pid=pid))

    def python(self, text: str, place: str) -> str:
        """Run Python with the names of the page, and with the folder and the environment of the shell."""
        self.type(f"env -0 >{self.logs}/environ; pwd >{self.logs}/folder\n")
        pairs = (self.logs / "environ").read_text(encoding="utf-8").split("\0")
        os.environ.clear()
        os.environ.update(pair.split("=", 1) for pair in pairs if pair)
        folder = (self.logs / "folder").read_text(encoding="utf-8").strip()
        os.chdir(folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                exec(compile(text, place, "exec"), self.names)
        except BaseException:
            raise StepError(output.getvalue() + traceback.format_exc() + self.log()) from None
        return output.getvalue()

    def save(self, name: str, text: str) -> None:
        """Save a file under the name that the page gives, in the shell's folder."""
        target = self.logs / "saved"
        target.write_text(text, encoding="utf-8")
        self.type(f'mkdir -p "$(dirname "{name}")" && cp {target} "{name}"\n')

    def do(self, step: Step) -> None:
        """Run a step; raise ``StepError`` or ``MissingError``."""
        for program in step.marks.get("needs", "").split():
            if shutil.which(program) is None and not Path(f"/usr/sbin/{program}").exists():
                raise MissingError(program)
        self.visit = step.marks.get("visit", self.visit)
        way = step.way()
        output = ""
        if way == "file":
            self.save(step.marks["file"], step.text)
        elif way == "stop":
            self.stop()
        elif way == "python":
            output = self.python(step.text, step.place)
        elif way in ("sh", "console"):
            output = self._typed(step)
        elif way == "js":
            self.save(f"{self.logs}/block.js", step.text)
            output = self.type(f"visit {self.visit} --script {self.logs}/block.js\n")
        elif way in ("apache", "nginx"):
            output = load(way, step.text, self.folder)
        elif way not in ("example", "run-by"):
            raise StepError("nothing runs this block")
        if "output" in step.marks:
            expect(step.marks["output"], output)

    def _typed(self, step: Step) -> str:
        text, expected = step.text, ""
        if step.language == "console":
            lines = step.text.splitlines()
            text = "".join(f"{line[2:]}\n" for line in lines if line.startswith(("$ ", "> ")))
            expected = "\n".join(line for line in lines if not line.startswith(("$ ", "> ")))
        if "server" in step.marks:
            return self.serve(text, step.marks["server"])
        output = self.type(text, int(step.marks.get("status", "0")))
        if expected:
            expect(expected, output)
        return output

    def close(self) -> None:
        """End the servers, then whatever else the page started, then the shell."""
        with contextlib.suppress(StepError, OSError):
            self.stop()
            self.type("kill $(jobs -p) 2>/dev/null; wait\n")
        assert self.bash.stdin is not None
        self.bash.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.bash.wait(30)
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                if os.getsid(int(process.name)) == self.bash.pid:
                    os.kill(int(process.name), signal.SIGKILL)
        self.statuses.close()
        self.bash.wait(30)


def expect(expected: str, output: str) -> None:
    """Raise ``StepError`` unless the expected text is in the output; ``...`` stands for anything."""
    parts = [re.escape(" ".join(part.split())) for part in expected.split("...")]
    if not re.search(".*?".join(parts), " ".join(output.split())):
        raise StepError(f"the page shows\n{expected}\nand the output is\n{output}")


def read(page: Path, folder: Path, packages: Path | None = None) -> int:
    """Type a whole page; print each step; return 0, 1 for a failure, 77 if a program is missing."""
    page_steps = steps(page)
    with environment(page_steps, packages) as environ:
        os.environ.update(environ)
        reader = Reader(folder, environ)
        missing = []
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        try:
            for step in page_steps:
                print(f"{step.place}: {step.way() or step.language} {step.marks}", flush=True)
                try:
                    reader.do(step)
                except MissingError as error:
                    missing.append(f"{step.place}: {error} is not installed")
                except StepError as error:
                    print(f"{step.place}:\n{step.text}\n{error}", flush=True)
                    return 1
        finally:
            reader.close()
    print(*missing, sep="\n")
    return 77 if missing else 0


def main() -> int:
    page, *packages = (Path(argument).resolve() for argument in sys.argv[1:])
    in_own_network()
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        return read(page, Path(folder), *packages)


if __name__ == "__main__":
    sys.exit(main())
