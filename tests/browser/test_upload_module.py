"""The module upload.js, as other pages use it."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from pathlib import Path

from ..support.absent import skip_or_fail
from .upload_page import UploadPage, expect, file

STATIC = Path(__file__).parents[2] / "static"

USE = """async () => {
  const { Uploader } = await import("./upload.js");
  const uploader = new Uploader({ serverUrl: "oss/signature?from=elsewhere", concurrency: 1 });
  const events = [];
  for (const type of ["add", "state", "done", "fail", "cancel", "remove", "idle"]) {
    uploader.addEventListener(type, ({ detail: { item } }) =>
      events.push([type, item?.file.name, type === "state" ? item.state : undefined].filter(Boolean).join(" ")));
  }
  const idle = () => new Promise((resolve) => uploader.addEventListener("idle", resolve, { once: true }));
  const [a, b] = uploader.add([new File(["a"], "a"), new File(["b"], "b")]);
  let resting = idle();
  uploader.start();
  uploader.cancel(b);
  await resting;
  const refused = uploader.retry(a);
  const twice = uploader.cancel(a);
  resting = idle();
  const accepted = uploader.retry(b);
  await resting;
  uploader.remove(a);
  return { events, refused, twice, accepted, answer: JSON.parse(a.answer), left: uploader.items.map((i) => i.state) };
}"""


def test_the_import_has_no_side_effects(page: UploadPage) -> None:
    expect(page.page.locator("#limits")).to_be_visible()  # the page itself is at rest
    before = page.page.content()
    names = page.page.evaluate("async () => Object.keys(await import('./upload.js?fresh'))")
    assert set(names) == {"Uploader", "UploadItem", "UploadError", "objectUrl"}
    assert page.page.content() == before
    assert page.signatures == []


EXPLAIN = """async () => {
  const { Uploader } = await import("./upload.js");
  const uploader = new Uploader({ serverUrl: "oss/no-such-signature" });
  const [item] = uploader.add([new File(["a"], "a")]);
  const before = await item.explain();
  uploader.start();
  await new Promise((resolve) => uploader.addEventListener("idle", resolve));
  return [before, await item.explain("en"), await item.explain(["xx", "zh-CN"]), await item.explain("de-CH")];
}"""


def test_an_item_explains_itself_in_a_language(page: UploadPage) -> None:
    page.expects("status of 404")
    before, english, chinese, german = page.page.evaluate(EXPLAIN)
    assert before == ""
    assert english == "The server does not give permission at this address. The page may be set up wrongly."
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert "Server" in german


def test_the_events_come_in_order(page: UploadPage) -> None:
    outcome = page.page.evaluate(USE)
    states = ["signing", "sending", "answering", "stored"]
    assert outcome["events"] == [
        "add a", "add b", "state a waiting", "state b waiting", "state a signing", "state b cancelled", "cancel b",
        *[f"state a {state}" for state in states[1:]], "done a", "idle",
        "state b waiting", *[f"state b {state}" for state in states], "done b", "idle",
        "remove a",
    ]  # fmt: skip
    assert outcome["refused"] is False
    assert outcome["twice"] is False
    assert outcome["accepted"] is True
    assert outcome["answer"]["Status"] == "Ok"
    assert outcome["left"] == ["stored"]
    assert all("from=elsewhere&filename=" in url for url in page.signatures)


def test_an_object_url_keeps_slashes_and_escapes_the_rest(page: UploadPage) -> None:
    urls = page.page.evaluate("""async () => {
      const { objectUrl } = await import("./upload.js");
      return [["https://b.example.com/", "a/b c/50%+é(1)'.txt"], ["http://127.0.0.1:1/bucket", "#?&"],
              ["javascript:alert(1)//", "x"]].map(([host, key]) => objectUrl(host, key));
    }""")
    assert urls == [
        "https://b.example.com/a/b%20c/50%25%2B%C3%A9%281%29%27.txt",
        "http://127.0.0.1:1/bucket/%23%3F%26",
        "",
    ]


PREPARED = """async () => {
  const { Uploader } = await import("./upload.js");
  const asked = [];
  const uploader = new Uploader({
    serverUrl: "oss/signature",
    concurrency: 2,
    headers: () => ({ "X-CSRFToken": "t" }),
    prepare: async (file) => {
      if (file.name === "bad") throw new Error("no picture");
      return new Blob([(await file.text()).toUpperCase()], { type: "text/plain" });
    },
    fetch: (url, options) => (asked.push(options.headers["X-CSRFToken"]), fetch(url, options)),
  });
  const states = [];
  uploader.addEventListener("state", ({ detail: { item } }) => states.push(item.state));
  const idle = new Promise((resolve) => uploader.addEventListener("idle", resolve));
  const [a, bad] = uploader.add([new File(["a"], "a.txt"), new File(["b"], "bad")]);
  uploader.start();
  await idle;
  const stored = await (await fetch(`link/${a.key}`)).text();
  return { asked, states: states.slice(0, 4), stored, name: a.file.name, kind: bad.error.kind, why: bad.error.reason };
}"""


def test_a_file_is_prepared_and_the_server_gets_the_pages_headers(page: UploadPage) -> None:
    outcome = page.page.evaluate(PREPARED)
    assert outcome["asked"] == ["t"]
    assert outcome["states"] == ["waiting", "waiting", "preparing", "preparing"]
    assert (outcome["stored"], outcome["name"]) == ("A", "a.txt")
    assert (outcome["kind"], outcome["why"]) == ("unprepared", "no picture")


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


def gzipped(*names: str) -> int:
    return sum(len(gzip.compress((STATIC / name).read_bytes(), 9)) for name in names)


def test_the_module_is_small() -> None:
    assert gzipped("upload.js") <= 9 * 1024
    assert gzipped("upload.js", "recovery.js", "parts.js") <= 15 * 1024
    assert "import " not in re.sub(r"import\(", "", (STATIC / "upload.js").read_text(encoding="utf-8"))


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
