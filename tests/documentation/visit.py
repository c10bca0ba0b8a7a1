"""Opens a page in Chromium and does what its reader does, in the order of the options.

visit http://127.0.0.1:8080/ --fill user=eric --click "Log in" --upload cat.png --see "Status" --picture page.png
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from pathlib import Path
from typing import Any

from ..support.chromium import ARGUMENTS, chromium_path

#: How the page is looked at. Those before all others hold when it is opened.
LOOKS = ("width", "height", "dark")


class Next(argparse.Action):
    """Adds a step to the list of steps."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
        namespace.steps = [*(namespace.steps or ()), (self.dest, values)]


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="visit", description="Open a page in Chromium and use it.")
    result.add_argument("url")
    for name in ("fill", "click", "open", "upload", "see", "picture", "script", "goto"):
        result.add_argument(f"--{name}", action=Next)
    for name in ("width", "height"):
        result.add_argument(f"--{name}", action=Next, type=int)
    result.add_argument("--dark", action=Next, nargs=0)
    result.add_argument("--locale", default="en-GB")
    result.set_defaults(steps=[])
    return result


def module_as_function(text: str) -> str:
    """Return the body of a module as an async function that the page can run."""
    text = re.sub(r"^import (\{[^}]*\}|\* as \w+) from (\"[^\"]+\"|'[^']+');", _imported, text, flags=re.MULTILINE)
    return f"async () => {{ const file = new File(['hello'], 'hello.txt', {{ type: 'text/plain' }});\n{text}\n}}"


def _imported(match: re.Match[str]) -> str:
    names = match[1].replace(" as ", ": ") if match[1].startswith("{") else match[1].partition(" as ")[2]
    return f"const {names} = await import(new URL({match[2]}, location).href);"


def do(page: Any, name: str, value: Any) -> None:
    """Do one step on the page."""
    if name in ("width", "height"):
        page.set_viewport_size({**page.viewport_size, name: value})
    elif name == "dark":
        page.emulate_media(color_scheme="dark")
    elif name == "goto":
        page.goto(value)
    elif name == "fill":
        field, _, text = value.partition("=")
        page.locator(f"[name={field}]").fill(text)
    elif name == "click":
        link = page.get_by_role("link", name=value, exact=True)
        page.get_by_role("button", name=value, exact=True).or_(link).first.click()
    elif name == "open":
        page.get_by_role("link").filter(has_text=value).first.click()
    elif name == "upload":
        page.wait_for_load_state("load")  # the page's modules have run by then
        page.locator("input[type=file]").first.set_input_files(value.split(","))
    elif name == "see":
        text = re.compile(value) if value.startswith("^") else value
        page.get_by_text(text).first.wait_for()
    elif name == "script":
        print(page.evaluate(module_as_function(Path(value).read_text(encoding="utf-8"))))
    else:
        page.screenshot(path=Path(os.environ.get("PICTURES", ".")) / value)


def main() -> int:
    from playwright.sync_api import sync_playwright

    options = parser().parse_args()
    path = chromium_path()
    if path is None:
        print("Chromium is not installed", file=sys.stderr)
        return 77
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1000, "height": 640}, locale=options.locale)
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        looks = list(itertools.takewhile(lambda step: step[0] in LOOKS, options.steps))
        for name, value in [*looks, ("goto", options.url), *options.steps[len(looks) :]]:
            try:
                do(page, name, value)
            except Exception as error:
                print(f"{name} {value}: {error}\n{page.inner_text('body')}", *complaints, sep="\n", file=sys.stderr)
                return 1
        browser.close()
    complaints = [text for text in complaints if "favicon" not in text and "404 (" not in text]
    print(*complaints, sep="\n", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
