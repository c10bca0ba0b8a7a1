/** Which failures `upload.js` tries again by itself, when, and how each error is told. */

/** Lets a step fail each time; returns the moments, in seconds, at which it was asked. */
function failing(step, act) {
  const moments = [];
  cloud.always(step, (exchange) => {
    moments.push(Math.round(performance.now() / 100) / 10);
    act(exchange);
  });
  return moments;
}

test("a 5xx is tried again after 2, 5, 10, 20 and 40 seconds and a little, with a new signature, and then fails", async () => {
  const moments = failing("form", (exchange) => exchange.reply(500, xml("InternalError")));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same([item.state, item.retryIn, item.error.status, item.canRetry], ["retrying", 2.2, 500, true]);
  await pass(1);
  same(item.retryIn.toFixed(3), "1.200");
  await pass(3600);
  same(moments, [0, 2.2, 7.7, 18.7, 40.7, 84.7]);
  same([item.state, item.retryIn, item.error.code, cloud.asked("signature").length], ["failed", 0, "InternalError", 6]);
  same(uploader.log.slice(-3), ["state a.txt failed", "fail a.txt", "idle"]);
  same([timersLeft(), item.canRetry, item.sent, item.progress], [0, true, 0, 0]);
});

test("the pause is spread, so that pages do not come back together", async () => {
  for (const [random, pause] of [
    [0, 2],
    [0.999, 2.3996],
  ]) {
    Math.random = () => random;
    cloud.next("form", (exchange) => exchange.reply(500));
    const [item] = await upload(await newUploader(), text());
    same(item.retryIn.toFixed(4), pause.toFixed(4));
  }
});

test("what may pass is tried again, and what cannot get better is not", async () => {
  const answers = [
    [500, "", true],
    [502, "<html>bad gateway", true],
    [503, xml("SlowDown"), true],
    [429, "", true],
    [408, "", true],
    [400, xml("RequestTimeout"), true],
    [403, xml("AccessDenied", "", "<EC>0006-00000213</EC>"), true],
    [403, xml("SecurityTokenExpired"), true],
    [403, xml("AccessDenied", "Invalid according to Policy: Policy expired."), true],
    [400, xml("EntityTooLarge"), false],
    [403, xml("SignatureDoesNotMatch"), false],
    [404, xml("NoSuchBucket"), false],
    [418, "", false],
    [499, "", false],
    [302, "", false],
    [403, xml("AccessDenied", "", "<EC>0006-00000227</EC>"), false],
  ];
  for (const [status, body, isTried] of answers) {
    cloud.next("form", (exchange) => exchange.reply(status, body));
    const [item] = await upload(await newUploader(), text());
    same([status, body, item.state, item.error.passing], [status, body, isTried ? "retrying" : "failed", isTried]);
    await pass(3);
    same(item.state, isTried ? "stored" : "failed");
  }
});

test("the server's answers are told apart in the same way", async () => {
  const answers = [
    [500, true],
    [503, true],
    [429, true],
    [408, true],
    [401, false],
    [403, false],
    [404, false],
    [413, false],
  ];
  for (const [status, isTried] of answers) {
    cloud.next("signature", (exchange) => exchange.reply(status));
    const [item] = await upload(await newUploader(), text());
    same([status, item.state, item.error.stage, item.error.kind], [status, isTried ? "retrying" : "failed", "server", "refused"]);
  }
});

test("an answer in the wrong form is not tried again", async () => {
  const answers = [
    "<html>sign in",
    "[",
    "{}",
    "null",
    '{"url": 1, "fields": {"key": "k"}}',
    '{"url": "https://b.example.com", "fields": {}}',
  ];
  for (const answer of answers) {
    cloud.next("signature", (exchange) => exchange.reply(200, answer));
    const [item] = await upload(await newUploader(), text());
    same(
      [answer, item.state, item.error.kind, item.error.stage, item.error.status],
      [answer, "failed", "unexpected", "server", 200],
    );
  }
});

test("an address that is none fails at once", async () => {
  cloud.next("signature", (exchange) => json(exchange, { url: "https://", host: "", fields: { key: "k" } }));
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.error.kind, item.error.stage, item.url], ["failed", "unexpected", "server", ""]);
  ok(item.error.reason.length > 10);
});

test("Retry-After is obeyed in seconds and as a date, and a second is the least", async () => {
  const in90 = () => new Date(Date.now() + 90_000).toISOString();
  for (const [header, seconds] of [
    ["7", 7],
    ["0.25", 1],
    [in90, 90],
    [() => new Date(Date.now() - 9000).toISOString(), 1],
  ]) {
    const value = typeof header === "string" ? header : header();
    cloud.next("form", (exchange) => exchange.reply(503, xml("SlowDown"), { "Retry-After": value }));
    const [item] = await upload(await newUploader(), text());
    same([value, item.error.retryAfter, item.retryIn], [value, seconds, seconds]);
    await pass(seconds - 0.1);
    same(item.state, "retrying");
    await pass(0.2);
    same(item.state, "stored");
  }
});

test("a Retry-After that says nothing is none", async () => {
  for (const header of [{ "Retry-After": "soon" }, { "X-Retry-After": "9" }, {}]) {
    cloud.next("form", (exchange) => exchange.reply(503, "", header));
    const [item] = await upload(await newUploader(), text());
    same([item.error.retryAfter, item.retryIn], [null, 2.2]);
  }
});

test("Retry-After does not make a refusal that cannot get better one that may", async () => {
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied"), { "Retry-After": "1" }));
  const [item] = await upload(await newUploader(), text());
  same(item.state, "failed");
});

test("a server that says when is asked fifty times, and its waits do not count as tries", async () => {
  const moments = failing("signature", (exchange) => refuse(exchange, 429, "rate_limited", { "Retry-After": "1" }));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same([item.error.code, item.error.reason], ["rate_limited", "rate_limited: see the log"]);
  await pass(50);
  same([moments.length, item.state], [51, "retrying"]);
  await pass(3600);
  same([moments.length, item.state], [56, "failed"]);
});

test("the files behind one that has failed so do not wait as long", async () => {
  const moments = failing("form", (exchange) => exchange.reply(500));
  const uploader = await newUploader({ concurrency: 1 });
  await upload(uploader, text("a"), text("b"), text("c"));
  await pass(90);
  same([states(uploader), moments.length], [["failed", "failed", "failed"], 8]);
});

test("a file that is started, retried or stored after that is tried again as usual", async () => {
  failing("form", (exchange) => exchange.reply(500));
  const uploader = await newUploader({ concurrency: 1 });
  const [a] = await upload(uploader, text("a"));
  await pass(90);
  same(a.state, "failed");
  uploader.retry(a);
  await settled();
  same([a.state, a.error.status], ["retrying", 500]);
  await pass(90);
  const [b] = await upload(uploader, text("b"));
  same(b.state, "retrying");
});

test("a success in between lets those behind wait again", async () => {
  failing("form", (exchange) => (exchange.fields.key.endsWith("good") ? exchange.reply(200) : exchange.reply(500)));
  const uploader = await newUploader({ concurrency: 1 });
  const [a, , c] = await upload(uploader, text("a"), text("good"), text("c"));
  await pass(84.7);
  same([a.state, c.state], ["failed", "retrying"]);
});

test("a failure that cannot pass says nothing of the files behind it", async () => {
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  cloud.next("form", (exchange) => exchange.reply(500));
  const uploader = await newUploader({ concurrency: 1 });
  await upload(uploader, text("a"), text("b"));
  same(states(uploader), ["failed", "retrying"]);
});

test("retry sends at once a file that waits, and one that failed by a new signature", async () => {
  cloud.next("form", (exchange) => exchange.reply(500), 1);
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")), 1);
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same(uploader.retry(item), true);
  await settled();
  same([item.state, item.error.code, item.retryIn, cloud.asked("signature").length], ["failed", "AccessDenied", 0, 2]);
  same(uploader.retry(item), true);
  await settled();
  same([item.state, item.error, cloud.asked("signature").length, timersLeft()], ["stored", null, 3, 0]);
});

test("what a file was before is gone when it is sent again", async () => {
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same([item.status, item.key, item.url !== ""], [403, "uploads/1-a.txt", true]);
  cloud.next("signature");
  uploader.retry(item);
  await settled();
  same([item.status, item.key, item.url, item.error, item.answer, item.complete], [0, "", "", null, "", false]);
});

test("a waiting file that is cancelled is not sent when its time comes", async () => {
  cloud.next("form", (exchange) => exchange.reply(500));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  uploader.cancel(item);
  await pass(60);
  same([item.state, item.retryIn, cloud.asked("form").length, timersLeft()], ["cancelled", 0, 1, 0]);
});

test("a connection that breaks while the file is sent is tried again, and nobody is asked", async () => {
  cloud.next("form", (exchange) => {
    exchange.progress(0.5);
    exchange.fail();
  });
  const [item] = await upload(await newUploader(), text());
  const { kind, stage, complete, passing, message } = item.error;
  same([item.state, kind, stage, complete, passing, message], ["retrying", "unreachable", "storage", false, true, "unreachable"]);
  await pass(3);
  same([item.state, cloud.asked("recover")], ["stored", []]);
});

test("a server that cannot be reached is tried again", async () => {
  cloud.next("signature", (exchange) => exchange.fail());
  cloud.next("signature", (exchange) => exchange.reply(200, new TypeError("network error")));
  const [item] = await upload(await newUploader(), text());
  same(
    [item.state, item.error.kind, item.error.stage, item.error.reason],
    ["retrying", "unreachable", "server", "Failed to fetch"],
  );
  await pass(3);
  same([item.state, item.error.reason], ["retrying", "network error"]);
  await pass(6);
  same(item.state, "stored");
});

test("while the device is offline a file waits without an end, and goes on when it is online", async () => {
  navigator.onLine = false;
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  same([item.state, item.retryIn, timersLeft()], ["retrying", Infinity, 0]);
  await pass(3600);
  same(cloud.asked("signature").length, 1);
  goOnline();
  await settled();
  same([item.state, cloud.asked("signature").length], ["stored", 2]);
});

test("a countdown stops when the device goes offline, also of a refusal", async () => {
  cloud.next("form", (exchange) => exchange.reply(500));
  const uploader = await newUploader();
  const [item] = await upload(uploader, text());
  const before = told(uploader, "state").length;
  goOffline();
  same([item.retryIn, item.error.status, told(uploader, "state").length], [Infinity, 500, before + 1]);
  await pass(60);
  same([item.state, cloud.asked("form").length], ["retrying", 1]);
  goOnline();
  await settled();
  same(item.state, "stored");
});

test("a refusal while the browser says offline is counted down all the same", async () => {
  cloud.next("form", (exchange) => {
    navigator.onLine = false;
    exchange.reply(500);
  });
  const [item] = await upload(await newUploader(), text());
  same(item.retryIn, 2.2);
});

test("after the wait nobody listens for the network any more", async () => {
  cloud.next("form", (exchange) => exchange.reply(500));
  await upload(await newUploader(), text());
  same([window.countListeners("online"), window.countListeners("offline")], [1, 1]);
  await pass(3);
  same([window.countListeners("online"), window.countListeners("offline")], [0, 0]);
});

test("a form that has expired is replaced before the file is sent", async () => {
  const at = (expire, headers) => (exchange) =>
    json(exchange, { url: cloud.bucket, host: cloud.bucket, fields: { key: "k" }, expire }, 200, headers);
  const now = Date.now() / 1000;
  const late = { Date: new Date(Date.now() + 3600_000).toISOString() };
  for (const [first, count] of [
    [at(now + 2), 2],
    [at(now + 4), 1],
    [at(now + 3600 + 2, late), 2],
    [at(now + 3600 + 4, late), 1],
    [at("never"), 1],
  ]) {
    const before = cloud.asked("signature").length;
    cloud.objects.clear();
    cloud.next("signature", first);
    const [item] = await upload(await newUploader(), text());
    same([item.state, cloud.asked("signature").length - before], ["stored", count]);
  }
});

test("a second form is taken as it is", async () => {
  cloud.next(
    "signature",
    (exchange) => json(exchange, { url: cloud.bucket, host: cloud.bucket, fields: { key: "k" }, expire: 1 }),
    2,
  );
  const [item] = await upload(await newUploader(), text());
  same([item.state, item.key, cloud.asked("signature").length], ["stored", "k", 2]);
});

test("a refusal of OSS is read as text, with its entities", async () => {
  const body = `<?xml version="1.0"?><Error><Code> AccessDenied </Code>
    <Message>[&quot;eq&quot;, &#34;&lt;b&gt;&#39;&apos;] &amp;lt; &nbsp;</Message><RequestId>5C3D</RequestId><EC>0006-00000227</EC></Error>`;
  cloud.next("form", (exchange) => exchange.reply(403, body));
  const [item] = await upload(await newUploader(), text());
  const { code, reason, message, requestId, ec, status } = item.error;
  same([code, reason, requestId, ec, status], ["AccessDenied", `["eq", "<b>''] &lt; &nbsp;`, "5C3D", "0006-00000227", 403]);
  same(message, reason);
});

test("a refusal of the server is read in each of its forms", async () => {
  const bodies = [
    ['{"error": {"code": "forbidden", "message": "no"}}', "forbidden", "no"],
    ['{"error": "slow"}', "", "slow"],
    ['{"code": "c", "message": "m"}', "c", "m"],
    ['{"error": {"code": 7, "message": null}}', "", ""],
    ['"text"', "", "text"],
    ["[", "", ""],
    ["null", "", ""],
  ];
  for (const [body, code, reason] of bodies) {
    cloud.next("signature", (exchange) => exchange.reply(403, body));
    const [{ error }] = await upload(await newUploader(), text());
    same([error.code, error.reason, error.message, error.name], [code, reason, reason || code || "refused", "UploadError"]);
  }
});

test("a file that can no longer be read is named so and not tried again", async () => {
  const file = text();
  file.isGone = true;
  const [item] = await upload(await newUploader(), file);
  same([item.state, item.error.kind, item.error.stage], ["failed", "unreadable", "storage"]);
});

test("a policy that does not allow the bucket or the server is named with the address", async () => {
  cloud.next("form", (exchange) => exchange.block());
  const [item] = await upload(await newUploader(), text());
  same(
    [item.state, item.error.kind, item.error.stage, item.error.reason, item.error.passing],
    ["failed", "blocked", "storage", cloud.bucket, false],
  );
  cloud.next("signature", (exchange) => exchange.block());
  const [other] = await upload(await newUploader(), text());
  same(
    [other.state, other.error.kind, other.error.stage, other.error.reason],
    ["failed", "blocked", "server", "https://shop.example.com"],
  );
});

test("a report about something else, or one that blocks nothing, leaves a failure what it is", async () => {
  const others = [
    { effectiveDirective: "img-src" },
    { disposition: "report" },
    { blockedURI: "eval" },
    { blockedURI: "https://other.example.com/x" },
  ];
  for (const details of others) {
    cloud.next("form", (exchange) => exchange.block(details));
    const [item] = await upload(await newUploader(), text());
    same(item.error.kind, "unreachable");
  }
});

test("a blocked address does not explain an error after the last byte", async () => {
  cloud.hasCallback = false;
  cloud.next("form", (exchange) => exchange.block());
  await upload(await newUploader(), text());
  cloud.next("form", (exchange) => {
    exchange.complete();
    exchange.fail();
  });
  const [item] = await upload(await newUploader(), text());
  same([item.error.kind, item.error.complete, item.state], ["unreachable", true, "failed"]);
});

test("a mistake in this module is told as one, and the files behind it go on", async () => {
  const uploader = await newUploader({
    concurrency: 1,
    headers: () => {
      throw new RangeError("no header");
    },
  });
  const [a] = await upload(uploader, text("a"), text("b"));
  same([a.state, a.error.kind, a.error.stage, a.error.reason], ["failed", "unexpected", "page", "RangeError: no header"]);
  same(states(uploader), ["failed", "failed"]);
});

test("an error has every fact, and unknown ones are empty", async () => {
  const { UploadError } = await load("upload.js");
  const error = new UploadError("refused", "storage");
  same([error.message, error.name, error.reason, error instanceof Error], ["refused", "UploadError", "", true]);
  const { status, code, ec, requestId, complete, retryAfter, limit } = error;
  same([status, code, ec, requestId, complete, retryAfter, limit], [0, "", "", "", false, null, null]);
  same(new UploadError("refused", "page", { code: "c" }).message, "c");
});
