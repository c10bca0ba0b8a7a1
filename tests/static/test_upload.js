/** The queue of `upload.js`: order, states, events, sums, and what goes to the server and to OSS. */

const FIVE = ["a", "b", "c", "d", "e"].map((name) => `${name}.txt`);

test("a file is sent with the fields of its form in their order, and the file last", async () => {
  const uploader = await newUploader();
  const [item] = await upload(uploader, text("cat.txt", "meow"));
  const { body, method, url } = cloud.last("form");
  same([method, url], ["POST", cloud.bucket]);
  same(
    body.entries.map(({ name }) => name),
    ["key", "policy", "x-oss-signature", "x-oss-forbid-overwrite", "callback", "file"],
  );
  same(body.entries.at(-1).filename, "cat.txt");
  same(await body.entries.at(-1).value.text(), "meow");
  same([item.state, item.status, item.key], ["stored", 200, "uploads/1-cat.txt"]);
  same(item.answer, '{"Status":"Ok","number":1,"signed_id":"signed-uploads_1_cat_txt"}');
  same(item.url, `${cloud.bucket}/uploads/1-cat.txt`);
});

test("the signature is asked for with name, type and size, beside the query of its address", async () => {
  const uploader = await newUploader({ serverUrl: "/oss/signature?from=elsewhere" });
  await upload(uploader, text("a b+ä.txt", "hello", { type: "text/plain" }));
  const { query, method, headers, options } = cloud.last("signature");
  same(query, { from: "elsewhere", filename: "a b+ä.txt", content_type: "text/plain", size: "5" });
  same([method, headers.accept, options.cache], ["GET", "application/json", "no-store"]);
  same(headers["content-type"], undefined);
});

test("a type that the browser does not know is not asked for, a size of 0 is", async () => {
  await upload(await newUploader(), new File([], "empty"));
  same(cloud.last("signature").query, { filename: "empty", size: "0" });
});

test("the path in a folder goes to the server, a bare name does not", async () => {
  const uploader = await newUploader();
  const chosen = Object.assign(text("sea.txt"), { webkitRelativePath: "holidays/sea.txt" });
  const items = await upload(
    uploader,
    chosen,
    { file: text("sun.txt"), path: "holidays/2026/sun.txt" },
    { file: text("b.txt"), path: "" },
    text("c.txt"),
  );
  same(
    items.map(({ path }) => path),
    ["holidays/sea.txt", "holidays/2026/sun.txt", "", ""],
  );
  same(
    cloud.asked("signature").map(({ query }) => query.relative_path),
    ["holidays/sea.txt", "holidays/2026/sun.txt", undefined, undefined],
  );
});

test("${filename} in the key is the file's name, taken literally", async () => {
  cloud.next("signature", (exchange) =>
    json(exchange, { url: cloud.bucket, host: cloud.bucket, fields: { key: "up/${filename}" } }),
  );
  const [item] = await upload(await newUploader(), text("$& a.txt"));
  same([item.key, item.url], ["up/$& a.txt", `${cloud.bucket}/up/%24%26%20a.txt`]);
});

test("headers of the form are set, its Content-Type is the browser's", async () => {
  cloud.next("signature", (exchange) =>
    json(exchange, {
      url: cloud.bucket,
      host: cloud.bucket,
      fields: { key: "k" },
      headers: { "Content-Type": "text/plain", "X-Trace": "7" },
    }),
  );
  await upload(await newUploader(), text());
  same(cloud.last("form").headers, { "x-trace": "7" });
});

test("a server's requests carry the page's headers, asked anew for each; OSS's do not", async () => {
  let number = 0;
  const uploader = await newUploader({ headers: () => ({ "X-CSRFToken": `t${(number += 1)}` }) });
  await upload(uploader, text("a.txt"), text("b.txt"));
  same(
    cloud.asked("signature").map(({ headers }) => headers["x-csrftoken"]),
    ["t1", "t2"],
  );
  same(cloud.last("form").headers, {});
  const plain = await newUploader({ headers: { Accept: "own", a: "1" } });
  await upload(plain, text("c.txt"));
  same(cloud.last("signature").headers, { accept: "own", a: "1" });
});

test("a relative address is the page's, and without one the signature is beside the module", async () => {
  await upload(await newUploader(), text());
  same(cloud.last("signature").url.split("?")[0], "https://shop.example.com/oss/signature");
  const uploader = await newUploader({ serverUrl: "sign", limitsUrl: "what", recoverUrl: null });
  await uploader.limits();
  const [item] = await upload(uploader, text());
  same(
    network.sent.slice(-2).map(({ path }) => path),
    ["/albums/2/what", "/albums/2/sign"],
  );
  same(item.state, "failed");
});

test("a relative address is that of the page's base, or of a worker", async () => {
  const base = Object.getOwnPropertyDescriptor(document, "baseURI");
  Object.defineProperty(document, "baseURI", { configurable: true, value: "https://cdn.example.com/base/" });
  await upload(await newUploader({ serverUrl: "sign" }), text());
  same(network.sent.at(-1).url.split("?")[0], "https://cdn.example.com/base/sign");
  const { document: page } = globalThis;
  globalThis.document = undefined;
  await upload(await newUploader({ serverUrl: "sign" }), text());
  same(network.sent.at(-1).url.split("?")[0], "https://shop.example.com/albums/2/sign");
  globalThis.document = page;
  Object.defineProperty(document, "baseURI", base);
});

test("limits and recover stand beside the signature", async () => {
  const uploader = await newUploader({ serverUrl: "https://api.example.com/files/signature?x=1" });
  await uploader.limits();
  same(network.sent.at(-1).url, "https://api.example.com/files/limits");
});

test("files are sent in the order of the list, three at a time", async () => {
  cloud.always("form");
  const uploader = await newUploader();
  const items = await upload(uploader, ...FIVE.map((name) => text(name)));
  same(states(uploader), ["sending", "sending", "sending", "waiting", "waiting"]);
  same(
    cloud.asked("signature").map(({ query }) => query.filename),
    FIVE.slice(0, 3),
  );
  same([uploader.concurrency, uploader.running], [3, true]);
  cloud.heal();
  cloud.serve(cloud.asked("form")[1]);
  await settled();
  same(items[1].state, "stored");
  same(told(uploader, "done"), ["b.txt", "d.txt", "e.txt"]);
});

test("concurrency says how many, and at least one", async () => {
  for (const [concurrency, sending] of [
    [1, 1],
    [2, 2],
    [0, 1],
    [-3, 1],
    [9, 5],
  ]) {
    cloud.always("form");
    const uploader = await newUploader({ concurrency });
    await upload(uploader, ...FIVE.map((name) => text(name)));
    same(states(uploader).filter((state) => state === "sending").length, sending);
    cloud.heal();
  }
});

test("a signature is asked for when a file's turn comes, not before", async () => {
  cloud.always("form");
  await upload(await newUploader({ concurrency: 1 }), text("a.txt"), text("b.txt"));
  same(cloud.asked("signature").length, 1);
  await pass(3600);
  cloud.heal();
  cloud.serve(cloud.last("form"));
  await settled();
  same(cloud.asked("signature").length, 2);
});

test("states and events come in order, idle last and once", async () => {
  const uploader = await newUploader({ concurrency: 1 });
  const previous = [];
  uploader.addEventListener("state", ({ detail }) => previous.push(detail.previous));
  uploader.add([text("a.txt"), text("b.txt")]);
  same(uploader.log, ["add a.txt", "add b.txt"]);
  same(states(uploader), ["queued", "queued"]);
  uploader.start();
  await settled();
  const sent = (name) => [
    `state ${name} signing`,
    `state ${name} sending`,
    ...Array(2).fill(`progress ${name}`),
    `state ${name} answering`,
    `state ${name} stored`,
    `done ${name}`,
  ];
  same(uploader.log.slice(2), ["state a.txt waiting", "state b.txt waiting", ...sent("a.txt"), ...sent("b.txt"), "idle"]);
  same(previous, [
    "queued",
    "queued",
    "waiting",
    "signing",
    "sending",
    "answering",
    "waiting",
    "signing",
    "sending",
    "answering",
  ]);
});

test("start takes the queued files, or those of a list, and returns what it started", async () => {
  const uploader = await newUploader();
  const [a, b, c] = uploader.add([text("a.txt"), text("b.txt"), text("c.txt")]);
  same(
    uploader.start([b]).map(({ id }) => id),
    [b.id],
  );
  await settled();
  same(states(uploader), ["queued", "stored", "queued"]);
  same(uploader.start([b]), []);
  same(uploader.start().length, 2);
  await settled();
  same([a.state, c.state, cloud.asked("form").length], ["stored", "stored", 3]);
  same(uploader.start(), []);
});

test("items have numbers of their own, and the list is a copy", async () => {
  const uploader = await newUploader();
  const [a, b] = uploader.add([text("a.txt"), text("b.txt")]);
  ok(a.id !== b.id);
  uploader.items.pop();
  same(uploader.items.length, 2);
  same(uploader.add(new Set([text("c.txt")])).length, 1);
});

test("running is told of each item and of all", async () => {
  const uploader = await newUploader();
  cloud.next("form");
  const [item] = uploader.add([text()]);
  same([item.running, item.ended, uploader.running], [false, false, false]);
  uploader.start();
  same([item.state, item.running, uploader.running], ["signing", true, true]);
  await settled();
  same([item.state, item.running, item.ended], ["sending", true, false]);
  cloud.serve(cloud.last("form"));
  await settled();
  same([item.running, item.ended, uploader.running], [false, true, false]);
});

test("sent counts the bytes of the file, and not those of the form around it", async () => {
  cloud.next("form");
  const uploader = await newUploader();
  const [item] = await upload(uploader, text("a.txt", "x".repeat(1000)));
  const exchange = cloud.last("form");
  ok(exchange.total > 1200, "a form is longer than its file");
  exchange.progress(0.5);
  same([item.sent, item.progress], [500, Math.round(exchange.total / 2) / exchange.total]);
  exchange.complete();
  same([item.sent, item.progress, item.state], [1000, 1, "answering"]);
  exchange.reply(200, "{}");
  await settled();
  same([item.sent, item.progress], [1000, 1]);
});

test("each progress of the browser is told, and none after a cancel", async () => {
  cloud.next("form");
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  const exchange = cloud.last("form");
  exchange.progress(0.25);
  exchange.progress(0.5);
  same(told(uploader, "progress").length, 2);
  uploader.cancel(item);
  exchange.onProgress(100, 100);
  exchange.onComplete();
  same([told(uploader, "progress").length, item.sent, item.progress, item.state], [2, 0, 0, "cancelled"]);
});

test("more than all is all, and nothing of nothing is 0", async () => {
  const { UploadItem } = await load("upload.js");
  const item = new UploadItem(1, text("a.txt", "12345"));
  item.note(9, 4);
  same([item.progress, item.sent], [1, 5]);
  item.note(0, 0);
  same([item.progress, item.sent], [0, 0]);
});

test("the speed is that of the last five seconds", async () => {
  cloud.next("form");
  const uploader = await newUploader();
  const [item] = await upload(uploader, text("a.txt", "x".repeat(1000)));
  const exchange = cloud.last("form");
  const at = async (seconds, sent) => {
    await pass(seconds);
    exchange.onProgress(sent, 1000);
    return Math.round(item.rate());
  };
  same(await at(0, 0), 0);
  same(await at(0.25, 50), 0, "nobody can say yet");
  same(await at(0.75, 100), 100);
  same(await at(1, 200), 100);
  same(await at(2, 800), 200);
  same(await at(3, 900), 140, "what is older than five seconds goes");
  await pass(3);
  same(Math.round(item.rate()), 88, "while nothing comes it falls");
  same([uploader.totals.rate, item.rate(performance.now() / 1000)], [item.rate(), item.rate()]);
  exchange.reply(200);
  await settled();
  same([item.rate(), uploader.totals.rate], [0, 0]);
});

test("totals are the files, bytes and speed of each state", async () => {
  cloud.always("form");
  const uploader = await newUploader({ concurrency: 2 });
  const items = await upload(
    uploader,
    text("a.txt", "x".repeat(10)),
    text("b.txt", "x".repeat(20)),
    text("c.txt", "x".repeat(30)),
    text("d.txt", "x".repeat(40)),
  );
  uploader.add([text("e.txt", "x".repeat(50)), text("f.txt", "x".repeat(60))]);
  uploader.cancel(items[3]);
  cloud.asked("form")[0].progress(0.5);
  cloud.asked("form")[1].reply(403, xml("AccessDenied"));
  await settled();
  const expected = {
    files: 3,
    bytes: 60,
    sent: 5,
    rate: 0,
    queued: 2,
    queuedBytes: 110,
    running: 2,
    stored: 0,
    untold: 0,
    unsure: 0,
  };
  same(uploader.totals, { ...expected, failed: 1, cancelled: 1, paused: 0 });
  cloud.heal();
  for (const exchange of cloud.asked("form")) exchange.reply(200);
  await settled();
  same(uploader.totals, { ...expected, sent: 40, running: 0, stored: 2, failed: 1, cancelled: 1, paused: 0 });
});

test("a cancelled file's request ends, and the next one begins", async () => {
  cloud.always("form");
  const uploader = await newUploader({ concurrency: 1 });
  const [a, b] = await upload(uploader, text("a.txt"), text("b.txt"));
  cloud.last("form").progress(0.5);
  cloud.heal();
  same(uploader.cancel(a), true);
  await settled();
  ok(cloud.asked("form")[0].isCancelled);
  same([a.state, a.sent, a.progress, a.complete, a.error, b.state], ["cancelled", 0, 0, false, null, "stored"]);
  same(
    uploader.log.filter((line) => /cancel|idle|done|fail/.test(line)),
    ["state a.txt cancelled", "cancel a.txt", "done b.txt", "idle"],
  );
  same([uploader.cancel(a), uploader.cancel(b), a.canRetry], [false, false, true]);
});

test("a waiting file that is cancelled is never asked for", async () => {
  cloud.always("form");
  const uploader = await newUploader({ concurrency: 1 });
  const [a, b] = await upload(uploader, text("a.txt"), text("b.txt"));
  uploader.cancel(b);
  same(uploader.running, true);
  uploader.cancel(a);
  await settled();
  same([cloud.asked("signature").length, told(uploader, "idle").length], [1, 1]);
});

test("a file that is cancelled while its form comes is not sent", async () => {
  cloud.next("signature");
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  uploader.cancel(item);
  cloud.serve(cloud.last("signature"));
  await settled();
  same([item.state, cloud.last("signature").isCancelled, cloud.asked("form")], ["cancelled", true, []]);
});

test("a queued file is not cancelled", async () => {
  const uploader = await newUploader();
  const [item] = uploader.add([text()]);
  same([uploader.cancel(item), item.state], [false, "queued"]);
});

test("a file that was cancelled after its last byte says that it may be stored", async () => {
  cloud.next("form");
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  cloud.last("form").complete();
  uploader.cancel(item);
  same([item.state, item.complete, item.sent], ["cancelled", true, 0]);
  includes(await item.explain("en"), "may be stored all the same");
});

test("retry sends a cancelled file again with a new signature", async () => {
  cloud.next("form");
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  uploader.cancel(item);
  same(uploader.retry(item), true);
  await settled();
  same([item.state, cloud.asked("signature").length, item.key], ["stored", 2, "uploads/2-a.txt"]);
  same(uploader.retry(item), false);
});

test("remove takes a file from the list and cancels one that runs", async () => {
  cloud.next("form");
  const uploader = await newUploader();
  const [a] = await upload(uploader, text("a.txt"));
  const [b] = uploader.add([text("b.txt")]);
  same(uploader.remove(a), true);
  same([a.state, uploader.items.map(({ id }) => id)], ["cancelled", [b.id]]);
  same(uploader.log.slice(-4), ["state a.txt cancelled", "cancel a.txt", "idle", "remove a.txt"].slice(-4));
  same([uploader.remove(a), uploader.remove(b), uploader.items], [false, true, []]);
  same(told(uploader, "remove"), ["a.txt", "b.txt"]);
});

test("prepare is called once, when a file's turn comes, and its file is sent", async () => {
  const asked = [];
  const prepare = async (file) => {
    asked.push(file.name);
    return file.name === "small.bmp"
      ? new File(["png"], "small.png", { type: "image/png" })
      : new Blob(["blob"], { type: "image/webp" });
  };
  cloud.next("form", (exchange) => exchange.reply(500));
  const uploader = await newUploader({ prepare, concurrency: 1 });
  const [first, second] = uploader.add([text("small.bmp"), text("other.bmp")]);
  uploader.start();
  same([asked, first.state], [["small.bmp"], "preparing"]);
  await pass(3);
  same(asked, ["small.bmp", "other.bmp"]);
  same([first.file.name, second.file.name, second.file.type], ["small.png", "other.bmp", "image/webp"]);
  same(
    cloud.asked("signature").map(({ query }) => [query.filename, query.size]),
    [
      ["small.png", "3"],
      ["small.png", "3"],
      ["other.bmp", "4"],
    ],
  );
  same(told(uploader, "state").slice(0, 5), [
    "small.bmp waiting",
    "other.bmp waiting",
    "small.bmp preparing",
    "small.png signing",
    "small.png sending",
  ]);
});

test("prepare that returns nothing leaves the file as it is", async () => {
  const [item] = await upload(await newUploader({ prepare: () => undefined }), text());
  same([item.state, await cloud.last("form").fields.file.text()], ["stored", "hello"]);
});

test("a file that cannot be prepared fails with the error's message, and is not tried again by itself", async () => {
  const uploader = await newUploader({
    prepare: (file) => {
      throw file.name === "a" ? new Error("no picture") : "odd";
    },
  });
  const items = await upload(uploader, text("a"), text("b"));
  same(
    items.map(({ error }) => [error.kind, error.stage, error.reason, error.passing]),
    [
      ["unprepared", "page", "no picture", false],
      ["unprepared", "page", "odd", false],
    ],
  );
  same([states(uploader), network.sent], [["failed", "failed"], []]);
});

test("a file that is cancelled while it is prepared is not sent", async () => {
  let end;
  const uploader = await newUploader({ prepare: () => new Promise((resolve) => (end = resolve)) });
  const [item] = await upload(uploader, text());
  uploader.cancel(item);
  end(text("b.txt"));
  await settled();
  same([item.state, network.sent], ["cancelled", []]);
});

test("limits are asked for once, and what they exclude fails when it is added", async () => {
  Object.assign(cloud.limits, { max_size: 10, min_size: 2, content_types: ["text/plain", "image/png"] });
  const uploader = await newUploader();
  const limits = await uploader.limits();
  same([limits.max_size, (await uploader.limits()) === limits, cloud.asked("limits").length], [10, true, 1]);
  const files = [
    text("a", "x".repeat(10)),
    text("b", "x".repeat(11)),
    text("c", "xx"),
    text("d", "x"),
    text("e", "xxx", { type: "IMAGE/PNG" }),
    text("f", "xxx", { type: "image/gif" }),
    text("g", "xxx", { type: "" }),
  ];
  const items = uploader.add(files);
  same(
    items.map(({ error }) => error?.code ?? ""),
    ["", "too_large", "", "too_small", "", "type_not_allowed", ""],
  );
  same(
    items.map(({ error }) => error?.limit ?? null),
    [null, 10, null, 2, null, ["text/plain", "image/png"], null],
  );
  same(
    items.map(({ canRetry }) => canRetry),
    [false, false, false, false, false, false, false],
  );
  const { kind, stage, passing } = items[1].error;
  same([kind, stage, passing, items[1].state, items[0].state], ["refused", "page", false, "failed", "queued"]);
  same(told(uploader, "fail"), ["b", "d", "f"]);
});

test("files that were queued before are checked when the limits come", async () => {
  cloud.limits.max_size = 3;
  const uploader = await newUploader();
  const [item] = uploader.add([text()]);
  same(item.state, "queued");
  await uploader.limits();
  same([item.state, item.error.code], ["failed", "too_large"]);
});

test("limits that are not offered are null, and not asked for again", async () => {
  for (const answer of [
    (exchange) => exchange.reply(404),
    (exchange) => exchange.reply(405),
    (exchange) => exchange.reply(200, "<html>"),
    (exchange) => json(exchange, {}),
  ]) {
    cloud.next("limits", answer);
    const uploader = await newUploader();
    const before = cloud.asked("limits").length;
    same([await uploader.limits(), await uploader.limits()], [null, null]);
    same(cloud.asked("limits").length, before + 1);
  }
  const uploader = await newUploader({ limitsUrl: null });
  same([await uploader.limits(), cloud.asked("limits").length], [null, 4]);
});

test("limits that could not be read are asked for again", async () => {
  for (const answer of [(exchange) => exchange.reply(503), (exchange) => exchange.reply(403), (exchange) => exchange.fail()]) {
    cloud.next("limits", answer);
    const uploader = await newUploader();
    same(await uploader.limits(), null);
    same((await uploader.limits()).max_size, cloud.limits.max_size);
  }
});

test("a small file is sent without asking for the limits", async () => {
  await upload(await newUploader(), text());
  same(cloud.asked("limits"), []);
  await upload(await newUploader(), large(102_400, "a"));
  same(cloud.asked("limits").length, 1);
  await upload(await newUploader(), large(102_399, "b"));
  same(cloud.asked("limits").length, 1);
});

test("with prepare the limits are for what is sent in the file's place", async () => {
  cloud.limits.max_size = 4;
  const uploader = await newUploader({ prepare: () => text("b.txt", "tiny") });
  await uploader.limits();
  const [item] = uploader.add([text("a.txt", "too long")]);
  same(item.state, "queued");
  uploader.start();
  await settled();
  same(item.state, "stored");
  const other = await newUploader({ prepare: () => text("b.txt", "longer") });
  await other.limits();
  const [refused] = await upload(other, text("a.txt", "x"));
  same([refused.state, refused.error.code, cloud.asked("form").length], ["failed", "too_large", 1]);
});

test("the answer is the application's text, and of a status other than 200 none", async () => {
  cloud.next("form", (exchange) => exchange.reply(204, "", {}));
  cloud.next("form", (exchange) => exchange.reply(201, "<PostResponse/>"));
  cloud.next("form", (exchange) => exchange.reply(200, "plain"));
  const items = await upload(await newUploader({ concurrency: 1 }), text("a"), text("b"), text("c"));
  same(
    items.map(({ state, answer, status }) => [state, answer, status]),
    [
      ["stored", "", 204],
      ["stored", "", 201],
      ["stored", "plain", 200],
    ],
  );
});

test("the signed ID is the answer's member of this name, or an empty text", async () => {
  const answers = [
    ['{"signed_id": "abc-_1", "name": "x"}', "abc-_1"],
    ['{"Status": "Ok"}', ""],
    ['{"signed_id": 7}', ""],
    ['"signed_id"', ""],
    ["null", ""],
    ["plain", ""],
    ["", ""],
  ];
  for (const [answer] of answers) cloud.next("form", (exchange) => exchange.reply(200, answer));
  const uploader = await newUploader({ concurrency: 1 });
  const items = uploader.add(answers.map((_, number) => text(`${number}`)));
  same(
    items.map(({ signedId }) => signedId),
    answers.map(() => ""),
  );
  uploader.start();
  await settled();
  same(
    items.map(({ signedId }) => signedId),
    answers.map(([, signedId]) => signedId),
  );
});

test("an own fetch and XMLHttpRequest take the place of the browser's", async () => {
  const asked = [];
  class Own extends XMLHttpRequest {
    open(method, url) {
      asked.push(url);
      super.open(method, url);
    }
  }
  const uploader = await newUploader({ fetch: (url, options) => (asked.push("own"), fetch(url, options)), XMLHttpRequest: Own });
  const [item] = await upload(uploader, text());
  same([asked, item.state], [["own", cloud.bucket], "stored"]);
});

test("an object's address keeps slashes and escapes the rest", async () => {
  const { objectUrl } = await load("upload.js");
  same(
    objectUrl("https://b.example.com//", "a/b c/50%+é(1)'!*.txt"),
    "https://b.example.com/a/b%20c/50%25%2B%C3%A9%281%29%27%21%2A.txt",
  );
  same(objectUrl("HTTP://127.0.0.1:1/bucket", "#?&\ud800"), "HTTP://127.0.0.1:1/bucket/%23%3F%26%EF%BF%BD");
  same([objectUrl("javascript:alert(1)//", "x"), objectUrl(undefined, "x"), objectUrl("xhttps://b", "x")], ["", "", ""]);
});

test("an item explains itself in the languages of the browser, or in one that is asked for", async () => {
  cloud.always("signature", (exchange) => exchange.reply(404));
  navigator.languages = ["de-CH"];
  const [item] = await upload(await newUploader(), text());
  const { wordsOf } = await load("words.js");
  const german = wordsOf((await load("languages/de.js")).default)("errors.server.404");
  same(await item.explain(), german);
  same(await item.explain(["xx", "de"]), german);
  same(await item.explain("en"), "The server does not give permission at this address. The page may be set up wrongly.");
});

test("importing the module asks for nothing and changes nothing", async () => {
  const names = await load("upload.js");
  same(Object.keys(names).sort(), ["UploadError", "UploadItem", "Uploader", "objectUrl"]);
  same([network.sent, loaded(), timersLeft(), indexedDB.opened], [[], ["upload.js"], 0, 0]);
});
