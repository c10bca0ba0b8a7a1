/** `parts.js`: large files in parts, after failures, pauses, reloads; nothing of a cancelled one stays. */

const PART = 2 ** 20;
const NOTES = "oss-wsgi-uploads";
const notes = () => indexedDB.records(NOTES);
const film = (parts = 4, options = {}) =>
  large(parts * PART, "film.bin", { type: "video/mp4", lastModified: 1_700_000_000_000, ...options });
const numbers = (step) => cloud.asked(step).map(({ query, path }) => Number(query.partNumber ?? path.split("/").at(-1)));

async function partsUploader(options) {
  cloud.inParts(PART);
  const uploader = await newUploader(options);
  await uploader.limits();
  return uploader;
}

/** Starts a file of which the first parts are stored, and the others are held; returns its item. */
async function halfway(uploader, stored = 2, file = film()) {
  cloud.always("part", (exchange) => Number(exchange.query.partNumber) <= stored && cloud.serve(exchange));
  const [item] = await upload(uploader, file);
  return item;
}

/** Leaves the page in the middle of a file, and returns the Uploader of the next one with this file in its list. */
async function reloaded(file, options, stored = 2) {
  await halfway(await partsUploader(options), stored);
  await leave();
  cloud.heal();
  const uploader = await partsUploader(options);
  const [item] = uploader.add([file]);
  await settled();
  return [uploader, item];
}

test("a file goes in parts of the size that the server says, and its answer is the application's", async () => {
  const uploader = await partsUploader();
  const [item] = await upload(uploader, large(3 * PART + 17, "film.bin", { type: "video/mp4" }));
  same(cloud.last("begin").json, { filename: "film.bin", type: "video/mp4", size: 3 * PART + 17, part_size: PART });
  same(
    cloud.asked("part").map(({ body }) => [body.start, body.size]),
    [
      [0, PART],
      [PART, PART],
      [2 * PART, PART],
      [3 * PART, 17],
    ],
  );
  same(
    cloud.last("complete").json.parts,
    [1, 2, 3, 4].map((number) => ({ PartNumber: number, ETag: `"PART-${number}"` })),
  );
  same([item.state, item.status, item.key], ["stored", 200, "uploads/1-film.bin"]);
  same(
    [item.answer, item.signedId],
    ['{"Status":"Ok","number":1,"signed_id":"signed-uploads_1_film_bin"}', "signed-uploads_1_film_bin"],
  );
  same(
    [item.url, item.sent, item.progress, item.error, item.upload],
    [`${cloud.bucket}/uploads/1-film.bin`, item.file.size, 1, null, null],
  );
  same([cloud.asked("signature"), cloud.handled.length, notes()], [[], 1, []]);
});

test("a part is sent as it was signed", async () => {
  await upload(await partsUploader(), film(1));
  const { method, headers, url } = cloud.last("part");
  same([method, headers], ["PUT", { "x-oss-meta-part": "1" }]);
  same(url, `${cloud.bucket}/uploads/1-film.bin?partNumber=1&uploadId=id%2F1`);
  same(cloud.last("sign").url, "https://shop.example.com/oss/s3/multipart/id%2F1/1?key=uploads%2F1-film.bin");
});

test("files from the server's limit on go in parts, smaller ones by form", async () => {
  cloud.inParts(PART);
  const uploader = await newUploader();
  await upload(uploader, large(PART - 1, "a"), large(PART, "b"), text("c"));
  same([cloud.asked("form").length, cloud.asked("begin").map((exchange) => exchange.json.filename)], [2, ["b"]]);
  cloud.limits.multipart_from = null;
  await upload(await newUploader(), film());
  same(cloud.asked("form").length, 3);
});

test("the events are those of a form", async () => {
  const uploader = await partsUploader();
  await upload(uploader, film(2));
  same(
    told(uploader, "state"),
    ["waiting", "signing", "sending", "answering", "stored"].map((state) => `film.bin ${state}`),
  );
  same(uploader.log.slice(-2), ["done film.bin", "idle"]);
});

test("the path in a folder goes to the server", async () => {
  const uploader = await partsUploader();
  await upload(uploader, { file: film(1), path: "holidays/film.bin" }, { file: film(1), path: "film.bin" });
  same(
    cloud.asked("begin").map((exchange) => exchange.json.relative_path),
    ["holidays/film.bin", undefined],
  );
});

test("three parts are sent side by side, in their order", async () => {
  cloud.always("part");
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film(6));
  same([numbers("part"), item.canPause], [[1, 2, 3], true]);
  cloud.serve(cloud.asked("part")[1]);
  await settled();
  same(numbers("part"), [1, 2, 3, 4]);
  await upload(await partsUploader(), film(2));
  same(numbers("part").slice(4), [1, 2]);
});

test("progress is the sum of all parts and never goes back", async () => {
  const uploader = await partsUploader();
  const seen = [];
  uploader.addEventListener("progress", ({ detail: { item } }) => seen.push(item.sent));
  cloud.always("part");
  const [item] = await upload(uploader, film(2));
  const [one, two] = cloud.asked("part");
  one.progress(0.5);
  two.progress(0.25);
  same([item.sent, item.progress], [PART * 0.75, 0.375]);
  one.reply(500);
  cloud.heal();
  await settled();
  same(item.sent, PART * 1.25, "its last byte was sent");
  two.progress(0.5);
  same(item.sent, PART * 1.25, "what OSS refused no longer counts");
  await pass(2);
  same(
    seen,
    [...seen].sort((a, b) => a - b),
  );
  cloud.serve(two);
  await settled();
  same([item.state, seen.at(-1)], ["stored", 2 * PART]);
});

test("a part that fails is sent again after 1, 3, 8, 20 and 40 seconds, and then the file fails for good", async () => {
  const uploader = await partsUploader();
  const moments = [];
  cloud.always("part", (exchange) => {
    moments.push(performance.now() / 1000);
    exchange.reply(500, xml("InternalError"));
  });
  const [item] = await upload(uploader, film(1));
  same([item.state, item.retryIn, item.canPause, item.canRetry, item.error.code], ["retrying", 1, true, true, "InternalError"]);
  await pass(3600);
  same(moments, [0, 1, 4, 12, 32, 72]);
  same([item.state, item.error.status, item.canRetry], ["failed", 500, true]);
  same([cloud.asked("sign").length, cloud.asked("begin").length, timersLeft()], [6, 1, 0]);
});

test("a part that OSS refuses for ever fails the file at once, and the other parts stop", async () => {
  cloud.always("part", (exchange) => exchange.query.partNumber === "2" && exchange.reply(403, xml("AccessDenied")));
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film(3));
  same(
    [item.state, item.error.code, item.error.stage, cloud.asked("part").map(({ isCancelled }) => isCancelled ?? false)],
    ["failed", "AccessDenied", "storage", [true, false, true]],
  );
  same(told(uploader, "fail"), ["film.bin"]);
});

test("a URL that has expired is signed anew", async () => {
  cloud.next("part", (exchange) => exchange.reply(403, xml("AccessDenied", "Request has expired.")));
  const [item] = await upload(await partsUploader(), film(1));
  await pass(1);
  same([item.state, numbers("sign"), item.error], ["stored", [1, 1], null]);
});

test("OSS's Retry-After is obeyed fifty times", async () => {
  const uploader = await partsUploader();
  let count = 0;
  cloud.always("part", (exchange) => {
    count += 1;
    exchange.reply(503, xml("SlowDown"), { "Retry-After": "9" });
  });
  const [item] = await upload(uploader, film(1));
  same(item.retryIn, 9);
  await pass(450);
  same([count, item.state], [51, "retrying"]);
  await pass(3600);
  same([count, item.state], [56, "failed"]);
});

test("while one part waits, and others are sent, the file is sending", async () => {
  cloud.next("part", (exchange) => exchange.reply(500));
  cloud.always("part");
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film(2));
  same([item.state, numbers("part")], ["sending", [1, 2]]);
  cloud.asked("part")[1].reply(500);
  await settled();
  same(item.state, "retrying");
  await pass(1);
  same(item.state, "sending");
});

test("when the last working part waits the file is retrying, also where others are done", async () => {
  const uploader = await partsUploader();
  cloud.always("part", (exchange) => (exchange.query.partNumber === "1" ? exchange.reply(500) : cloud.serve(exchange)));
  const [item] = await upload(uploader, film(4));
  same([item.state, numbers("part")], ["retrying", [1, 2, 3, 4]]);
});

test("a part whose connection breaks is sent again, also after its last byte", async () => {
  cloud.next("part", (exchange) => {
    exchange.complete();
    exchange.fail();
  });
  cloud.next("part", (exchange) => exchange.fail());
  const [item] = await upload(await partsUploader(), film(1));
  same([item.state, item.error.kind, item.error.complete], ["retrying", "unreachable", false]);
  await pass(4);
  same([item.state, cloud.asked("recover")], ["stored", []]);
});

test("parts wait while the device is offline, and all go on", async () => {
  cloud.always("part");
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film(3));
  goOffline();
  await settled();
  same([item.state, item.retryIn], ["retrying", Infinity]);
  await pass(600);
  cloud.heal();
  goOnline();
  await settled();
  same([item.state, item.sent, cloud.asked("begin").length], ["stored", 3 * PART, 1]);
});

test("retry sends all waiting parts at once", async () => {
  cloud.next("part", (exchange) => exchange.reply(500), 2);
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film(2));
  same([item.state, uploader.retry(item)], ["retrying", true]);
  await settled();
  same([item.state, timersLeft()], ["stored", 0]);
});

test("an answer without ETag cannot be completed and says so", async () => {
  cloud.next("part", (exchange) => exchange.reply(200, "", { "X-Other": "ETag: 1" }));
  const [item] = await upload(await partsUploader(), film(1));
  same([item.state, item.error.kind, item.error.stage, item.error.passing], ["failed", "exposed", "storage", false]);
});

test("a status of 204 is no stored part", async () => {
  cloud.next("part", (exchange) => exchange.reply(204, "", { ETag: '"1"' }));
  const [item] = await upload(await partsUploader(), film(1));
  same([item.state, item.error.status], ["failed", 204]);
});

test("an answer of the server in the wrong form fails the file", async () => {
  const steps = [
    ["begin", {}],
    ["begin", { uploadId: "u" }],
    ["begin", { uploadId: "u", part_size: 0 }],
    ["sign", {}],
    ["sign", null],
  ];
  for (const [step, answer] of steps) {
    cloud.next(step, (exchange) => json(exchange, answer));
    const [item] = await upload(await partsUploader(), film(1));
    same([step, item.state, item.error.kind], [step, "failed", "unexpected"]);
  }
});

test("a paused file stops, and goes on with the parts that are missing", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  same([item.sent, item.canPause, uploader.pause(item)], [2 * PART, true, true]);
  same(
    [item.state, item.running, item.ended, item.progress, item.canPause, uploader.pause(item)],
    ["paused", false, false, 0.5, false, true],
  );
  ok(
    cloud
      .asked("part")
      .slice(2)
      .every(({ isCancelled }) => isCancelled),
  );
  same(uploader.log.slice(-2), ["state film.bin paused", "idle"]);
  same(uploader.totals.paused, 1);
  await pass(3600);
  const before = cloud.asked("part").length;
  cloud.heal();
  same(uploader.resume(item), true);
  await settled();
  same([item.state, numbers("part").slice(before), cloud.asked("begin").length], ["stored", [3, 4], 1]);
  same(cloud.last("list").url, "https://shop.example.com/oss/s3/multipart/id%2F1?key=uploads%2F1-film.bin");
});

test("a file that goes by form, or that does not run, is not paused", async () => {
  cloud.next("form");
  const uploader = await partsUploader();
  const [small] = await upload(uploader, text());
  same([small.state, small.canPause, uploader.pause(small), small.state], ["sending", false, false, "sending"]);
  const [queued] = uploader.add([film()]);
  same([uploader.pause(queued), uploader.resume(queued), queued.state], [false, false, "queued"]);
});

test("a file that waits between two tries is paused too, and leaves its place", async () => {
  cloud.always("part", (exchange) => exchange.reply(500));
  const uploader = await partsUploader({ concurrency: 1 });
  const [item, other] = await upload(uploader, film(1), text());
  same([item.state, other.state], ["retrying", "waiting"]);
  uploader.pause(item);
  await settled();
  same([item.state, other.state, timersLeft()], ["paused", "stored", 0]);
});

test("parts of another size than the file's are sent again", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  uploader.pause(item);
  cloud.heal();
  const { parts } = cloud.uploads.get("id/1");
  parts.set(2, { size: PART - 1 });
  uploader.resume(item);
  await settled();
  same([item.state, numbers("part").slice(4)], ["stored", [2, 3, 4]]);
});

test("a last part of its own size is kept, and a part behind the end is not", async () => {
  const file = large(PART + 5, "film.bin");
  const uploader = await partsUploader();
  cloud.always("part", (exchange) => exchange.query.partNumber === "2" && cloud.serve(exchange));
  const [item] = await upload(uploader, file);
  uploader.pause(item);
  cloud.heal();
  cloud.next("list", (exchange) =>
    json(exchange, [
      { PartNumber: 2, ETag: '"PART-2"', Size: 5 },
      { PartNumber: 3, ETag: '"PART-3"', Size: 0 },
    ]),
  );
  uploader.resume(item);
  await settled();
  same([item.state, numbers("part").slice(2), cloud.last("complete").json.parts.length], ["stored", [1], 2]);
});

test("an unreadable list fails the file", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  uploader.pause(item);
  cloud.heal();
  cloud.next("list", (exchange) => json(exchange, { parts: [] }));
  uploader.resume(item);
  await settled();
  same([item.state, item.error.kind], ["failed", "unexpected"]);
});

test("a failed file goes on with its parts when it is retried", async () => {
  cloud.always("part", (exchange) =>
    exchange.query.partNumber === "3" ? exchange.reply(403, xml("AccessDenied")) : cloud.serve(exchange),
  );
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film(3));
  same([item.state, item.sent > 0], ["failed", true], "what is stored stays in sight");
  cloud.heal();
  uploader.retry(item);
  await settled();
  same([item.state, cloud.asked("begin").length], ["stored", 1]);
});

test("of a cancelled file nothing stays in the bucket", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  uploader.cancel(item);
  await settled();
  same([item.state, [...cloud.uploads], notes(), item.sent, item.upload], ["cancelled", [], [], 0, null]);
  const { method, url, options } = cloud.last("abort");
  same(
    [method, url, options.keepalive],
    ["DELETE", "https://shop.example.com/oss/s3/multipart/id%2F1?key=uploads%2F1-film.bin", true],
  );
  same(cloud.asked("abort").length, 1);
});

test("a paused file that is cancelled or removed leaves nothing", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  uploader.pause(item);
  same(uploader.cancel(item), true);
  await settled();
  same([[...cloud.uploads], item.state], [[], "cancelled"]);
  const other = await halfway(uploader);
  uploader.pause(other);
  uploader.remove(other);
  await settled();
  same([...cloud.uploads], []);
});

test("a file that is cancelled while it begins leaves nothing", async () => {
  cloud.next("begin");
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film());
  uploader.cancel(item);
  await settled();
  ok(!cloud.last("begin").isCancelled, "otherwise nobody knew its ID");
  cloud.serve(cloud.last("begin"));
  await settled();
  same([item.state, [...cloud.uploads], cloud.asked("abort").length, cloud.asked("sign"), notes()], ["cancelled", [], 1, [], []]);
});

test("an abort that fails is no error", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  cloud.next("abort", (exchange) => exchange.fail());
  uploader.cancel(item);
  await settled();
  same([item.state, notes()], ["cancelled", []]);
});

test("a cancelled file that is retried begins anew", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  uploader.cancel(item);
  await settled();
  cloud.heal();
  uploader.retry(item);
  await settled();
  same([item.state, item.key, cloud.asked("list")], ["stored", "uploads/2-film.bin", []]);
});

test("what is stored is noted after each part, and forgotten at the end", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  const [{ id, key, partSize, name, path, size, modified, sent, server, until }] = notes();
  same(
    [id, key, partSize, name, path, size, modified],
    ["id/1", "uploads/1-film.bin", PART, "film.bin", "", 4 * PART, 1_700_000_000_000],
  );
  same([sent, server, Math.round(until - Date.now() / 1000)], [2 * PART, "https://shop.example.com/oss/signature", 7 * 86400]);
  cloud.heal();
  for (const exchange of cloud.asked("part").slice(2)) cloud.serve(exchange);
  await settled();
  same([item.state, notes()], ["stored", []]);
});

test("what has only begun is noted too", async () => {
  cloud.always("part");
  await upload(await partsUploader(), film());
  same(
    notes().map(({ id, sent }) => [id, sent]),
    [["id/1", 0]],
  );
});

test("after a reload the same file is offered, and goes on only when it is told to", async () => {
  const [uploader, item] = await reloaded(film());
  const { sent, size, isChanged } = item.resumable;
  same([item.state, sent, size, isChanged, told(uploader, "resumable")], ["queued", 2 * PART, 4 * PART, false, ["film.bin"]]);
  same(cloud.asked("list"), []);
  const before = cloud.asked("part").length;
  same(uploader.resume(item), true);
  await settled();
  same(
    [item.state, numbers("part").slice(before), cloud.asked("begin").length, item.resumable, notes()],
    ["stored", [3, 4], 1, null, []],
  );
});

test("a small file goes on in parts where an earlier page began it so", async () => {
  cloud.inParts(PART);
  const [uploader, item] = await reloaded(film());
  cloud.limits.multipart_from = 100 * PART;
  const next = await newUploader();
  same(item.state, "queued");
  uploader.resume(item);
  await settled();
  same([item.state, cloud.asked("form"), next.items], ["stored", [], []]);
});

test("the person may start over, and one upload is offered for a file", async () => {
  const [uploader, item] = await reloaded(film());
  cloud.always("part");
  uploader.start();
  await settled();
  same([item.resumable, cloud.asked("begin").length, notes().map(({ id }) => id)], [null, 2, ["id/2"]]);
});

test("a file that has changed is not continued", async () => {
  const changed = [film(4, { lastModified: 1 }), film(5)];
  for (const file of changed) {
    const [uploader, item] = await reloaded(file);
    same([item.resumable.isChanged, uploader.resume(item), item.state], [true, false, "queued"]);
    uploader.start();
    await settled();
    same([item.state, cloud.objects.get(item.key).size], ["stored", file.size]);
  }
});

test("another name, folder or server is another file", async () => {
  const others = [
    [large(4 * PART, "b.bin", { lastModified: 1_700_000_000_000 })],
    [{ file: film(), path: "holidays/film.bin" }],
    [film(), { serverUrl: "/oss/signature?album=2" }],
  ];
  await halfway(await partsUploader());
  await leave();
  cloud.heal();
  for (const [file, options] of others) {
    const uploader = await partsUploader(options);
    const [item] = uploader.add([file]);
    await settled();
    same([item.resumable, told(uploader, "resumable")], [null, []]);
  }
});

test("of several notes the newest is offered, and what has expired is forgotten", async () => {
  const [, { resumable }] = await reloaded(film());
  const note = { ...notes()[0] };
  const put = (more) =>
    new Promise((resolve) => {
      indexedDB.open(NOTES).addEventListener("success", ({ target }) => {
        target.result
          .transaction(NOTES, "readwrite")
          .objectStore(NOTES)
          .put({ ...note, ...more })
          .addEventListener("success", resolve);
      });
    });
  await put({ id: "newer", until: note.until + 60 });
  await put({ id: "oldest", until: note.until - 60 });
  await put({ id: "expired", until: Date.now() / 1000 });
  await leave();
  const uploader = await partsUploader();
  const [item] = uploader.add([film()]);
  await settled();
  same(
    [
      resumable.id,
      item.resumable.id,
      notes()
        .map(({ id }) => id)
        .sort(),
    ],
    ["id/1", "newer", ["id/1", "newer", "oldest"]],
  );
});

test("files that are added together are compared with the notes by one reading", async () => {
  const uploader = await partsUploader();
  const before = indexedDB.opened;
  uploader.add([film(), film(2), film(3)]);
  await settled();
  same(indexedDB.opened, before + 1);
  uploader.add([film(5)]);
  await settled();
  same(indexedDB.opened, before + 2);
});

test("a file that starts before the notes are read is not offered any more", async () => {
  await halfway(await partsUploader());
  await leave();
  cloud.heal();
  const uploader = await partsUploader();
  const [item] = uploader.add([film()]);
  uploader.start();
  await settled();
  same([item.resumable, told(uploader, "resumable"), item.state], [null, [], "stored"]);
});

test("a browser without a database sends a file all the same", async () => {
  indexedDB.isBroken = true;
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film());
  same([item.state, item.resumable], ["stored", null]);
});

test("a database that is full sends a file all the same", async () => {
  for (const failing of ["error", "abort"]) {
    indexedDB.failing = failing;
    const [item] = await upload(await partsUploader(), film());
    same([failing, item.state], [failing, "stored"]);
  }
});

test("small files are compared with no notes", async () => {
  const uploader = await partsUploader();
  const before = indexedDB.opened;
  uploader.add([large(PART - 1, "film.bin"), text()]);
  await settled();
  same(indexedDB.opened, before);
});

test("an upload that is gone begins anew, once", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  uploader.pause(item);
  cloud.heal();
  cloud.uploads.clear();
  uploader.resume(item);
  await settled();
  same([item.state, item.key, cloud.asked("begin").length, notes()], ["stored", "uploads/2-film.bin", 2, []]);
  cloud.always("complete", (exchange) => refuse(exchange, 404, "upload_gone"));
  const [other] = await upload(uploader, film(1));
  same([other.state, other.error.code, cloud.asked("begin").length], ["failed", "upload_gone", 4]);
});

test("a file that was damaged in storage is sent anew", async () => {
  cloud.next("complete", (exchange) => refuse(exchange, 500, "crc64_mismatch"));
  const [item] = await upload(await partsUploader(), film(2));
  same([item.state, numbers("part"), cloud.asked("begin").length], ["stored", [1, 2, 1, 2], 2]);
});

test("where parts are missing in OSS's list they are sent, and the others are not", async () => {
  cloud.next("complete", (exchange) => {
    cloud.uploads.get("id/1").parts.delete(2);
    cloud.serve(exchange);
  });
  const [item] = await upload(await partsUploader(), film(3));
  same([item.state, numbers("part"), cloud.asked("begin").length], ["stored", [1, 2, 3, 2], 1]);
});

test("parts that stay missing fail the file", async () => {
  cloud.always("complete", (exchange) => refuse(exchange, 409, "parts_missing"));
  const [item] = await upload(await partsUploader(), film(1));
  same([item.state, item.error.code, cloud.asked("complete").length], ["failed", "parts_missing", 2]);
});

test("a server that fails at the end is asked again without sending a part again", async () => {
  cloud.next("complete", (exchange) => exchange.reply(503, "{}", { "Retry-After": "4" }));
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film(2));
  same([item.state, item.retryIn], ["retrying", 4]);
  await pass(4);
  same([item.state, numbers("part"), cloud.handled.length], ["stored", [1, 2], 1]);
});

test("a success in parts lets the files behind it wait again", async () => {
  const uploader = await partsUploader({ concurrency: 1 });
  cloud.always("form", (exchange) => exchange.reply(500));
  const [first, , last] = await upload(uploader, text("a"), film(1), text("c"));
  await pass(90);
  same([first.state, last.state, uploader.items[1].state], ["failed", "retrying", "stored"]);
});

test("a server that fails at the beginning is asked again", async () => {
  cloud.next("begin", (exchange) => exchange.reply(429, "{}", { "Retry-After": "1" }), 2);
  const [item] = await upload(await partsUploader(), film(1));
  await pass(2);
  same([item.state, cloud.asked("begin").length], ["stored", 3]);
});

test('an answer that is a text is shown as it is, and none is ""', async () => {
  for (const [answer, shown] of [
    ["plain", "plain"],
    [undefined, ""],
    [[1], "[1]"],
    [null, "null"],
  ]) {
    cloud.next("complete", (exchange) => json(exchange, { location: "l", key: "k", answer }));
    const [item] = await upload(await partsUploader(), film(1));
    same([item.answer, item.url, item.key], [shown, "l", "k"]);
  }
});

test("a file that is cancelled while it is completed is not told as stored", async () => {
  cloud.next("complete");
  const uploader = await partsUploader();
  const [item] = await upload(uploader, film(1));
  same(item.state, "answering");
  uploader.cancel(item);
  cloud.serve(cloud.last("complete"));
  await settled();
  same([item.state, item.complete, told(uploader, "done")], ["cancelled", true, []]);
});

test("a file that can no longer be read fails", async () => {
  const uploader = await partsUploader();
  const item = await halfway(uploader);
  uploader.pause(item);
  cloud.heal();
  item.file.isGone = true;
  uploader.resume(item);
  await settled();
  same([item.state, item.error.kind], ["failed", "unreadable"]);
});

test("where this module cannot be loaded the server counts as unreachable", async () => {
  const uploader = await partsUploader();
  lose("parts.js");
  uploader.add([film()]);
  const [item] = uploader.items;
  uploader.start();
  await settled();
  same([item.state, item.error.kind, item.error.stage], ["retrying", "unreachable", "server"]);
  lose();
  await pass(3);
  same(item.state, "stored");
});
