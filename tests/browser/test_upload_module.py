"""The module upload.js, as other pages use it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from ..support.absent import skip_or_fail
from .upload_page import UploadPage, expect, file

STATIC = Path(__file__).parents[2] / "static"

SHADOW = """() => {
  const host = document.body.appendChild(document.createElement("div"));
  const root = host.attachShadow({ mode: "open" });
  root.innerHTML = `<div data-language="de"><input type="file" id="inside" data-oss-upload>
    <output for="inside"></output></div>`;
  window.heard = [];
  addEventListener("oss:done", ({ detail: { item } }) => heard.push(item.file.name));
}"""


def test_an_input_in_a_shadow_root_uploads_in_the_language_of_its_attribute(page: UploadPage) -> None:
    page.page.evaluate(SHADOW)
    page.page.locator("#inside").set_input_files(file("a.txt"))
    expect(page.page.locator("output")).to_have_text("a.txt: Fertig")
    assert page.page.evaluate("heard") == ["a.txt"]
    assert len(page.signatures) == 1


def test_no_cookies_are_needed_and_none_are_set(page: UploadPage) -> None:
    page.upload(file("a.txt"))
    expect(page.row("a.txt")).to_contain_text("Done")
    assert page.page.context.cookies() == []


USE_OF_TYPES = """
import { Uploader, UploadError, objectUrl, type UploadItem, type UploaderOptions } from "./upload";
const options: UploaderOptions = { prepare: async (file) => file.slice(0, 10), headers: { a: "b" }, concurrency: 2 };
const uploader = new Uploader(options);
uploader.addEventListener("state", ({ detail: { item, previous } }) => console.log(item.state, previous.length));
uploader.addEventListener("done", ({ detail: { item } }) => console.log(item.key.length, item.error?.retryAfter));
const items: UploadItem[] = uploader.add([new File([], "a"), { file: new File([], "b"), path: "c/b" }]);
uploader.start(items);
const limits = await uploader.limits();
console.log(limits?.content_types.join(), uploader.totals.paused, uploader.pause(items[0]), uploader.resume(items[0]));
const error: unknown = items[0].error;
if (error instanceof UploadError) console.log(error.kind === "refused", error.passing);
document.addEventListener("oss:done", ({ detail: { item } }) => console.log(objectUrl(item.url, item.key)));
// @ts-expect-error: there is no such state
if (items[0].state === "finished") console.log();
"""
NAMES = """async () => {
  const { Uploader, UploadItem, UploadError } = await import("./upload.js");
  const own = (value) => Object.getOwnPropertyNames(value);
  const item = new UploadItem(1, new File([], "a"));
  return [own(Uploader.prototype), own(UploadItem.prototype), own(item), own(UploadError.prototype),
    own(new UploadError("refused", "page"))].flat();
}"""
INTERNAL = {"constructor", "reset", "note", "proof", "upload", "prepared", "retryAt", "message", "name", "stack"}


def test_the_types_are_those_of_the_module(page: UploadPage, tmp_path: Path) -> None:
    declared = (STATIC / "upload.d.ts").read_text(encoding="utf-8")
    names = set(page.page.evaluate(NAMES)) - INTERNAL - {"isFinal"}
    assert {name for name in names if not re.search(rf"\b{name}\b", declared)} == set()
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    tsc = shutil.which("tsc", path=os.pathsep.join(f"{folder}/.bin" for folder in folders))
    if tsc is None:
        skip_or_fail("typescript of npm")
    shutil.copy(STATIC / "upload.d.ts", tmp_path)
    (tmp_path / "use.ts").write_text(USE_OF_TYPES)
    options = ("--strict", "--noEmit", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler")
    checking = subprocess.run([tsc, *options, "use.ts"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert checking.stdout == ""
    assert checking.returncode == 0
