/** `<input type="file" data-oss-upload>`: `input.js`, and the lines of `upload.js` that load it. */

const png = (name = "cat.png", content = "png") => text(name, content, { type: "image/png" });
const INPUT = '<input type="file" id="file" data-oss-upload><output for="file"></output>';

/** Opens a page with this HTML and our module; returns its input and its output. */
async function page(html = INPUT) {
  insert(`<form>${html}</form>`);
  await load("upload.js");
  await settled();
  return [document.querySelector("input"), document.querySelector("output")];
}
const lines = (output) => output.children.map(({ textContent }) => textContent.trim());
const hidden = () => document.querySelectorAll("input[type=hidden]").map(({ name, value }) => [name, value]);
const events = () => {
  const heard = [];
  for (const type of ["progress", "done", "fail"]) {
    window.addEventListener(`oss:${type}`, (event) => heard.push([type, event.detail.item.file.name, event.target.id]));
  }
  return heard;
};

test("a chosen file is uploaded at once, and the output shows its progress and end", async () => {
  const heard = events();
  const [input, output] = await page();
  cloud.next("form");
  choose(input, png());
  await settled();
  const bar = output.querySelector("progress");
  same([output.textContent, bar.value, input.validationMessage], ["cat.png:  0 %", 0, "Sending"]);
  cloud.last("form").onProgress(999, 1000);
  same([output.textContent, bar.value, bar.max, bar.getAttribute("aria-label")], ["cat.png:  99 %", 0.999, 1, "cat.png"]);
  cloud.serve(cloud.last("form"));
  await settled();
  same(output.querySelector("progress"), null);
  same([output.textContent, input.checkValidity(), input.value], ["cat.png: Done", true, ""]);
  same(
    heard.map(([type]) => type),
    ["progress", "progress", "progress", "done"],
  );
  same(heard.at(-1), ["done", "cat.png", "file"]);
});

test("each way of a choice starts it once: change, and input for what is in a shadow root", async () => {
  const [input] = await page();
  choose(input, png());
  await settled();
  same(cloud.asked("form").length, 1);
  const host = insert("<div></div>");
  const inside = insert(
    '<div data-language="de"><input type="file" id="inside" data-oss-upload><output for="inside"></output></div>',
    host.attachShadow(),
  );
  const heard = events();
  choose(inside.querySelector("input"), png());
  await settled();
  same([cloud.asked("form").length, inside.querySelector("output").textContent], [2, "cat.png: Fertig"]);
  same(heard.at(-1).slice(0, 2), ["done", "cat.png"]);
});

test("an input without the attribute, or of another type, is left alone", async () => {
  await page('<input type="file" id="a"><input type="text" id="b" data-oss-upload>');
  for (const input of document.querySelectorAll("input")) choose(input, png());
  await settled();
  same([network.sent, loaded()], [[], ["upload.js"]]);
});

test("the attribute names another signature, and its limits and questions beside it", async () => {
  const [input] = await page('<input type="file" data-oss-upload="/oss/signature?album=2">');
  choose(input, png());
  await settled();
  same(cloud.last("signature").query.album, "2");
  const [other] = await page();
  choose(other, png());
  await settled();
  same(cloud.last("signature").url.split("?")[0], "https://shop.example.com/oss/signature");
});

test("the output is the one for the input, or the next element", async () => {
  const places = [
    [
      '<output id="other"></output><input type="file" id="file" data-oss-upload><p></p><output id="mine" for="x file"></output>',
      "mine",
    ],
    ['<input type="file" id="file" data-oss-upload><output id="mine"></output>', "mine"],
    ['<output for="" id="other"></output><input type="file" data-oss-upload><output id="mine"></output>', "mine"],
    ['<input type="file" id="file" data-oss-upload><p id="mine"></p>', null],
  ];
  await page("");
  for (const [html, id] of places) {
    document.body.replaceChildren();
    insert(`<form>${html}</form>`);
    choose(document.querySelector("input"), png());
    await settled();
    same(
      document
        .querySelectorAll("output,p")
        .filter(({ textContent }) => textContent !== "")
        .map((element) => element.id),
      id ? [id] : [],
    );
  }
});

test("the words are those of the nearest data-language, or of the browser", async () => {
  const [input, output] = await page(`<div data-language="fr"><div data-language="zh-Hans">${INPUT}</div></div>`);
  choose(input, png());
  await settled();
  includes(output.textContent, "已完成");
  navigator.languages = ["de"];
  document.body.replaceChildren();
  insert(`<form>${INPUT}</form>`);
  choose(document.querySelector("input"), png());
  await settled();
  same(document.querySelector("output").textContent, "cat.png: Fertig");
});

test("files that were chosen before the module was loaded are uploaded", async () => {
  insert(`<form>${INPUT}</form>`);
  document.querySelector("input").files = [png()];
  await load("upload.js");
  await settled();
  same([document.querySelector("output").textContent, cloud.asked("form").length], ["cat.png: Done", 1]);
});

test("with a name a hidden field holds each signed ID, and the form does not send the files", async () => {
  const [input] = await page('<input type="file" id="file" name="photo" multiple data-oss-upload><output></output>');
  choose(input, png("a.png"), png("b.png"));
  same(hidden(), []);
  await settled();
  same(hidden().sort(), [
    ["photo", cloud.signedId("uploads/1-a.png")],
    ["photo", cloud.signedId("uploads/2-b.png")],
  ]);
  same([input.getAttribute("name"), input.dataset.ossName, input.value], [null, "photo", ""]);
  choose(input, png("c.png"));
  await settled();
  same(hidden(), [["photo", cloud.signedId("uploads/3-c.png")]], "the later choice replaces the earlier one");
  choose(input);
  await settled();
  same([hidden(), document.querySelector("output").textContent, input.checkValidity()], [[], "", true]);
});

test("a named input with a file of which the application was not told is invalid, and makes no field of it", async () => {
  for (const [name, isValid] of [["photo", false], ["", true]]) {
    document.body.replaceChildren();
    const [input, output] = await page(`<input type="file" name="${name}" data-oss-upload><output></output>`);
    cloud.next("form", (exchange) => exchange.reply(203, xml("CallbackFailed")));
    cloud.next("recover", (exchange) => exchange.reply(404));
    choose(input, png());
    await pass(1);
    same([output.textContent, hidden()], ["cat.png: Stored, but the application was not told", []]);
    same(input.checkValidity(), isValid);
  }
});

test("an input without a name makes no field, and is empty while its file is sent", async () => {
  const [input] = await page();
  cloud.next("form");
  choose(input, png());
  await settled();
  same([input.value, hidden()], ["", []]);
});

test("a named or required input keeps its choice while it is sent", async () => {
  const [input] = await page('<input type="file" name="photo" data-oss-upload>');
  cloud.next("form");
  choose(input, png());
  await settled();
  same(input.files.length, 1);
  cloud.serve(cloud.last("form"));
  await settled();
  same(input.files.length, 0);
});

test("a required input keeps a stored file, and loses one that failed", async () => {
  const [input] = await page('<input type="file" required data-oss-upload>');
  choose(input, png());
  await settled();
  same([input.files.length, input.checkValidity()], [1, true]);
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  choose(input, png());
  await settled();
  same([input.value, input.checkValidity()], ["", false]);
});

test("after a failure the input says why, is invalid, and a second choice replaces the first", async () => {
  const heard = events();
  const [input, output] = await page();
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  choose(input, png());
  await settled();
  const sentence = "Storage refused the file: permission does not cover it.";
  same([output.textContent, input.validationMessage, input.checkValidity()], [`cat.png: ${sentence}`, sentence, false]);
  same(heard.at(-1), ["fail", "cat.png", "file"]);
  choose(input, png("dog.png"));
  await settled();
  same([output.textContent, input.validationMessage], ["dog.png: Done", ""]);
});

test("a file that nobody can tell of keeps the form from being sent", async () => {
  const [input, output] = await page();
  cloud.next("form", (exchange) => {
    exchange.complete();
    exchange.fail();
  });
  cloud.always("recover", (exchange) => exchange.fail());
  choose(input, png());
  await settled();
  same([output.textContent, input.validationMessage], ["cat.png: Sent, making sure that it arrived", "Sending"]);
  await pass(60);
  same([output.textContent, input.validationMessage], ["cat.png: Sent, but without an answer", "Sent, but without an answer"]);
});

test("a file that is tried again says why and that it is", async () => {
  const [input, output] = await page();
  cloud.next("form", (exchange) => exchange.reply(500));
  choose(input, png());
  await settled();
  same(
    [output.textContent, input.validationMessage],
    ["cat.png: Storage had a problem. Try again a little later. Trying again by itself", "Sending"],
  );
});

test("a named input with one failure among several keeps it invalid, and forgets the choice when all have ended", async () => {
  const [input] = await page('<input type="file" name="photo" multiple data-oss-upload>');
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  cloud.next("form");
  choose(input, png("a.png"), png("b.png"));
  await settled();
  same([input.files.length, input.validationMessage], [2, "Sending"]);
  cloud.serve(cloud.last("form"));
  await settled();
  same([input.files.length, input.checkValidity(), hidden().length], [0, false, 1]);
});

test("an earlier choice that still runs is cancelled, and says nothing more", async () => {
  const heard = events();
  const [input, output] = await page();
  cloud.next("form");
  choose(input, png("a.png"));
  await settled();
  choose(input, png("b.png"));
  await settled();
  same([cloud.asked("form")[0].isCancelled, output.textContent, input.validationMessage], [true, "b.png: Done", ""]);
  same(
    heard.filter(([type]) => type !== "progress"),
    [["done", "b.png", "file"]],
  );
});

test("more files than allowed are refused together", async () => {
  const [input, output] = await page(
    '<input type="file" id="file" multiple data-oss-upload data-oss-max-files="2"><output for="file"></output>',
  );
  same(output.textContent, "at most 2 files");
  choose(input, png("a"), png("b"), png("c"));
  await settled();
  const sentence = "You chose 3 files, and at most 2 are allowed. Nothing was sent.";
  same([output.textContent, input.validationMessage, input.value, network.sent], [sentence, sentence, "", []]);
  choose(input, png("a"), png("b"));
  await settled();
  same([output.textContent, input.checkValidity()], ["a: Done\nb: Done", true]);
  choose(input, png("a"), png("b"), png("c"));
  await settled();
  same([cloud.asked("form").length, output.textContent], [2, sentence]);
});

test("each file has a line of its own, which is said as a whole when its state changes, and not while its bar moves", async () => {
  const [input, output] = await page('<input type="file" id="file" multiple data-oss-upload><output for="file"></output>');
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  cloud.next("form");
  choose(input, png("a.png"), png("b.png"));
  await settled();
  same(lines(output), ["a.png: Storage refused the file: permission does not cover it.", "b.png:  0 %"]);
  const written = output.children.map((line) => [line.style.display, line.getAttribute("aria-atomic")]);
  same(written, [["block", "true"], ["block", "true"]]);
  const [failed, sent] = output.children.map((line) => line.querySelector("span").childNodes[0]);
  cloud.last("form").onProgress(1, 2);
  const now = output.children.map((line) => line.querySelector("span").childNodes[0]);
  same([now[0] === failed, now[1] === sent, sent.localName], [true, true, "progress"]);
  same(output.querySelectorAll("[aria-hidden]").map(({ textContent }) => textContent), ["50 %"]);
});

test("a line is in the language of its words, also on a page of another one", async () => {
  const [input, output] = await page(`<div data-language="ar">${INPUT}</div>`);
  choose(input, png());
  await settled();
  const [line] = output.children;
  same([line.lang, line.dir, line.querySelector("bdi").textContent], ["ar", "rtl", "cat.png"]);
});

test("an input without a limit says nothing before a choice", async () => {
  const [, output] = await page();
  same(output.textContent, "");
});

test("a name is shown without hidden characters", async () => {
  const [input, output] = await page();
  choose(input, png("a\u202egnp.exe"));
  await settled();
  same(output.textContent, "a<U+202E>gnp.exe: Done");
});

test("code that could not be loaded is loaded for the next choice, from another address", async () => {
  for (const name of ["input.js", "en.js"]) {
    await leave();
    lose(name);
    const [input, output] = await page();
    choose(input, png());
    await settled();
    same(output.textContent, "The server could not be reached. Check the connection and choose the file again.");
    choose(input);
    await settled();
    same(output.textContent, "");
    lose();
    choose(input, png("dog.png"));
    await settled();
    same(output.textContent, "dog.png: Done");
    ok(loaded().some((key) => /input\.js\?attempt=\d/.test(key)));
  }
});

test("code that is there is loaded from its own address", async () => {
  const [input] = await page();
  choose(input, png());
  await settled();
  same(
    loaded().filter((key) => key.startsWith("input")),
    ["input.js"],
  );
});

test("the sentence for that is in the first language of the browser that there is", async () => {
  lose("input.js");
  const [input, output] = await page();
  for (const [languages, part] of [
    [["nl", "zh-CN"], "无法连接服务器"],
    [["DE-at"], "Der Server ist nicht erreichbar"],
    [[], "The server could not be reached"],
    [["toString"], "The server"],
  ]) {
    navigator.languages = languages;
    choose(input, png());
    await settled();
    includes(output.textContent, part);
  }
});

test("the last choice counts while the code is loaded", async () => {
  const [input, output] = await page();
  choose(input, png("dog.png"));
  choose(input, png("cat.png"));
  await settled();
  same([output.textContent, cloud.asked("form").length], ["cat.png: Done", 1]);
});

test("an input without an output is uploaded all the same, and code that is lost is no error", async () => {
  lose("input.js");
  const [input] = await page('<input type="file" data-oss-upload data-oss-max-files="1">');
  choose(input, png());
  await settled();
  lose();
  choose(input, png("a"), png("b"));
  await settled();
  same(network.sent, []);
  choose(input, png());
  await settled();
  same(cloud.asked("form").length, 1);
});
