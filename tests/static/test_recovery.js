/** `recovery.js`: what became of files that were sent without an answer; nothing is stored twice. */

const NOTE = "oss-wsgi-unanswered";
const notes = () => JSON.parse(sessionStorage.getItem(NOTE) ?? "[]");

/** OSS stores the file, but its callback fails. */
const untold = (exchange) => {
  cloud.objects.set(exchange.fields.key, { size: exchange.fields.file.size });
  exchange.reply(203, xml("CallbackFailed", "Error status : 502."));
};
/** Every byte is sent, and the connection dies; OSS has stored the file or not. */
const lost = (isStored) => (exchange) => {
  exchange.complete();
  if (isStored) cloud.store(exchange);
  exchange.fail();
};
/** The server says whether the file is stored; `moments` are the seconds at which it was asked. */
const asking = (act) => {
  const moments = [];
  cloud.always("recover", (exchange) => {
    moments.push(performance.now() / 1000);
    act(exchange);
  });
  return moments;
};

test("a file of which the application was not told is asked for and ends as stored", async () => {
  cloud.next("form", untold);
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same([item.state, item.retryIn, item.canAsk, item.running], ["asking", 1, false, true]);
  await pass(1);
  same([item.state, item.error, item.progress, item.retryIn], ["stored", null, 1, 0]);
  same(
    [item.answer, item.signedId],
    ['{"Status":"Ok","number":1,"signed_id":"signed-uploads_1_a_txt"}', "signed-uploads_1_a_txt"],
  );
  const { method, path, json: body, headers } = cloud.last("recover");
  same([method, path, headers["content-type"]], ["POST", "/oss/recover", "application/json"]);
  same(body, { ticket: "ticket-of-uploads/1-a.txt", object: "uploads/1-a.txt" });
  same([cloud.asked("form").length, notes(), cloud.handled], [1, [], ["uploads/1-a.txt"]]);
  same(uploader.log.slice(-3), ["state a.txt stored", "done a.txt", "idle"]);
});

test("the server is asked after 1, 2, 4, 8 and 16 seconds, and then the file is untold", async () => {
  cloud.next("form", untold);
  const moments = asking((exchange) => exchange.reply(500));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  await pass(3600);
  same(moments, [1, 3, 7, 15, 31]);
  same([item.state, item.error.code, item.canAsk, item.canRetry, item.retryIn], ["untold", "CallbackFailed", true, true, 0]);
  same(told(uploader, "done"), ["a.txt"]);
  includes(await item.explain("en"), "Retry tells the application");
  same(notes().length, 1, "after a reload it is asked for again");
});

test("retry of an untold file asks and does not send it", async () => {
  cloud.next("form", untold);
  asking((exchange) => exchange.reply(500));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  await pass(60);
  cloud.heal();
  same(uploader.retry(item), true);
  await pass(1);
  same([item.state, cloud.asked("form").length, cloud.asked("signature").length, item.canAsk], ["stored", 1, 1, false]);
});

test("a server without recovery leaves a file untold at once, and there is nothing to retry", async () => {
  cloud.next("form", untold);
  asking((exchange) => exchange.reply(404, "no such page"));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  await pass(1);
  same(
    [item.state, item.error.code, item.canAsk, item.canRetry, uploader.retry(item)],
    ["untold", "CallbackFailed", false, false, false],
  );
  same([cloud.asked("recover").length, notes()], [1, []]);
});

test("recoverUrl null asks nobody", async () => {
  cloud.next("form", untold);
  const [item] = await upload(await newUploader({ recoverUrl: null }), text());
  same([item.state, item.canAsk, loaded().includes("recovery.js")], ["untold", false, false]);
  cloud.next("form", lost(true));
  const [other] = await upload(await newUploader({ recoverUrl: null }), text());
  same([other.state, other.error.complete, cloud.asked("recover")], ["failed", true, []]);
});

test("files with a ticket and without one are sent side by side", async () => {
  const uploader = await newUploader();
  await upload(uploader, text());
  cloud.hasCallback = false;
  await upload(uploader, text("b.txt"));
  same(states(uploader), ["stored", "stored"]);
});

test("another address is asked where the page names one", async () => {
  cloud.next("form", untold);
  await upload(await newUploader({ recoverUrl: "/oss/recover?by=page" }), text());
  await pass(1);
  same(cloud.last("recover").url, "https://shop.example.com/oss/recover?by=page");
});

test("a form without a callback or with an open name is asked for by nobody", async () => {
  cloud.hasCallback = false;
  await upload(await newUploader(), text());
  cloud.next("signature", (exchange) =>
    json(exchange, { url: cloud.bucket, host: cloud.bucket, fields: { key: "x/${filename}", callback: "t" } }),
  );
  cloud.next("form", lost(true));
  cloud.next("form", lost(true));
  const [item] = await upload(await newUploader(), text("b.txt"));
  same([item.state, item.error.complete, cloud.asked("recover")], ["failed", true, []]);
});

test("a connection that dies after the last byte does not send a stored file again", async () => {
  cloud.next("form", lost(true));
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.error.kind, item.error.complete], ["asking", "unreachable", true]);
  await pass(1);
  same([item.state, item.error, cloud.asked("form").length, cloud.handled.length], ["stored", null, 1, 1]);
});

test("one 'not stored' after a lost connection is not believed: OSS may still be storing the file", async () => {
  cloud.next("form", lost(false));
  const [item] = await upload(await newUploader(), text());
  await pass(1);
  same([item.state, item.notStored, cloud.asked("recover").length], ["asking", false, 1]);
  cloud.objects.set("uploads/1-a.txt", { size: 5 });
  await pass(2);
  same([item.state, cloud.asked("form").length], ["stored", 1]);
});

test("two 'not stored' in a row send it again after a while", async () => {
  cloud.next("form", lost(false));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  await pass(3);
  same([item.state, item.notStored, cloud.asked("recover").length, item.error.kind], ["retrying", true, 2, "unreachable"]);
  includes(await item.explain("en"), "did not arrive");
  await pass(3);
  same([item.state, item.notStored, cloud.asked("form").length, item.key], ["stored", false, 2, "uploads/2-a.txt"]);
});

test("two 'not stored' with another answer between them are not in a row", async () => {
  cloud.next("form", lost(false));
  const answers = [404, 500, 404, 404];
  asking((exchange) => (answers.shift() === 404 ? refuse(exchange, 404, "not_stored") : exchange.reply(500)));
  const [item] = await upload(await newUploader(), text());
  await pass(8);
  same([item.state, item.notStored], ["asking", false]);
  await pass(8);
  same([item.state, item.notStored], ["retrying", true]);
});

test("one 'not stored' after a 203 is enough, and the file that is gone again fails", async () => {
  cloud.next("form", (exchange) => exchange.reply(203, xml("CallbackFailed")));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  await pass(1);
  same([item.state, item.notStored, item.canRetry, item.canAsk], ["failed", true, true, false]);
  await pass(600);
  same(cloud.asked("form").length, 1);
});

test("a 404 of another code ends the questions, and what may be stored is not sent again", async () => {
  cloud.next("form", lost(true));
  asking((exchange) => refuse(exchange, 404, "unknown"));
  const [item] = await upload(await newUploader(), text());
  await pass(1);
  same([item.notStored, cloud.asked("recover").length, item.state], [false, 1, "failed"]);
});

test("an answer in the wrong form ends the questions", async () => {
  cloud.next("form", untold);
  asking((exchange) => exchange.reply(200, "<html>"));
  const [item] = await upload(await newUploader(), text());
  await pass(60);
  same([item.state, cloud.asked("recover").length, item.canAsk], ["untold", 1, false]);
});

test("any other refusal ends the questions", async () => {
  for (const status of [400, 403, 410, 499]) {
    cloud.next("form", untold);
    cloud.next("recover", (exchange) => exchange.reply(status));
    const before = cloud.asked("recover").length;
    const [item] = await upload(await newUploader(), text());
    await pass(60);
    same([status, item.state, cloud.asked("recover").length - before], [status, "untold", 1]);
  }
});

test("an answer of 429, 408 or 5xx, or none, is no end of the questions", async () => {
  cloud.next("form", untold);
  const answers = [
    (exchange) => exchange.reply(429),
    (exchange) => exchange.reply(408),
    (exchange) => exchange.reply(502),
    (exchange) => exchange.fail(),
  ];
  asking((exchange) => (answers.shift() ?? cloud.serve)(exchange));
  const [item] = await upload(await newUploader(), text());
  await pass(31);
  same([item.state, cloud.asked("recover").length], ["stored", 5]);
});

test("a server that is busy is not asked before it says", async () => {
  cloud.next("form", untold);
  const answers = [{ "Retry-After": "30" }, {}];
  const moments = asking((exchange) => exchange.reply(503, "", answers.shift() ?? {}));
  const [item] = await upload(await newUploader(), text());
  await pass(1);
  same(item.retryIn, 30);
  await pass(100);
  same(moments, [1, 31, 35, 43, 59]);
});

test("where nobody could say, the file is unsure, and retry asks again", async () => {
  cloud.next("form", lost(true));
  asking((exchange) => exchange.fail());
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  await pass(60);
  same([item.state, item.canAsk, item.canRetry, item.error.complete], ["unsure", true, true, true]);
  same(told(uploader, "fail"), ["a.txt"]);
  includes(await item.explain("en"), "does not send it twice");
  same(notes().length, 1);
  cloud.heal();
  uploader.retry(item);
  await pass(1);
  same([item.state, item.error, cloud.asked("form").length], ["stored", null, 1]);
});

test("an unsure file that turns out not to be stored fails, and may be sent again", async () => {
  cloud.next("form", lost(false));
  asking((exchange) => exchange.fail());
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  await pass(60);
  cloud.heal();
  uploader.retry(item);
  await pass(3);
  same([item.state, item.notStored, item.canAsk, item.canRetry, notes()], ["failed", true, false, true, []]);
  uploader.retry(item);
  await settled();
  same([item.state, cloud.asked("form").length], ["stored", 2]);
});

test("an untold file that is found to be gone is failed, and of an old server it stays untold", async () => {
  cloud.next("form", untold, 2);
  asking((exchange) => exchange.reply(500));
  const uploader = await newUploader();
  const [gone, old] = await upload(uploader, text("gone"), text("old"));
  await pass(60);
  cloud.heal();
  cloud.always("recover", (exchange) =>
    exchange.json.object.endsWith("gone") ? refuse(exchange, 404, "not_stored") : exchange.reply(404),
  );
  uploader.retry(gone);
  uploader.retry(old);
  await pass(1);
  same([gone.state, gone.notStored, old.state, old.notStored], ["failed", true, "untold", false]);
});

test("a name that is already there after a lost connection is the page's own file", async () => {
  cloud.next("form", (exchange) => {
    cloud.store(exchange); // its answer is lost, and the browser sends the form again by itself
    cloud.serve(exchange);
  });
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.error.code], ["asking", "FileAlreadyExists"]);
  await pass(1);
  same([item.state, cloud.asked("form").length], ["stored", 1]);
});

test("a 409 that no request of OSS's stands behind is a refusal", async () => {
  cloud.next("form", (exchange) => exchange.reply(409, "<Error><Code>FileAlreadyExists</Code></Error>"));
  const [item] = await upload(await newUploader(), text());
  same([item.state, cloud.asked("recover")], ["failed", []]);
});

test("files that are asked for leave their places to others", async () => {
  cloud.always("form", (exchange) => (exchange.fields.key.endsWith("late") ? cloud.serve(exchange) : untold(exchange)));
  const uploader = await newUploader({ concurrency: 1 });
  await upload(uploader, text("a"), text("b"), text("late"));
  same(states(uploader), ["asking", "asking", "stored"]);
  cloud.heal();
  cloud.always("form");
  await upload(uploader, text("c"), text("d"));
  same(states(uploader).slice(3), ["sending", "waiting"]);
  await pass(1);
  same([states(uploader), uploader.running], [["stored", "stored", "stored", "sending", "waiting"], true]);
});

test("a cancelled question ends it, and retry asks before it sends", async () => {
  cloud.next("form", untold);
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same(uploader.cancel(item), true);
  same([item.state, item.complete], ["cancelled", true]);
  await pass(60);
  same([cloud.asked("recover"), timersLeft()], [[], 0]);
  uploader.retry(item);
  await pass(1);
  same([item.state, cloud.asked("form").length], ["stored", 1]);
});

test("a question that is cancelled on its way leaves no trace", async () => {
  cloud.next("form", untold);
  cloud.next("recover");
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  await pass(1);
  uploader.cancel(item);
  await pass(60);
  same(
    [
      item.state,
      cloud.last("recover").isCancelled,
      cloud.asked("recover").length,
      told(uploader, "done"),
      told(uploader, "fail"),
    ],
    ["cancelled", true, 1, [], []],
  );
  same(notes().length, 1);
});

test("after a reload the same file is asked for and not sent again", async () => {
  cloud.next("form", (exchange) => {
    exchange.complete();
    cloud.objects.set(exchange.fields.key, { size: 5 });
  });
  await upload(await newUploader(), text());
  same(
    notes().map(({ key, ticket }) => [key, ticket]),
    [["uploads/1-a.txt", "ticket-of-uploads/1-a.txt"]],
  );
  await leave();
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same([item.state, item.key, item.url], ["asking", "uploads/1-a.txt", `${cloud.bucket}/uploads/1-a.txt`]);
  await pass(1);
  same([item.state, item.sent, cloud.asked("form").length, cloud.asked("signature").length, notes()], ["stored", 5, 1, 1, []]);
  const [again] = await upload(uploader, text());
  same([again.state, cloud.asked("form").length], ["stored", 2], "once it is answered, the same file is another upload");
});

test("a question after a reload that is cancelled sends nothing", async () => {
  cloud.next("form", (exchange) => exchange.complete());
  await upload(await newUploader(), text());
  await leave();
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  uploader.cancel(item);
  await pass(60);
  same(
    [item.state, item.complete, cloud.asked("signature").length, told(uploader, "state").at(-1)],
    ["cancelled", true, 1, "a.txt cancelled"],
  );
});

test("a file of which nobody can say anything after a reload is unsure", async () => {
  cloud.next("form", (exchange) => exchange.complete());
  await upload(await newUploader(), text());
  await leave();
  asking((exchange) => exchange.reply(503));
  const [item] = await upload(await newUploader(), text());
  await pass(60);
  same([item.state, item.error.kind, item.error.stage, item.error.complete], ["unsure", "unreachable", "server", true]);
});

test("another file after a reload is sent, and the first stays noted", async () => {
  const others = [text("b.txt"), text("a.txt", "hellO"), text("a.txt", "hello!"), text("a.txt", "hello", { type: "text/html" })];
  cloud.next("form", (exchange) => exchange.complete());
  await upload(await newUploader(), text());
  await leave();
  for (const file of others) {
    const [item] = await upload(await newUploader(), file);
    same(item.state, "stored");
  }
  same([cloud.asked("recover"), notes().length], [[], 1]);
});

test("a file that did not arrive before the reload is sent", async () => {
  cloud.next("form", (exchange) => exchange.complete());
  await upload(await newUploader(), text());
  await leave();
  const [item] = await upload(await newUploader(), text());
  await pass(3);
  same(
    [item.state, item.notStored, cloud.asked("form").length, cloud.asked("recover").length, notes()],
    ["stored", false, 2, 2, []],
  );
});

test("a file that is cancelled while it is compared is not sent", async () => {
  cloud.next("form", (exchange) => exchange.complete());
  await upload(await newUploader(), text());
  await leave();
  const uploader = await newUploader();
  const [item] = uploader.add([text()]);
  uploader.start();
  uploader.cancel(item);
  await pass(60);
  same([item.state, cloud.asked("recover"), cloud.asked("form").length], ["cancelled", [], 1]);
});

test("the content of a file up to a megabyte is compared, of a larger one the time of its change", async () => {
  const keep = async (file, other) => {
    cloud.next("form", (exchange) => exchange.complete());
    const before = cloud.asked("recover").length;
    await upload(await newUploader(), file);
    await leave();
    await upload(await newUploader(), other);
    await pass(5);
    sessionStorage.removeItem(NOTE);
    return cloud.asked("recover").length > before;
  };
  const size = 2 ** 20;
  same(await keep(large(size, "a", { lastModified: 1 }), large(size, "a", { lastModified: 2 })), true);
  same(await keep(large(size + 1, "b", { lastModified: 1 }), large(size + 1, "b", { lastModified: 2 })), false);
  same(await keep(large(size + 1, "c", { lastModified: 1 }), large(size + 1, "c", { lastModified: 1 })), true);
  same(await keep(text("d", "ab"), text("d", "ba")), false);
  same(await keep(text("e", "ab", { lastModified: 1 }), text("e", "ab", { lastModified: 2 })), true);
});

test("the fingerprint is 64 bits in hex, with each zero", async () => {
  const seen = new Set();
  for (let number = 0; number < 40; number += 1) {
    cloud.next("form", (exchange) => exchange.complete());
    await upload(await newUploader({ concurrency: 1 }), text("f", `content ${number}`));
    const hash = JSON.parse(notes()[0].file)[3];
    ok(/^[0-9a-f]{16}$/.test(hash), hash);
    seen.add(hash.slice(0, 8)).add(hash.slice(8));
    sessionStorage.removeItem(NOTE);
  }
  same(seen.size, 80, "both halves tell files apart");
});

test("a note is good for twelve hours after the form, and of a broken one nothing is left", async () => {
  cloud.next("form", (exchange) => exchange.complete());
  await upload(await newUploader(), text());
  const [note] = notes();
  same(Math.round(note.until - Date.now() / 1000), 12 * 3600 + 600);
  await leave();
  for (const broken of [
    "[",
    "{}",
    "null",
    JSON.stringify([{ ...note, until: Date.now() / 1000 - 1 }]),
    JSON.stringify([{ ...note, key: "" }]),
  ]) {
    sessionStorage.setItem(NOTE, broken);
    const [item] = await upload(await newUploader(), text());
    same([item.state, cloud.asked("recover")], ["stored", []]);
  }
  await pass(12 * 3600 + 590);
  sessionStorage.setItem(NOTE, JSON.stringify([note]));
  const [item] = await upload(await newUploader(), text());
  same(item.state, "asking");
});

test("several files are noted, one note for each object", async () => {
  cloud.always("form", (exchange) => exchange.complete());
  const uploader = await newUploader();
  const [a] = await upload(uploader, text("a"), text("b"));
  same(
    notes().map(({ key }) => key),
    ["uploads/1-a", "uploads/2-b"],
  );
  cloud.asked("form")[1].reply(200, "{}");
  await settled();
  same(
    notes().map(({ key }) => key),
    ["uploads/1-a"],
  );
  uploader.cancel(a);
  same(notes().length, 1);
});

test("a refusal after the last byte leaves no note", async () => {
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  await upload(await newUploader(), text());
  same(sessionStorage.getItem(NOTE), null);
});

test("a storage that is full or missing does not hold up the upload", async () => {
  sessionStorage.isFull = true;
  const [item] = await upload(await newUploader(), text());
  same(item.state, "stored");
  Object.defineProperty(globalThis, "sessionStorage", {
    get: () => {
      throw new DOMException("sandboxed", "SecurityError");
    },
  });
  const [other] = await upload(await newUploader(), text("b.txt"));
  same(other.state, "stored");
});

test("with storage null the page itself remembers", async () => {
  cloud.next("form", untold);
  const uploader = await newUploader({ storage: null });
  const [item] = await upload(uploader, text());
  same([notes(), item.state], [[], "asking"]);
  uploader.cancel(item);
  uploader.retry(item);
  await pass(1);
  same([item.state, cloud.asked("form").length], ["stored", 1]);
  const [again] = await upload(uploader, text());
  same(again.state, "stored");
});

test("an own storage takes the place of the browser's", async () => {
  const texts = new Map();
  const storage = {
    getItem: (name) => texts.get(name) ?? null,
    setItem: (name, value) => texts.set(name, value),
    removeItem: (name) => texts.delete(name),
  };
  cloud.next("form", (exchange) => exchange.complete());
  await upload(await newUploader({ storage }), text());
  same([[...texts.keys()], notes()], [[NOTE], []]);
});

test("an unreadable file is not compared, and fails when it is sent", async () => {
  cloud.next("form", (exchange) => exchange.complete());
  await upload(await newUploader(), text());
  await leave();
  const file = text();
  file.isGone = true;
  const [item] = await upload(await newUploader(), file);
  same([item.state, item.error.kind], ["failed", "unreadable"]);
});

test("where this module cannot be loaded, files are handled as with a server without recovery", async () => {
  lose("recovery.js");
  cloud.next("form", untold);
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same([item.state, item.canAsk], ["untold", false]);
  lose();
  cloud.next("form", untold);
  const [other] = await upload(uploader, text("b.txt"));
  same(other.state, "asking", "it is loaded for the next file");
});

// OSS_REPORT_BY=page.

test("where OSS reports nothing, the page reports a stored file at once", async () => {
  cloud.pagesReport = true;
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same([item.state, item.error, item.progress, item.retryIn], ["stored", null, 1, 0]);
  same(
    [item.answer, item.signedId],
    ['{"Status":"Ok","number":1,"signed_id":"signed-uploads_1_a_txt"}', "signed-uploads_1_a_txt"],
  );
  same(cloud.last("recover").json, { ticket: "ticket-of-uploads/1-a.txt", object: "uploads/1-a.txt" });
  same([cloud.asked("recover").length, cloud.handled, notes()], [1, ["uploads/1-a.txt"], []]);
  same(uploader.log.slice(-4), ["state a.txt answering", "state a.txt stored", "done a.txt", "idle"]);
});

test("a 204 is reported too", async () => {
  cloud.pagesReport = true;
  cloud.next("form", (exchange) => {
    cloud.store(exchange);
    exchange.reply(204);
  });
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.status, cloud.handled.length], ["stored", 204, 1]);
});

test("a file that OSS refuses is not reported", async () => {
  cloud.pagesReport = true;
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.error.stage, cloud.asked("recover"), notes()], ["failed", "storage", [], []]);
});

test("a report that fails is repeated after 1, 2, 4, 8 and 16 seconds, and then the file is untold", async () => {
  cloud.pagesReport = true;
  const moments = asking((exchange) => exchange.reply(500));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same([item.state, item.retryIn], ["asking", 1]);
  await pass(3600);
  same(moments, [0, 1, 3, 7, 15, 31]);
  same([item.state, item.error.stage, item.error.status, item.canAsk], ["untold", "server", 500, true]);
  includes(await item.explain("en"), "Retry tells the application");
  same([notes().length, cloud.asked("form").length], [1, 1]);
  cloud.heal();
  uploader.retry(item);
  await settled();
  same([item.state, item.error, cloud.asked("form").length, notes()], ["stored", null, 1, []]);
});

test("a refused report leaves the file untold, with the reason", async () => {
  cloud.pagesReport = true;
  cloud.next("recover", (exchange) => refuse(exchange, 409, "not_yours"));
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.error.code, item.canAsk, cloud.asked("recover").length], ["untold", "not_yours", false, 1]);
});

test("a busy server is told when it asks to be", async () => {
  cloud.pagesReport = true;
  cloud.next("recover", (exchange) => exchange.reply(503, "", { "Retry-After": "5" }));
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.retryIn], ["asking", 5]);
  await pass(5);
  same([item.state, cloud.handled.length], ["stored", 1]);
});

test("a stored file that the server does not find has failed, and is not sent again by itself", async () => {
  cloud.pagesReport = true;
  cloud.next("form", (exchange) => exchange.reply(200));
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.notStored, item.canRetry, item.canAsk], ["failed", true, true, false]);
  await pass(600);
  same(cloud.asked("form").length, 1);
});

test("a page that is closed before it reports does so when the same file is chosen again", async () => {
  cloud.pagesReport = true;
  cloud.next("recover");
  await upload(await newUploader(), text());
  same(notes().map(({ ticket }) => ticket), ["ticket-of-uploads/1-a.txt"]);
  await leave();
  const [item] = await upload(await newUploader(), text());
  await pass(1);
  same([item.state, cloud.asked("form").length, cloud.handled.length, notes()], ["stored", 1, 1, []]);
});

test("with recoverUrl null nobody reports a file, and it is untold", async () => {
  cloud.pagesReport = true;
  const [item] = await upload(await newUploader({ recoverUrl: null }), text());
  same([item.state, item.canAsk, cloud.asked("recover")], ["untold", false, []]);
});

test("a file that could not be reported, because this module cannot be loaded, is not sent before it can", async () => {
  cloud.pagesReport = true;
  lose("recovery.js");
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.error.kind, cloud.asked("form")], ["retrying", "unreachable", []]);
  lose();
  await pass(3);
  same([item.state, cloud.handled.length], ["stored", 1]);
});
