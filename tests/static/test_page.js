/** `page.js`: what the upload page shows and says, and what its buttons do. */

const $ = (id) => document.getElementById(id);
const PART = 2 ** 20;

/** Opens the upload page with attributes of its root element. */
async function open(attributes = {}) {
  location = new URL("https://shop.example.com/");
  write(sources["index.html"]);
  for (const [name, value] of Object.entries(attributes)) document.documentElement.setAttribute(`data-${name}`, value);
  await load("page.js");
  await settled();
}
const rows = () => $("rows").children;
const row = (name) => rows().find((element) => element.querySelector(".name bdi").textContent === name);
const shownText = (element) => (element.isHidden ? "" : element.textContent);
const at = (name, selector) => shownText(row(name).querySelector(selector));
const button = (name, selector) => row(name).querySelector(selector);
const visible = (...ids) => ids.filter((id) => !$(id).isHidden);
const banners = () =>
  $("banners").children.map((banner) => ["h3", ".message", ".detail"].map((part) => shownText(banner.querySelector(part))));
const spoken = () => $("live").textContent;
const size = (value) => value.replaceAll(" ", "\u00a0");

/** Chooses files, presses Upload, and waits until nothing more happens without time. */
async function send(...files) {
  choose($("file"), ...files);
  $("upload").click();
  await settled();
}
/** Presses a button by the keyboard; with details by the mouse. */
async function click(element, details) {
  if (details) press(element, details);
  else element.click();
  await settled();
}
const drag = (type, dataTransfer, more = {}) => {
  const event = new Event(type, { cancelable: true, dataTransfer, relatedTarget: null, ...more });
  window.dispatchEvent(event);
  return event;
};
const carried = (...files) => ({
  types: ["Files"],
  items: files.map((file) => ({ kind: "file", webkitGetAsEntry: () => ({ isFile: true, file }) })),
  files,
});

test("an empty page says that no files are chosen, and Upload is disabled", async () => {
  await open();
  same(
    [document.title, $("summary").textContent, $("upload").getAttribute("aria-disabled")],
    ["Upload files", "No files chosen yet", "true"],
  );
  same([rows(), $("rows").hidden, $("total").hidden, visible("pace", "clear", "again", "stop")], [[], true, true, []]);
  same([document.documentElement.lang, document.documentElement.dir], ["en", "ltr"]);
});

test("chosen files wait for Upload, and the chooser may choose them again", async () => {
  await open();
  choose($("file"), text("a.txt", "hello"), text("b.txt", "hello!"));
  await settled();
  same(
    [$("summary").textContent, $("upload").getAttribute("aria-disabled"), $("rows").hidden, $("file").value],
    [`2 files ready · ${size("11 bytes")}`, "false", false, ""],
  );
  same([at("a.txt", ".state"), at("a.txt", ".facts"), button("a.txt", ".close").title], ["Ready", size("5 bytes"), "Remove"]);
  same([spoken(), cloud.asked("signature")], ["2 files added.", []]);
  same([document.body.classList.contains("has-files"), document.body.classList.contains("all-sent")], [true, false]);
});

test("files that were chosen before the script came are in the list", async () => {
  location = new URL("https://shop.example.com/");
  write(sources["index.html"]);
  $("file").files = [text()];
  await load("page.js");
  await settled();
  same(rows().length, 1);
});

test("a finished file shows its name, its answer behind a button that says so, and a link to the object", async () => {
  await open();
  await send(text("cat.txt"));
  same([row("cat.txt").dataset.state, at("cat.txt", ".state"), $("summary").textContent], ["stored", "Done", "1 file done"]);
  same(button("cat.txt", ".name a").href, `${cloud.bucket}/uploads/1-cat.txt`);
  const more = button("cat.txt", ".show");
  same(
    [at("cat.txt", ".show"), more.getAttribute("aria-expanded"), at("cat.txt", ".object")],
    ["Answer", "false", ""],
  );
  await click(more);
  same(at("cat.txt", ".object"), "uploads/1-cat.txt");
  same(
    [more.getAttribute("aria-expanded"), at("cat.txt", "pre"), at("cat.txt", ".answer-title")],
    ["true", '{"Status":"Ok","number":1}', "The application answered"],
  );
  await click(more);
  same([more.getAttribute("aria-expanded"), button("cat.txt", ".answer").hidden], ["false", true]);
  same(
    [button("cat.txt", ".retry").hidden, button("cat.txt", "progress").hidden, button("cat.txt", ".close").title],
    [true, true, "Remove"],
  );
  same([document.body.classList.contains("all-sent"), visible("clear", "again", "stop")], [true, []]);
});

test("without an answer there is no title for one, and a long one is reached by the keyboard", async () => {
  cloud.hasCallback = false;
  await open();
  await send(text());
  button("a.txt", "pre").scrollHeight = 10;
  await click(button("a.txt", ".show"));
  same([at("a.txt", ".show"), at("a.txt", ".answer-title"), button("a.txt", "pre").tabIndex], ["Name in storage", "", 0]);
  await send(text("b.txt"));
  await click(button("b.txt", ".show"));
  same(button("b.txt", "pre").tabIndex, -1, "a short one has nothing to scroll");
});

test("where the server signs links, the row leads there", async () => {
  await open({ "link-url": "link" });
  await send(text("a b#.txt"));
  same(button("a b#.txt", ".name a").href, "https://shop.example.com/link/uploads/1-a%20b%23.txt");
});

test("where the answer has a url, the name is a link to it that shows itself", async () => {
  await open({ "link-url": "link" });
  const links = [
    ["/photos/7", "https://shop.example.com/photos/7"],
    ["https://cdn.example.com/a b", "https://cdn.example.com/a%20b"],
    ["https://", null],
    [7, null],
  ];
  for (const [index, [url, href]] of links.entries()) {
    cloud.next("form", (exchange) => exchange.reply(200, JSON.stringify({ url })));
    await send(text(`${index}.txt`));
    const link = button(`${index}.txt`, ".name a");
    const expected = href ?? `https://shop.example.com/link/uploads/${index + 1}-${index}.txt`;
    same([link.href, link.classList.contains("answered")], [expected, href !== null]);
  }
});

test("a page whose files are all done leads to the next choice, and one with a failure does not", async () => {
  const isDone = () => document.body.classList.contains("all-done");
  await open();
  await send(text("a.txt"));
  same(isDone(), true);
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  await send(text("b.txt"));
  same([isDone(), document.body.classList.contains("all-sent")], [false, true]);
  await click(button("b.txt", ".close"));
  same(isDone(), true);
  choose($("file"), text("c.txt"));
  await settled();
  same(isDone(), false);
});

test("a page without recovery asks nobody", async () => {
  await open({ "recover-url": "" });
  cloud.next("form", (exchange) => exchange.reply(203, xml("CallbackFailed", "Error status : 502.")));
  await send(text());
  same(
    [at("a.txt", ".state"), at("a.txt", ".detail")],
    ["Stored, but the application was not told", "CallbackFailed (203) · Error status : 502. · 6A2F"],
  );
  same(
    [at("a.txt", ".message"), button("a.txt", ".retry").hidden, $("summary").textContent],
    ["The file is in storage, so there is no need to send it again.", true, "1 file stored but not reported"],
  );
  same(cloud.asked("recover"), []);
});

test("while a file is sent its row shows share, bytes, speed and what is left", async () => {
  await open();
  cloud.next("form");
  await send(text("a.txt", "x".repeat(4000)));
  const exchange = cloud.last("form");
  same(at("a.txt", ".facts"), `0%\u00a0· ${size("0 bytes")} of ${size("4 kB")}`);
  exchange.onProgress(1000, 4000);
  await pass(1);
  exchange.onProgress(2000, 4000);
  await settled();
  const facts = ["50%", `${size("2 kB")} of ${size("4 kB")}`, `${size("1 kB")}/s`, "2 s left"].join("\u00a0· ");
  same([at("a.txt", ".facts"), button("a.txt", "progress").value, button("a.txt", "progress").hidden], [facts, 0.5, false]);
  same(
    [$("summary").textContent, $("pace").textContent],
    ["0 of 1 file done", facts.split("\u00a0· ").slice(1).join("\u00a0· ")],
  );
  same([document.title, $("total").value, $("total").hidden, visible("stop")], ["50% · Upload files", 0.5, false, ["stop"]]);
  same(
    [button("a.txt", ".close").title, button("a.txt", ".close").getAttribute("aria-label"), button("a.txt", ".pause").hidden],
    ["Cancel", "Cancel", true],
  );
  await pass(3);
  includes(at("a.txt", ".facts"), `${size("250 bytes")}/s`);
  exchange.onProgress(4000, 4000);
  same(at("a.txt", ".facts").split("\u00a0· ").slice(0, 2), ["100%", `${size("4 kB")} of ${size("4 kB")}`]);
  ok(!at("a.txt", ".facts").includes("left"), "nothing is left");
});

test("what is left is said in seconds, minutes and hours", async () => {
  await open();
  cloud.next("form");
  await send(large(100_000, "a.bin"));
  const exchange = cloud.last("form");
  const after = async (sent) => {
    exchange.onProgress(0, 100_000);
    await pass(10);
    exchange.onProgress(sent, 100_000);
    return at("a.bin", ".facts").split("\u00a0· ").at(-1);
  };
  same(await after(99_990), "1 s left");
  same([await after(14_400), await after(14_000), await after(300)], ["60 s left", "1 min left", "55 min left"]);
  same([await after(278), await after(240), await after(230)], ["1 h 0 min left", "1 h 9 min left", "1 h 12 min left"]);
});

test("a file that waits or rests shows no bar of its own, a small one that is answered a full one", async () => {
  await open();
  cloud.next("signature", () => {});
  await send(text("asking"));
  same([at("asking", ".state"), button("asking", "progress").hidden], ["Asking for permission", true]);
  await click(button("asking", ".close"));
  await click(button("asking", ".close"));
  cloud.always("form", (exchange) => exchange.fields.key.endsWith("4-d") || exchange.complete());
  await send(new File([], "empty"), text("b"), text("c"), text("d"));
  same(
    rows().map((element) => [
      element.dataset.state,
      element.querySelector("progress").hidden,
      element.querySelector("progress").value,
    ]),
    [
      ["answering", false, 1],
      ["answering", false, 1],
      ["answering", false, 1],
      ["waiting", true, 0],
    ],
  );
});

test("a file that nobody can tell of is summed up as one without an answer", async () => {
  await open();
  cloud.next("form", (exchange) => {
    exchange.complete();
    exchange.fail();
  });
  cloud.always("recover", (exchange) => exchange.fail());
  await send(text());
  await pass(60);
  same([$("summary").textContent, at("a.txt", ".state")], ["1 file without an answer", "Sent, but without an answer"]);
});

test("of files without a byte the bar counts those that are done", async () => {
  await open();
  cloud.always("form", (exchange) => exchange.fields.key.endsWith("a") && cloud.serve(exchange));
  await send(new File([], "a"), new File([], "b"));
  same($("total").value, 0.5);
});

test("the tile shows an extension of up to four letters", async () => {
  await open();
  choose($("file"), text("a.tar.gz"), text("b.jpeg"), text("c.extension"), text("d"));
  await settled();
  same(
    rows().map((element) => element.querySelector(".tile").textContent),
    ["GZ", "JPEG", "", ""],
  );
});

test("a picture has a thumbnail when it comes into view, one after the other", async () => {
  await open();
  const png = (name, content = "png") => text(name, content, { type: "image/png" });
  choose(
    $("file"),
    png("a.png"),
    png("broken.png"),
    png("c.png"),
    png("empty.png", ""),
    large(30e6 + 1, "huge.png", { type: "image/png" }),
    text("notes.txt"),
  );
  await settled();
  Image.broken.add("broken.png");
  same(
    rows().map((element) => IntersectionObserver.watched.has(element)),
    [true, true, true, false, false, false],
  );
  scrollTo(row("a.png"), false);
  await settled();
  same(row("a.png").querySelector("img"), null);
  for (const name of ["a.png", "broken.png", "c.png"]) scrollTo(row(name));
  await settled();
  same(
    ["a.png", "broken.png", "c.png"].map((name) => row(name).querySelector(".tile img") !== null),
    [true, false, true],
  );
  same([at("broken.png", ".tile"), URL.living.size, row("a.png").querySelector("img").getAttribute("alt")], ["PNG", 0, ""]);
  same(IntersectionObserver.watched.has(row("a.png")), false);
  choose($("file"), png("d.png"));
  await settled();
  const gone = row("d.png");
  await click(button("d.png", ".close"));
  same(IntersectionObserver.watched.has(gone), false, "nobody waits for a row that is gone");
});

test("a file of a folder shows its path, and a hidden character is spelled out", async () => {
  await open();
  choose(
    $("file"),
    Object.assign(text("sea\u202e.txt"), { webkitRelativePath: "holi\u202edays/2026/sea\u202e.txt" }),
    text("b.txt"),
  );
  await settled();
  same(
    [at("sea<U+202E>.txt", ".path"), row("sea<U+202E>.txt").querySelector(".name bdi").title],
    ["holi<U+202E>days/2026/", "sea<U+202E>.txt"],
  );
  same(button("b.txt", ".path").hidden, true);
});

test("a file chosen twice is marked until its twin is gone", async () => {
  await open();
  choose($("file"), text("a.txt"));
  choose($("file"), text("a.txt"), text("a.txt", "other size"), Object.assign(text("a.txt"), { webkitRelativePath: "f/a.txt" }));
  await settled();
  const twins = () => rows().map((element) => element.querySelector(".facts").textContent.includes("same name and size"));
  same(twins(), [false, true, false, false]);
  await click(rows()[1].querySelector(".close"));
  await click(rows()[0].querySelector(".close"));
  choose($("file"), text("a.txt"));
  await settled();
  same(twins(), [false, false, false]);
});

test("buttons and bars are named by the file", async () => {
  await open();
  choose($("file"), text("a.txt"), text("b.txt"));
  await settled();
  const ids = rows().map((element) => element.querySelector(".name a").id);
  ok(ids[0] !== ids[1]);
  for (const [index, element] of rows().entries()) {
    for (const one of element.querySelectorAll("button")) same(one.getAttribute("aria-describedby"), ids[index]);
    same(element.querySelector("progress").getAttribute("aria-labelledby"), ids[index]);
  }
});

test("25 rows come in a frame, in their order, also when more files come", async () => {
  await open();
  choose($("file"), ...Array.from({ length: 60 }, (_, number) => text(`${number}`)));
  choose($("file"), text("last"));
  await settled();
  same([rows().length, $("summary").textContent.split(" · ")[0]], [25, "61 files ready"]);
  await pass(0.016);
  same(rows().length, 50);
  await pass(0.016);
  same([rows().length, rows().at(-1).querySelector(".name bdi").textContent], [61, "last"]);
  choose($("file"), text("later"));
  await settled();
  same(rows().length, 62);
});

test("a file that is removed before its row comes leaves no row", async () => {
  await open();
  choose($("file"), ...Array.from({ length: 26 }, (_, number) => text(`${number}`)));
  $("upload").click();
  await settled();
  $("clear").click();
  await pass(1);
  same([rows().length, $("summary").textContent], [0, "No files chosen yet"]);
});

test("limits are said before a choice, and the chooser shows what fits", async () => {
  Object.assign(cloud.limits, { max_size: 2e6, content_types: ["image/png", "text/plain"] });
  await open();
  same(
    [$("limits").textContent, $("limits").hidden, $("file").accept],
    [`Only PNG, TXT\u00a0· up to ${size("2 MB")} each`, false, "image/png,text/plain"],
  );
});

test("a server without limits says nothing of them", async () => {
  cloud.always("limits", (exchange) => exchange.reply(404));
  await open();
  same([$("limits").hidden, $("file").accept], [true, ""]);
});

test("what the limits exclude fails at the choice with its sentence, and several share a banner", async () => {
  cloud.limits.max_size = 5;
  await open();
  choose($("file"), text("good"), text("bad", "too long"));
  await settled();
  const sentence = `This file has ${size("8 bytes")}, and at most ${size("5 bytes")} are allowed.`;
  same(
    [at("bad", ".state"), at("bad", ".message"), at("bad", ".detail"), spoken()],
    ["Failed", sentence, "", `1 file added. ${sentence}`],
  );
  choose($("file"), text("worse", "too long too"), text("worst", "much too long"));
  await settled();
  same(spoken(), `2 files are not allowed here. Up to ${size("5 bytes")} each`);
  same(banners(), [["3 files are not allowed", `Up to ${size("5 bytes")} each`, ""]]);
  same([at("bad", ".message"), rows().length], ["", 4]);
  const [banner] = $("banners").children;
  same(banner.querySelector("button").textContent, "Remove these");
  await click(banner.querySelector("button"));
  same([rows().length, banners(), document.activeElement === $("upload")], [1, [], true]);
});

test("files that failed for one reason share a banner, and its button tries all again", async () => {
  await open();
  cloud.always("signature", (exchange) => refuse(exchange, 403, "forbidden"));
  await send(text("a"), text("b"));
  same(banners(), [["2 files failed", "You may not send files here. Log in again?", "forbidden (403) · forbidden: see the log"]]);
  const [banner] = $("banners").children;
  same(
    [at("a", ".message"), button("a", ".retry").hidden, banner.getAttribute("aria-labelledby")],
    ["", true, banner.querySelector("h3").id],
  );
  ok(banner.querySelector("h3").id !== "");
  same(
    [$("again").parentElement === banner, $("again").textContent, banner.querySelector("button").hidden],
    [true, "Try all again", true],
  );
  cloud.heal();
  await click($("again"));
  same([banners(), $("summary").textContent, document.activeElement === $("upload")], [[], "2 files done", true]);
});

test("reasons that differ have banners of their own, with buttons of their own", async () => {
  await open();
  const codes = { a: "forbidden", b: "forbidden", c: "size_not_allowed", d: "size_not_allowed", e: "csrf" };
  cloud.always("signature", (exchange) => refuse(exchange, 403, codes[exchange.query.filename]));
  await send(...Object.keys(codes).map((name) => text(name)));
  same(
    banners().map(([title]) => title),
    ["2 files failed", "2 files failed"],
  );
  same(
    [
      at("e", ".message") !== "",
      button("e", ".retry").hidden,
      $("again").parentElement === $("bar-buttons"),
      $("again").textContent,
    ],
    [true, false, true, "Try all again"],
  );
  const [banner] = $("banners").children;
  same(
    [banner.querySelector("button").textContent, banner.querySelector("button").getAttribute("aria-describedby")],
    ["Retry", banner.querySelector("h3").id],
  );
  cloud.heal();
  await pass(1);
  await click(banner.querySelector("button"));
  same([banners().length, $("summary").textContent, $("again").textContent], [1, "2 files done, 3 failed", "Try the rest again"]);
});

test("the last file of a reason says it itself", async () => {
  await open();
  cloud.always("signature", (exchange) => refuse(exchange, 403, "forbidden"));
  await send(text("a"), text("b"));
  await pass(1);
  await click(button("a", ".close"));
  same(
    [banners(), at("b", ".message"), at("b", ".detail"), button("b", ".retry").hidden],
    [[], "You may not send files here. Log in again?", "forbidden (403) · forbidden: see the log", false],
  );
});

test("Retry sends one file, and Cancel has the focus then", async () => {
  await open();
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  await send(text());
  same([button("a.txt", ".retry").hidden, at("a.txt", ".retry"), $("again").hidden], [false, "Retry", true]);
  cloud.next("form");
  await click(button("a.txt", ".retry"));
  same([at("a.txt", ".state"), document.activeElement === button("a.txt", ".close")], ["Sending", true]);
});

test("a file that is known not to be stored is offered to be sent again", async () => {
  await open();
  cloud.next("form", (exchange) => exchange.reply(203, xml("CallbackFailed")));
  await send(text());
  same(at("a.txt", ".state"), "Sent, making sure that it arrived");
  await pass(1);
  same([at("a.txt", ".message"), at("a.txt", ".retry")], ["The file did not arrive in storage.", "Send it again"]);
});

test("a countdown is shown in the row and for all, and goes on each second", async () => {
  await open();
  cloud.always("form", (exchange) =>
    exchange.reply(503, xml("SlowDown"), { "Retry-After": exchange.fields.key.endsWith("a") ? "30" : "20" }),
  );
  await send(text("a"), text("b"));
  same(
    [at("a", ".state"), at("a", ".facts"), at("a", ".message")],
    ["Trying again by itself", `${size("5 bytes")}\u00a0· again in 30 s`, "Storage is busy. Try again a little later."],
  );
  same([$("pace").textContent, at("a", ".retry")], ["Trying again by itself\u00a0· again in 20 s", "Retry"]);
  await pass(9.5);
  same(
    [at("a", ".facts"), $("pace").textContent],
    [`${size("5 bytes")}\u00a0· again in 21 s`, "Trying again by itself\u00a0· again in 11 s"],
  );
  goOffline();
  await settled();
  includes(at("a", ".facts"), "goes on when this device is online");
  same($("pace").textContent, "Trying again by itself\u00a0· goes on when this device is online");
});

test("while one file is sent the bar shows its bytes and not the waits of others", async () => {
  await open();
  cloud.always("form", (exchange) => exchange.fields.key.endsWith("a") && exchange.reply(500));
  await send(text("a"), text("b"));
  same($("pace").textContent, `${size("5 bytes")} of ${size("10 bytes")}`);
});

test("files that are added during an upload wait for the button", async () => {
  await open();
  cloud.next("form");
  await send(text("first"));
  choose($("file"), text("second"));
  await settled();
  same([$("summary").textContent, $("upload").getAttribute("aria-disabled")], ["0 of 1 file done\u00a0· 1 more ready", "false"]);
  cloud.serve(cloud.last("form"));
  await settled();
  same(
    [$("summary").textContent, at("second", ".state"), document.body.classList.contains("all-sent")],
    ["1 file done\u00a0· 1 more ready", "Ready", false],
  );
});

test("the end is summed up by state", async () => {
  await open();
  cloud.always("recover", (exchange) => exchange.reply(404));
  cloud.always("form", (exchange) => {
    const name = exchange.fields.file.name;
    if (name === "untold") exchange.reply(203, xml("CallbackFailed"));
    else if (name === "failed") exchange.reply(403, xml("AccessDenied"));
    else if (name !== "cancelled") cloud.serve(exchange);
  });
  await send(text("stored"), text("untold"), text("failed"), text("cancelled"));
  await pass(2);
  await click(button("cancelled", ".close"));
  same($("summary").textContent, "1 file done, 1 file stored but not reported, 1 failed, 1 cancelled");
  same(visible("clear", "again", "stop"), ["clear", "again"]);
  await click($("clear"), { clientX: 300 });
  same([rows().length, document.activeElement === $("file"), visible("clear", "again")], [1, true, []]);
});

test("Stop all cancels all files, without starting those that wait", async () => {
  await open();
  cloud.always("form");
  await send(...Array.from({ length: 6 }, (_, number) => text(`${number}`)));
  await pass(1);
  await click($("stop"));
  same(
    [$("summary").textContent, cloud.asked("signature").length, document.activeElement === $("upload")],
    ["6 cancelled", 3, true],
  );
  same([$("again").textContent, $("again").hidden, $("clear").hidden], ["Try all again", false, false]);
});

test("Upload without files says what to do, and leads to the chooser", async () => {
  await open();
  await click($("upload"));
  same([spoken(), document.activeElement === $("file")], ["Choose files first.", true]);
});

test("Upload while files run says nothing of choosing", async () => {
  await open();
  cloud.next("form");
  await send(text());
  same(spoken(), "Sending 1 file.");
  await click($("upload"));
  same([spoken(), document.activeElement === document.body], ["Sending 1 file.", true]);
});

test("leaving asks while something is on its way, and only then", async () => {
  await open();
  const asks = () => {
    const event = new Event("beforeunload", { cancelable: true });
    window.dispatchEvent(event);
    return event.defaultPrevented && event.returnValue === true;
  };
  same(asks(), false);
  choose($("file"), text());
  await settled();
  same(asks(), false, "nothing is lost that was not begun");
  cloud.next("form");
  press($("upload"));
  await settled();
  same(asks(), true);
  await pass(5);
  same([asks(), window.countListeners("beforeunload")], [true, 1]);
  cloud.serve(cloud.last("form"));
  await settled();
  same([asks(), window.countListeners("beforeunload")], [false, 0]);
});

test("starts and ends are announced together after a moment", async () => {
  await open();
  await send(text("a.txt"), text("b.txt"));
  same(spoken(), "Sending 2 files.");
  await pass(0.5);
  same(spoken(), "Sending 2 files.");
  await pass(0.2);
  same(spoken(), "2 files done. All finished: 2 files done.");
  await send(text("c\u202e.txt"));
  await pass(1);
  same(spoken(), "c<U+202E>.txt: done. All finished: 3 files done.");
});

test("one file alone needs no summary", async () => {
  await open();
  await send(text("a.txt"));
  await pass(1);
  same(spoken(), "a.txt: done.");
});

test("a failure is announced with its reason, and several with one if it is the same", async () => {
  await open();
  const codes = { a: "forbidden", b: "forbidden", c: "size_not_allowed" };
  cloud.always("signature", (exchange) => refuse(exchange, 403, codes[exchange.query.filename]));
  await send(text("a"));
  await pass(1);
  same(spoken(), "a: failed. You may not send files here. Log in again?");
  await send(text("b"), text("c"));
  await pass(1);
  same(spoken(), "2 files failed. All finished: 3 failed.");
});

test("a wait is announced once, and a pause and a cancel too", async () => {
  await open();
  cloud.next("form", (exchange) => exchange.reply(500), 2);
  await send(text("a.txt"));
  await pass(1);
  same(spoken(), "a.txt: trying again by itself. Storage had a problem. Try again a little later.");
  await click(button("a.txt", ".close"));
  await pass(1);
  same(spoken(), "a.txt: cancelled.");
});

test("a wait that goes on offline is no second one", async () => {
  await open();
  cloud.next("form", (exchange) => exchange.reply(500));
  await send(text("a.txt"));
  goOffline();
  await pass(1);
  same(spoken(), "a.txt: trying again by itself. Storage had a problem. Try again a little later.");
});

test("what is excluded at the choice is announced once", async () => {
  cloud.limits.max_size = 1;
  await open();
  choose($("file"), text("a.txt"));
  await settled();
  const said = spoken();
  $("live").textContent = "";
  await pass(2);
  same([said !== "", spoken()], [true, ""]);
});

test("Cancel stops a file, Remove takes it from the list, and the focus goes to the next one", async () => {
  await open();
  cloud.always("form");
  await send(text("a"), text("b"), text("c"));
  await click(button("b", ".close"));
  same([at("b", ".state"), button("b", ".close").title], ["Cancelled", "Remove"]);
  await pass(1);
  button("b", ".close").focus();
  await click(button("b", ".close"));
  same([rows().length, document.activeElement === button("c", ".close")], [2, true]);
  await pass(1);
  for (const name of ["c", "a"]) {
    await click(button(name, ".close"), { clientX: 200 });
    button(name, ".close").focus();
    await pass(1);
    await click(button(name, ".close"), { clientX: 200 });
    same(document.activeElement === (name === "c" ? button("a", ".close") : $("file")), true);
    await pass(1);
  }
});

test("a file that is removed with the focus elsewhere leaves it there", async () => {
  await open();
  choose($("file"), text("a"), text("b"));
  await settled();
  $("upload").focus();
  await click(button("a", ".close"));
  same(document.activeElement === $("upload"), true);
});

test("the second click of a double click does not remove the row", async () => {
  await open();
  cloud.next("form");
  await send(text("a"));
  await pass(1);
  await click(button("a", ".close"), { detail: 1 });
  await click(button("a", ".close"), { detail: 2 });
  same([rows().length, at("a", ".state")], [1, "Cancelled"]);
  await click(button("a", ".close"), { detail: 0 });
  same(rows().length, 0, "a key presses as often as it likes");
});

test("a second tap beside the first does not press the button that has come there", async () => {
  const taps = [
    [0.499, 39, true],
    [0.5, 0, false],
    [0.499, 40, false],
  ];
  for (const [seconds, distance, isIgnored] of taps) {
    await leave();
    await open();
    cloud.always("form");
    choose($("file"), text("a"));
    await settled();
    press($("upload"), { clientX: 100, clientY: 100 });
    await pass(seconds);
    await click($("stop"), { clientX: 100, clientY: 100 + distance });
    same([seconds, distance, at("a", ".state")], [seconds, distance, isIgnored ? "Sending" : "Cancelled"]);
  }
});

test("the second click of a double click presses no button that acts on all files", async () => {
  await open();
  cloud.always("signature", (exchange) => refuse(exchange, 403, "forbidden"));
  await send(text("a"), text("b"), text("c"));
  for (const id of ["again", "stop", "clear"]) {
    const before = [network.sent.length, rows().length];
    await click($(id), { detail: 2 });
    same([network.sent.length, rows().length], before);
  }
  cloud.heal();
  await click($("again"));
  await click($("clear"), { detail: 2 });
  same(rows().length, 3);
});

test("two taps on one button are two", async () => {
  await open();
  choose($("file"), text("a"), text("b"));
  await settled();
  press(button("a", ".close"));
  press(button("b", ".close"), { clientX: 100 });
  await settled();
  same(rows().length, 0);
});

test("Enter held down presses a button once", async () => {
  await open();
  const key = (target, details) => {
    const event = new Event("keydown", { bubbles: true, cancelable: true, key: "Enter", repeat: true, ...details });
    target.dispatchEvent(event);
    return event.defaultPrevented;
  };
  same(
    [key($("upload")), key($("upload"), { repeat: false }), key($("upload"), { key: "a" }), key($("file"))],
    [true, false, false, false],
  );
});

test("a chosen folder leaves out what the system put there", async () => {
  await open();
  const clicked = [];
  const create = document.createElement;
  document.createElement = (name) =>
    Object.assign(create(name), {
      click() {
        clicked.push(this);
      },
    });
  press($("folder"));
  const [chooser] = clicked;
  same([chooser.type, chooser.webkitdirectory], ["file", true]);
  choose(
    chooser,
    ...["f/a.txt", "f/.DS_Store", "f/g/Thumbs.db"].map((path) =>
      Object.assign(text(path.split("/").at(-1)), { webkitRelativePath: path }),
    ),
  );
  await settled();
  same([rows().length, at("a.txt", ".path")], [1, "f/"]);
});

test("a pasted screenshot gets a name that is free", async () => {
  await open();
  const paste = (files) => window.dispatchEvent(new Event("paste", { clipboardData: files && { files } }));
  const picture = () => text("image.png", "png", { type: "image/png" });
  paste([picture()]);
  paste([picture()]);
  paste([]);
  paste(undefined);
  await settled();
  const names = rows().map((element) => element.querySelector(".name bdi").textContent);
  ok(/^Screenshot 2026-11-2\d \d\d-05-09\.png$/.test(names[0]), names[0]);
  same(names[1], names[0].replace(".png", " (2).png"));
});

test("what is dragged over the window shows what will happen, and goes away", async () => {
  await open();
  for (const end of ["dragend", "pointermove", "keydown", "blur", "dragleave"]) {
    drag("dragenter", carried(text("a"), text("b")));
    same([$("overlay").hidden, $("overlay-title").textContent], [false, "Drop to add 2 items"]);
    drag(end, {});
    same([end, $("overlay").hidden], [end, true]);
  }
  drag("dragenter", carried(text("a")));
  same($("overlay-title").textContent, "Drop to add 1 item");
  drag("dragleave", {}, { relatedTarget: $("rows") });
  same($("overlay").hidden, false, "it left an element, and not the window");
  drag("blur", {});
  drag("dragenter", { types: ["Files"], items: [] });
  same($("overlay-title").textContent, "Drop to add files");
});

test("a dragged file may be dropped anywhere, and a text nowhere", async () => {
  await open();
  const data = carried(text("a"));
  const over = drag("dragover", data);
  same([over.defaultPrevented, data.dropEffect, $("overlay").hidden], [true, "copy", false]);
  const drop = drag("drop", data);
  same([drop.defaultPrevented, $("overlay").hidden], [true, true]);
  await settled();
  same(rows().length, 1);
  const words = { types: ["text/plain"], items: [{ kind: "string" }], files: [] };
  for (const type of ["dragenter", "dragover", "drop"])
    same([type, drag(type, words).defaultPrevented, $("overlay").hidden], [type, false, true]);
});

test("what cannot be read in a dropped folder is said", async () => {
  await open();
  const folder = {
    fullPath: "/f",
    isDirectory: true,
    createReader: () => ({ readEntries: (_, fail) => task(() => fail(new DOMException("no"))) }),
  };
  drag("drop", { types: ["Files"], items: [{ kind: "file", webkitGetAsEntry: () => folder }], files: [] });
  await settled();
  same([spoken(), rows()], ["1 item could not be read.", []]);
});

test("an attribute switches the language of the whole page", async () => {
  await open();
  await send(text("a.txt"), text("b.txt"));
  document.documentElement.dataset.language = "de";
  await settled();
  same(
    [$("summary").textContent, document.title, at("a.txt", ".state"), $("upload").textContent],
    ["2 Dateien fertig", "Dateien hochladen", "Fertig", "Hochladen"],
  );
  same(button("a.txt", ".show").textContent, "Antwort");
  same(button("a.txt", "pre").getAttribute("aria-label"), button("a.txt", ".answer-title").textContent);
  includes($("limits").textContent, "Bis zu");
  document.documentElement.dataset.language = "ar";
  await settled();
  same([document.documentElement.lang, document.documentElement.dir], ["ar", "rtl"]);
});

test("a row that comes later is in the new language", async () => {
  await open();
  choose($("file"), ...Array.from({ length: 26 }, (_, number) => text(`${number}`)));
  document.documentElement.dataset.language = "de";
  await settled();
  await pass(1);
  same(at("25", ".state"), "Bereit");
});

test("a banner speaks the new language too", async () => {
  await open();
  cloud.always("signature", (exchange) => refuse(exchange, 403, "forbidden"));
  await send(text("a"), text("b"));
  document.documentElement.dataset.language = "de";
  await settled();
  same(banners()[0][0], "2 Dateien fehlgeschlagen");
});

test("a page's own texts replace ours, and those of a language only there", async () => {
  await open({ language: "de", texts: JSON.stringify({ title: "Ours", de: { lead: "Für uns" }, fr: { lead: "Pour nous" } }) });
  same([document.title, document.querySelector(".lead").textContent, document.documentElement.lang], ["Ours", "Für uns", "de"]);
});

test("spaces between the elements of a template are not copied into each row", async () => {
  await open();
  choose($("file"), text("a"));
  await settled();
  const blanks = (node) => node.childNodes.some((child) => child.data?.trim() === "" || blanks(child));
  same(blanks(rows()[0]), false);
});

async function openWithParts() {
  cloud.inParts(PART);
  await open();
}
const film = () => large(4 * PART, "film.bin", { lastModified: 1 });
const half = () => cloud.always("part", (exchange) => Number(exchange.query.partNumber) <= 2 && cloud.serve(exchange));

test("a file in parts can be paused, and continued", async () => {
  await openWithParts();
  half();
  await send(film());
  const pause = button("film.bin", ".pause");
  same(
    [pause.hidden, pause.title, pause.getAttribute("aria-label"), button("film.bin", "progress").hidden],
    [false, "Pause", "Pause", false],
  );
  await click(pause);
  same(
    [at("film.bin", ".state"), at("film.bin", ".facts"), pause.title, button("film.bin", "progress").hidden],
    ["Paused", `50%\u00a0· ${size("2.1 MB")} of ${size("4.2 MB")}`, "Continue", false],
  );
  same([$("summary").textContent, button("film.bin", ".close").title], ["1 paused", "Cancel"]);
  await pass(1);
  same(spoken(), "film.bin: paused.");
  cloud.heal();
  await click(pause);
  same([at("film.bin", ".state"), pause.hidden, button("film.bin", "progress").hidden], ["Done", true, true]);
});

test("a paused file can be cancelled", async () => {
  await openWithParts();
  half();
  await send(film());
  await click(button("film.bin", ".pause"));
  await click(button("film.bin", ".close"));
  same([at("film.bin", ".state"), [...cloud.uploads]], ["Cancelled", []]);
});

/** Begins a file on an earlier page, and chooses it on this one. */
async function offered(file = film()) {
  await openWithParts();
  half();
  await send(film());
  await leave();
  cloud.heal();
  await open();
  choose($("file"), file);
  await settled();
}

test("what an earlier page began is offered, and never goes on by itself", async () => {
  await offered();
  same(
    [at("film.bin", ".message"), $("upload").getAttribute("aria-disabled")],
    ["50% of this file are already in storage.", "true"],
  );
  same([at("film.bin", ".continue"), at("film.bin", ".offer .plain")], ["Continue", "Start over"]);
  await pass(1);
  same(spoken(), "film.bin: a part of it is already in storage.");
  await click($("upload"));
  same([at("film.bin", ".state"), document.activeElement === button("film.bin", ".continue")], ["Ready", true]);
  await pass(1);
  const before = cloud.asked("part").length;
  await click(button("film.bin", ".continue"));
  same(
    [at("film.bin", ".state"), cloud.asked("part").length - before, document.activeElement === button("film.bin", ".close")],
    ["Done", 2, true],
  );
});

test("the end is announced once, and not again with what is chosen later", async () => {
  await openWithParts();
  half();
  await send(film());
  await leave();
  cloud.heal();
  await open();
  await send(text("a"), text("b"));
  await pass(1);
  choose($("file"), film());
  await pass(1);
  same(spoken(), "film.bin: a part of it is already in storage.");
});

test("a person may start over, and other files start meanwhile", async () => {
  await offered();
  choose($("file"), text("other"));
  await settled();
  same($("upload").getAttribute("aria-disabled"), "false");
  await click($("upload"));
  same([at("other", ".state"), at("film.bin", ".state")], ["Done", "Ready"]);
  await pass(1);
  await click(button("film.bin", ".offer .plain"));
  same([at("film.bin", ".state"), cloud.asked("begin").length], ["Done", 2]);
});

test("a file that has changed is not offered, and says so", async () => {
  await offered(large(4 * PART, "film.bin", { lastModified: 2 }));
  same(
    [at("film.bin", ".message"), button("film.bin", ".offer").hidden, $("upload").getAttribute("aria-disabled")],
    ["This file has changed since its upload began. Start over to send it as it is now.", true, "false"],
  );
  await click($("upload"));
  same([at("film.bin", ".state"), cloud.asked("list")], ["Done", []]);
});
