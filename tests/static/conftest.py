"""Runs the tests that are written in JavaScript: each `test(claim, act)` of a `test_*.js` is a test of pytest.

QuickJS runs them with the modules of `static/`, each test in a new engine. The scripts in `browser/` play the names
of a browser, and `browser/cloud.js` plays the server and OSS. Time passes when a test says `await pass(seconds)`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import quickjs

from ..support.hidden_characters import HIDDEN, SHOWN

STATIC = Path(__file__).parents[2] / "static"
BROWSER = Path(__file__).parent / "browser"
#: In the order of what they need of each other.
SCRIPTS = ("time", "events", "values", "network", "storage", "intl", "document", "cloud", "claims", "uploading")
SIGNATURE = "https://shop.example.com/oss/signature"
#: A loop without an end fails: one call into JavaScript takes at most so many seconds of CPU, and a test so many calls.
CPU_SECONDS = 20
MOST_CALLS = 2_000_000


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix == ".js" and file_path.name.startswith("test_"):
        return ScriptOfTests.from_parent(parent, path=file_path)
    return None


class ScriptOfTests(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        for claim in json.loads(context_of(self.path).eval("claims()")):
            yield Claim.from_parent(self, name=claim)


class Claim(pytest.Item):
    def runtest(self) -> None:
        failure = outcome(context_of(self.path), self.name)
        if failure:
            raise ClaimError(failure)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> str:
        return str(excinfo.value)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name


class ClaimError(Exception):
    """A claim that does not hold."""


def context_of(path: Path) -> quickjs.Context:
    """Return a new browser with the tests of a file."""
    context = quickjs.Context()
    context.set_max_stack_size(2**20)
    context.set_time_limit(CPU_SECONDS)
    context.set("sources", context.parse_json(pages_and_modules()))
    context.set("characters", context.parse_json(json.dumps({"hidden": list(HIDDEN), "shown": SHOWN})))
    for name in SCRIPTS:
        context.eval(script(BROWSER / f"{name}.js"))
    context.eval(path.read_text(encoding="utf-8"))
    return context


def outcome(context: quickjs.Context, claim: str) -> str:
    """Run one test; return why it fails, or ""."""
    run_task = context.eval(f"globalThis.outcome = run({json.dumps(claim)}); runTask")
    outcome = context.get("outcome")
    for _ in range(MOST_CALLS):
        if context.execute_pending_job():
            continue
        text = outcome()
        if text is not None:
            failure: str = json.loads(text)
            return failure
        if not run_task():
            return "It waits for something that does not happen."
    return "It does not come to an end."


@functools.cache
def script(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def pages_and_modules() -> str:
    """Return the files of `static/` as JSON; of a module the text of a function that evaluates it."""
    modules = {path.relative_to(STATIC).as_posix(): function_of(script(path)) for path in STATIC.rglob("*.js")}
    return json.dumps({"index.html": script(STATIC / "index.html"), **modules})


def function_of(module: str) -> str:
    """Return a module as a function, on the same lines: QuickJS for Python loads no module of a name.

    Its address of the signature is written into it, as the server does.
    """
    text = module.replace('const SERVER_URL = "oss/signature";', f'const SERVER_URL = "{SIGNATURE}";')
    text = re.sub(r'^import (\{[^}]*\}) from ("[^"]*");', r"const \1 = await load(\2);", text, flags=re.MULTILINE)
    text = re.sub(r"\bimport\(", "load(", text)
    names = re.findall(r"^export (?:async )?(?:class|function|const) (\w+)", text, re.MULTILINE)
    text = re.sub(r"^export default ", "names.default = ", text, flags=re.MULTILINE)
    text = re.sub(r"^export ", "", text, flags=re.MULTILINE)
    return f'(async (load, names) => {{ "use strict"; {text}\nObject.assign(names, {{ {", ".join(names)} }});\n}})'
