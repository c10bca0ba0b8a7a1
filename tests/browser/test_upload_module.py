"""The module upload.js, as other pages use it."""

from __future__ import annotations

from .upload_page import UploadPage, expect

USE = """async () => {
  const { Uploader } = await import("./upload.js");
  const uploader = new Uploader({ serverUrl: "oss/signature?from=elsewhere", parallel: 1 });
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
