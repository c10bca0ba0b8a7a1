/** `<script data-forms>`: `forms.js`, and the lines of `upload.js` that load it. */

const SCRIPT = '<script type="module" src="https://shop.example.com/oss/upload.js" data-forms></script>';
const INPUT = '<input type="file" name="photo" multiple>';
const WAITING = "The form is sent as soon as the files are there.";
const INSTEAD = "To send the form as usual, press its button once more.";
const HOUR = 3600;

/** Opens a page with a form and our script; the server gives signed IDs. Returns the form and its first input. */
async function page(html = INPUT, { attributes = "", script = SCRIPT } = {}) {
  cloud.signedId = (key) => `id-of-${key}`;
  insert(
    `<form method="post" enctype="multipart/form-data" action="/save" ${attributes}><input name="title" value="Cat">${html}<button name="do" value="go">Save</button></form>${script}`,
  );
  await load("upload.js");
  await settled();
  return [document.querySelector("form"), document.querySelector("input[type=file]")];
}

/** Presses the form's button, or another one. */
async function submit(form, button = form.querySelector("button")) {
  form.requestSubmit(button);
  await settled();
}

const line = () => document.querySelector("[data-oss-state]");
const status = () => document.querySelector("[data-oss-state] [role=status]")?.textContent ?? null;
const sent = () => submitted.at(-1)?.entries ?? null;
const AS_EVER = [
  ["title", "Cat"],
  ["photo", "a.txt"],
  ["do", "go"],
];
const DIRECT = [
  ["oss_wsgi.files", "photo"],
  ["title", "Cat"],
  ["photo", "id-of-uploads/1-a.txt"],
  ["do", "go"],
];

test("a form carries signed IDs in the place of its files, and its first field names theirs", async () => {
  const [form, input] = await page();
  choose(input, text());
  await settled();
  same(status(), "a.txt: Done");
  await submit(form);
  same(sent(), DIRECT);
  same(input.files.length, 1);
});

test("without the attribute, or with the attribute of another module, a form goes as ever", async () => {
  for (const script of ["", SCRIPT.replace(" data-forms", ""), SCRIPT.replace("/oss/", "/other/")]) {
    await leave();
    const [form, input] = await page(INPUT, { script });
    choose(input, text());
    await submit(form);
    same([sent(), loaded().includes("forms.js"), network.sent], [AS_EVER, script.includes("data-forms"), []]);
  }
});

test("the script may have a query, and may come after another script has loaded the module", async () => {
  const [form, input] = await page(INPUT, { script: "" });
  insert(SCRIPT.replace("upload.js", "upload.js?v=2"));
  document.dispatchEvent(new Event("DOMContentLoaded"));
  document.dispatchEvent(new Event("DOMContentLoaded"));
  await settled();
  choose(input, text());
  await submit(form);
  same([sent(), cloud.asked("form").length], [DIRECT, 1]);
});

test("a form that is submitted meanwhile waits, says how far it is, and is submitted once", async () => {
  const [form, input] = await page();
  const heard = [];
  form.addEventListener("submit", ({ submitter }) => heard.push(submitter.value));
  cloud.next("form");
  choose(input, text());
  await submit(form);
  same([status(), heard, document.scrolledTo === line()], [`a.txt: Sending\u00a0· ${WAITING}`, [], true]);
  cloud.last("form").progress(0.42);
  await settled();
  same([line().querySelector("progress").value >= 0.4, line().textContent.includes("%")], [true, true]);
  await submit(form);
  cloud.serve(cloud.last("form"));
  await pass(1);
  same([submitted.length, sent(), heard, status()], [1, DIRECT, ["go"], "a.txt: Done"]);
});

test("files that were chosen before the module came are sent", async () => {
  insert(`<form method="post" enctype="multipart/form-data">${INPUT}</form>`);
  document.querySelector("input").files = [text()];
  await page();
  same(cloud.asked("form").length, 1);
});

test("files that a script puts into an input are sent when the form is submitted", async () => {
  const [form, input] = await page();
  input.files = [text()];
  await submit(form);
  await pass(1);
  same(sent(), DIRECT);
});

test("other forms stay as they are", async () => {
  const wrong = {
    enctype: ["application/x-www-form-urlencoded", "text/plain"],
    method: ["get", "dialog"],
    action: ["https://other.example.com/save", "http://shop.example.com/save", "javascript:save()", "https://["],
  };
  const [form, input] = await page();
  for (const [name, values] of Object.entries(wrong)) {
    const right = form.getAttribute(name);
    for (const value of values) {
      form.setAttribute(name, value);
      choose(input, text());
      await settled();
      await submit(form);
      same([sent(), cloud.asked("signature")], [AS_EVER, []], `${name}=${value}`);
    }
    form.setAttribute(name, right);
  }
});

test("a button decides where the form goes, and how", async () => {
  const [form, input] = await page(`${INPUT}<button id="b" name="b" value="1">Other</button>`);
  const button = form.querySelector("#b");
  choose(input, text());
  await settled();
  for (const [name, value] of [["formaction", "https://other.example.com"], ["formenctype", "text/plain"], ["formmethod", "get"]]) {
    button.setAttribute(name, value);
    await submit(form, button);
    same(sent().map(([field]) => field), ["title", "photo", "b"], name);
    button.removeAttribute(name);
  }
  button.setAttribute("formaction", "/elsewhere");
  await submit(form, button);
  same([submitted.at(-1).action, sent()[0]], ["/elsewhere", DIRECT[0]]);
});

test("a form without an action goes to its page, and a button may lead a form of another site here", async () => {
  const [form, input] = await page(INPUT, { attributes: "" });
  form.removeAttribute("action");
  choose(input, text());
  await settled();
  same(cloud.asked("form").length, 1);
  form.setAttribute("action", "https://other.example.com/");
  const [own] = [form.querySelector("button")];
  own.setAttribute("formaction", "/save");
  choose(input, text("b.txt"));
  await settled();
  same(cloud.asked("form").length, 1);
  await submit(form);
  await pass(1);
  same(sent()[2], ["photo", "id-of-uploads/2-b.txt"]);
});

test("a module below a mount takes over the forms below it only", async () => {
  cloud.signedId = (key) => `id-of-${key}`;
  const { Uploader } = await load("upload.js");
  const { Forms } = await load("forms.js");
  new Forms(new Uploader(), new URL("https://shop.example.com/old/")).start();
  for (const [action, isOurs] of [["/old/save", true], ["/old", true], ["/older", false], ["/", false], ["/old/../x", false]]) {
    const form = insert(`<form method="POST" enctype="Multipart/Form-Data" action="${action}">${INPUT}</form>`);
    choose(form.querySelector("input"), text());
    await settled();
    form.requestSubmit();
    same(sent()[0], isOurs ? DIRECT[0] : ["photo", "a.txt"], action);
  }
});

test("a module of another site takes over nothing", async () => {
  const { Uploader } = await load("upload.js");
  const { Forms } = await load("forms.js");
  new Forms(new Uploader(), new URL("https://other.example.com/")).start();
  const form = insert(`<form method="post" enctype="multipart/form-data" action="/save">${INPUT}</form>`);
  choose(form.querySelector("input"), text());
  await settled();
  same(network.sent, []);
});

test("inputs that the browser leaves out are left out, and so is one with a way of its own", async () => {
  const [form] = await page(
    `<input type="file"><input type="file" name="a" disabled><fieldset disabled><input type="file" name="b"></fieldset>`,
  );
  for (const input of form.querySelectorAll("input[type=file]")) choose(input, text());
  await submit(form);
  same([sent().length, cloud.asked("signature")], [2, []]);
});

test("files that nobody allows go as ever, and nothing is said", async () => {
  const refusals = [
    (exchange) => refuse(exchange, 403, "forbidden"),
    (exchange) => refuse(exchange, 401, "unauthorized"),
    (exchange) => exchange.reply(200, "<html>Log in</html>"),
    (exchange) => exchange.reply(404, ""),
  ];
  for (const act of refusals) {
    await leave();
    cloud.next("limits", act, 2);
    const [form, input] = await page();
    choose(input, text());
    await submit(form);
    await pass(1);
    cloud.heal();
    same([sent(), status(), cloud.asked("signature").length], [AS_EVER, null, 0]);
  }
});

test("a page without such a form asks for no limits before a file is chosen in one", async () => {
  insert(SCRIPT);
  await load("upload.js");
  await settled();
  same(network.sent, []);
  const form = insert(`<form method="post" enctype="multipart/form-data">${INPUT}</form>`);
  press(form.querySelector("input"));
  await settled();
  same(network.sent.map(({ path }) => path), ["/oss/limits"]);
});

test("a server whose application reads no signed IDs gets the files, and none is sent before", async () => {
  cloud.limits.forms = false;
  const [form, input] = await page();
  choose(input, text());
  await settled();
  same(line(), null);
  await submit(form);
  same([sent(), cloud.asked("signature")], [AS_EVER, []]);
});

test("while the limits are not known the files go themselves", async () => {
  cloud.next("limits", (exchange) => refuse(exchange, 503, "unavailable"));
  const [form, input] = await page();
  await submit(form);
  choose(input, text());
  await settled();
  await submit(form);
  same(sent()[0], DIRECT[0]);
  await leave();
  cloud.next("limits", (exchange) => refuse(exchange, 503, "unavailable"), 9);
  const [other, second] = await page();
  choose(second, text());
  await settled();
  await submit(other);
  same([sent(), status()], [AS_EVER, null]);
});

test("a person who was refused sees no line until the server allows a file", async () => {
  cloud.next("limits", (exchange) => refuse(exchange, 403, "forbidden"));
  cloud.next("limits");
  const [, input] = await page();
  choose(input, text());
  await settled();
  same(line(), null);
  json(cloud.last("limits"), cloud.limits);
  await settled();
  same(status(), "a.txt: Done");
});

test("a person of whom the server has said nothing yet sees the line at once", async () => {
  cloud.next("limits", (exchange) => refuse(exchange, 503, "unavailable"));
  cloud.next("limits");
  const [, input] = await page();
  choose(input, text());
  await settled();
  same(line() !== null, true);
});

test("what the limits exclude goes itself, beside the signed ID of another file", async () => {
  cloud.limits.max_size = 6;
  const [form, input] = await page();
  choose(input, text("large.txt", "too large"), text());
  await settled();
  same(status(), "a.txt: Done");
  await submit(form);
  same(sent(), [DIRECT[0], DIRECT[1], ["photo", "large.txt"], DIRECT[2], DIRECT[3]]);
});

test("a server that gives no signed IDs gets the files, and is not asked again", async () => {
  const [form, input] = await page();
  cloud.signedId = () => undefined;
  choose(input, text());
  await settled();
  await submit(form);
  same([sent(), status()], [AS_EVER, null]);
  choose(input, text("b.txt"));
  await settled();
  same(cloud.asked("signature").length, 1);
});

test("after a failure one more press sends the form as ever", async () => {
  for (const isPressed of [true, false]) {
    const count = submitted.length;
    await leave();
    const [form, input] = await page();
    cloud.next("form");
    choose(input, text());
    await settled();
    if (isPressed) await submit(form);
    cloud.last("form").reply(403, xml("AccessDenied"));
    await pass(1);
    same(status(), `a.txt: Storage refused the file: permission does not cover it. ${INSTEAD}`);
    same(submitted.length, count);
    await submit(form);
    same([submitted.length, sent(), status()], [count + 1, AS_EVER, null]);
  }
});

test("while a file is tried again a form waits for it, and one more press sends it as ever", async () => {
  const [form, input] = await page();
  cloud.always("form", (exchange) => exchange.reply(500));
  choose(input, text());
  await settled();
  const why = "a.txt: Storage had a problem. Try again a little later. Trying again by itself";
  same(status(), `${why}\u00a0· ${INSTEAD}`);
  await submit(form);
  same([submitted, status()], [[], `${why}\u00a0· ${INSTEAD}`]);
  const asked = cloud.asked("form").length;
  await submit(form);
  await pass(60);
  same([sent(), cloud.asked("form").length], [AS_EVER, asked]);
});

test("a form that waits is submitted when a file that was tried again is stored", async () => {
  const [form, input] = await page();
  cloud.next("form");
  choose(input, text());
  await submit(form);
  cloud.last("form").reply(500);
  await settled();
  same(submitted, []);
  await pass(4);
  same(sent(), [DIRECT[0], DIRECT[1], ["photo", "id-of-uploads/2-a.txt"], DIRECT[3]]);
});

test("a file that nobody can tell of, or of which the application was not told, is a failure too", async () => {
  const acts = [
    (exchange) => {
      exchange.complete();
      exchange.fail();
    },
    (exchange) => exchange.reply(203, xml("CallbackFailed")),
  ];
  for (const [index, state] of ["Sent, but without an answer", "Stored, but the application was not told"].entries()) {
    await leave();
    const [form, input] = await page();
    cloud.next("form", acts[index]);
    cloud.always("recover", (exchange) => exchange.fail());
    choose(input, text(`${index}.txt`));
    await pass(60);
    cloud.heal();
    same(status(), `${index}.txt: ${state}\u00a0· ${INSTEAD}`);
    await submit(form);
    same(sent()[1], ["photo", `${index}.txt`]);
  }
});

test("several files have one bar, and each failure its sentence", async () => {
  const [form, input] = await page();
  cloud.next("form");
  cloud.next("form", (exchange) => exchange.reply(403, xml("AccessDenied")));
  choose(input, text("a.txt"), text("b.txt"));
  await settled();
  same(document.querySelectorAll("progress").length, 1);
  const why = "b.txt: Storage refused the file: permission does not cover it.";
  same(status(), `0 of 2 files done\u00a0· ${why} ${INSTEAD}`);
  cloud.serve(cloud.last("form"));
  await submit(form);
  same(sent().slice(1, 3), [["photo", "a.txt"], ["photo", "b.txt"]]);
});

test("the line has its room from the choice to the end, and says nothing while nobody may be allowed", async () => {
  const shape = () => line().children.map(({ localName, children }) => [localName, children.length]);
  cloud.next("limits");
  cloud.next("form");
  const [, input] = await page();
  choose(input, text());
  await settled();
  const before = shape();
  same([status(), before], ["\u00a0", [["div", 2], ["div", 0]]]);
  json(cloud.last("limits"), cloud.limits);
  await settled();
  same([status(), shape()], ["a.txt: Sending", before]);
  cloud.serve(cloud.last("form"));
  await settled();
  same([status(), shape(), line().textContent], ["a.txt: Done", before, "  100 %a.txt: Done".slice(1)]);
});

test("no line says that a form will be sent while another tells that it will not", async () => {
  const [form, input] = await page(`${INPUT}<input type="file" name="other">`);
  cloud.next("form", undefined, 2);
  choose(input, text());
  choose(form.querySelector("[name=other]"), text("b.txt"));
  await submit(form);
  const lines = () => document.querySelectorAll("[role=status]").map(({ textContent }) => textContent);
  same(lines(), [`a.txt: Sending\u00a0· ${WAITING}`, `b.txt: Sending\u00a0· ${WAITING}`]);
  cloud.asked("form")[0].reply(403, xml("AccessDenied"));
  await settled();
  same([lines()[0].endsWith(INSTEAD), lines()[1]], [true, "b.txt: Sending"]);
  cloud.serve(cloud.last("form"));
  await pass(1);
  same(submitted, []);
});

test("an input whose files changed sends the new ones, and abandons the others", async () => {
  const [form, input] = await page();
  cloud.next("form", undefined, 2);
  const kept = text("kept.txt");
  choose(input, kept, text("a.txt"));
  await settled();
  choose(input, kept, text("b.txt"));
  await settled();
  const byName = Object.fromEntries(cloud.asked("form").map(({ fields, isCancelled }) => [fields.file.name, isCancelled]));
  same(byName, { "kept.txt": undefined, "a.txt": true, "b.txt": undefined });
});

test("a listener that takes a file back is heard first", async () => {
  const [, input] = await page();
  input.addEventListener("change", () => (input.value = ""));
  choose(input, text());
  await settled();
  same([cloud.asked("signature"), line()], [[], null]);
});

test("a reset form forgets its files, and that it waited", async () => {
  const [form, input] = await page();
  cloud.next("form");
  choose(input, text());
  await submit(form);
  form.reset();
  await pass(1);
  same([submitted, line(), cloud.last("form").isOpen], [[], null, false]);
  choose(input, text("b.txt"));
  await pass(1);
  same(submitted, []);
});

test("another element may have an event called reset", async () => {
  await page('<div></div><input type="file" name="photo">');
  document.querySelector("div").dispatchEvent(new Event("reset", { bubbles: true }));
  await pass(1);
  same(line(), null);
});

test("a form that has left the page is not submitted, and its files are abandoned", async () => {
  const [form, input] = await page();
  cloud.next("form");
  choose(input, text());
  await submit(form);
  form.remove();
  cloud.last("form").progress(0.5);
  await pass(1);
  same([submitted, cloud.last("form").isOpen], [[], false]);
});

test("a button that is gone no longer counts", async () => {
  const [form, input] = await page();
  cloud.next("form");
  choose(input, text());
  await submit(form);
  form.querySelector("button").remove();
  cloud.serve(cloud.last("form"));
  await pass(1);
  same(sent(), DIRECT.slice(0, 3));
});

test("a double click sends one form, and a later press another", async () => {
  const [form, input] = await page();
  choose(input, text());
  await settled();
  await submit(form);
  await submit(form);
  same(submitted.length, 1);
  await pass(1);
  await submit(form);
  await pass(1);
  same(submitted.length, 2);
});

test("a signed ID is used once: a form that is sent again brings its file again", async () => {
  const [form, input] = await page();
  choose(input, text());
  await settled();
  await submit(form);
  await pass(1);
  await submit(form);
  await pass(1);
  same(submitted.map(({ entries }) => entries[2][1]), ["id-of-uploads/1-a.txt", "id-of-uploads/2-a.txt"]);
});

test("a file that was stored long ago is sent again", async () => {
  const [form, input] = await page();
  choose(input, text());
  await pass(21 * HOUR);
  await submit(form);
  await pass(1);
  same(sent()[2], ["photo", "id-of-uploads/2-a.txt"]);
});

test("a listener of the page may refuse a form, and it may be sent again with what was stored", async () => {
  const [form, input] = await page();
  let isRefused = true;
  form.addEventListener("submit", (event) => isRefused && event.preventDefault());
  choose(input, text());
  await settled();
  await submit(form);
  same(submitted, []);
  isRefused = false;
  await submit(form);
  same(sent(), DIRECT);
});

test("a script that reads the form gets the files, and a form that a script sends is left to it", async () => {
  const [form, input] = await page();
  const read = [];
  const names = () => [...new FormData(form)].map(([, value]) => value.name ?? value);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    read.push(names());
  });
  choose(input, text());
  await settled();
  same(names(), ["Cat", "a.txt"]);
  await submit(form);
  same([read, names()], [[["Cat", "a.txt"]], ["Cat", "a.txt"]]);
  choose(input, text("b.txt"));
  await settled();
  await submit(form);
  same([read.at(-1), cloud.asked("form").length], [["Cat", "b.txt"], 1]);
});

test("Turbo and htmx send signed IDs to the application, and the files elsewhere", async () => {
  const tell = {
    turbo: (form, body, url) => [form, "turbo:before-fetch-request", { url: new URL(url, location.href), fetchOptions: { body } }],
    htmx: (form, formData, path, triggeringEvent) => [form, "htmx:configRequest", { formData, path, triggeringEvent }],
  };
  for (const [index, [library, address, isOurs]] of [
    ["turbo", "/save", true],
    ["htmx", "/save", true],
    ["htmx", "https://other.example.com/save", false],
    ["turbo", "https://other.example.com/save", false],
  ].entries()) {
    await leave();
    const [form, input] = await page();
    let body;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      body = new FormData(form, event.submitter);
      const [target, type, detail] = tell[library](form, body, address, event);
      target.dispatchEvent(new CustomEvent(type, { bubbles: true, cancelable: true, detail }));
    });
    for (let times = 1; times <= 2; times += 1) {
      choose(input, text(`${index}-${times}.txt`));
      await settled();
      await submit(form);
      await pass(1);
      const [, photo] = [...body].find(([name]) => name === "photo");
      same([[...body][0][0], typeof photo], isOurs ? ["oss_wsgi.files", "string"] : ["title", "object"], library);
    }
  }
});

test("a script that only reads the form gets the files, and the browser sends the signed IDs", async () => {
  const [form, input] = await page();
  let photo;
  form.addEventListener("submit", () => (photo = new FormData(form).get("photo").name));
  choose(input, text());
  await settled();
  await submit(form);
  same([photo, sent()], ["a.txt", DIRECT]);
});

test("a script that submits a form sends it at once if its files are stored", async () => {
  const [form, input] = await page();
  choose(input, text());
  await settled();
  form.submit();
  same(sent(), DIRECT.slice(0, 3));
});

test("a script that submits a form too early sends it later as it was then", async () => {
  const [form, input] = await page(INPUT, { attributes: 'target="then"' });
  cloud.next("form");
  choose(input, text());
  form.querySelector("[name=title]").value = "then";
  form.submit();
  form.querySelector("[name=title]").value = "now";
  form.setAttribute("action", "/now");
  form.removeAttribute("target");
  await settled();
  same([submitted, status()], [[], `a.txt: Sending\u00a0· ${WAITING}`]);
  cloud.serve(cloud.last("form"));
  await pass(1);
  same(submitted.at(-1), {
    action: "/save",
    target: "then",
    entries: [DIRECT[0], ["title", "then"], DIRECT[2]],
  });
  same([form.getAttribute("action"), form.getAttribute("target")], ["/now", null]);
});

test("a form that a script submits does not wait for a file that fails, since nobody may press again", async () => {
  for (const [index, status] of [403, 500].entries()) {
    await leave();
    const [form, input] = await page();
    cloud.next("form");
    choose(input, text());
    form.submit();
    await settled();
    cloud.last("form").reply(status, xml("AccessDenied"));
    await settled();
    same([submitted.length, sent()], [index + 1, AS_EVER.slice(0, 2)]);
  }
});

test("a button that a script disables after the press still counts, and no failure keeps its form", async () => {
  for (const [status, expected] of [[200, DIRECT], [403, AS_EVER]]) {
    await leave();
    Object.assign(cloud, { names: 0 }).objects.clear();
    const [form, input] = await page();
    const button = form.querySelector("button");
    cloud.next("form");
    choose(input, text());
    await submit(form);
    button.disabled = true;
    if (status === 200) cloud.serve(cloud.last("form"));
    else cloud.last("form").reply(status, xml("AccessDenied"));
    await settled();
    same([sent(), button.disabled], [expected, true]);
  }
});

test("a form whose last file is taken back while it waits is not submitted by itself", async () => {
  const [form, input] = await page();
  cloud.next("form");
  choose(input, text());
  await submit(form);
  choose(input);
  await settled();
  choose(input, text("b.txt"));
  await pass(1);
  same([submitted, status()], [[], "b.txt: Done"]);
});

test("a script's submission of a form without files is the browser's own", async () => {
  const [form] = await page();
  form.submit();
  same(sent(), [["title", "Cat"], ["photo", ""]]);
});

test("an event of a script is no submission", async () => {
  const [form, input] = await page();
  cloud.next("form");
  choose(input, text());
  const event = new Event("submit", { bubbles: true, cancelable: true });
  form.dispatchEvent(event);
  same(event.defaultPrevented, false);
});

test("where a field has texts beside its files, the marker says which values are signed IDs", async () => {
  const old = '<input type="hidden" name="photo" value="old.png">';
  const [form, input] = await page(`${old}${INPUT}${old}<input type="file" name="other">`);
  choose(input, text(), text("b.txt"));
  choose(form.querySelector("[name=other]"), text("c.txt"));
  await settled();
  await submit(form);
  const ids = ["a", "b", "c"].map((name, index) => `id-of-uploads/${index + 1}-${name}.txt`);
  const photos = ["old.png", ids[0], ids[1], "old.png"].map((value) => ["photo", value]);
  same(sent().slice(0, 7), [["oss_wsgi.files", "photo:1:2,other"], ["title", "Cat"], ...photos, ["other", ids[2]]]);
});

test("a form has at most a thousand signed IDs, and the rest of its files themselves", async () => {
  const { Forms } = await load("forms.js");
  const add = ([{ file }]) => [{ file, state: "stored", running: false, signedId: `id-of-${file.name}` }];
  const uploader = Object.assign(new EventTarget(), { add, limits: async () => ({ forms: true }), start() {}, remove() {} });
  new Forms(uploader, new URL("https://shop.example.com/")).start();
  const form = insert(`<form method="post" enctype="multipart/form-data">${INPUT}</form>`);
  choose(form.querySelector("input"), ...Array.from({ length: 1002 }, (_, index) => text(`${index}.txt`)));
  await settled();
  form.requestSubmit();
  const files = sent().filter(([name]) => name === "photo").map(([, value]) => value.startsWith("id-of-"));
  same([files.length, files.lastIndexOf(true), files.indexOf(false)], [1002, 999, 1000]);
});

test("names are percent-encoded, and another charset is named", async () => {
  const cases = [
    ["UTF-8", "", ""],
    ["GBK", "", ";charset=gbk"],
    ["UTF-8", 'accept-charset="nonsense GB2312"', ";charset=gbk"],
    ["GBK", 'accept-charset="utf8 gbk"', ""],
    ["windows-1252", 'accept-charset="utf-16"', ""],
  ];
  for (const [charset, attributes, expected] of cases) {
    await leave();
    document.characterSet = charset;
    const [form, input] = await page('<input type="file" name="a,b;c%猫">', { attributes });
    choose(input, text());
    await settled();
    await submit(form);
    same(sent()[0], ["oss_wsgi.files", `a%2Cb%3Bc%25%E7%8C%AB${expected}`]);
  }
});

test("the file of a folder goes under its path", async () => {
  const [form, input] = await page();
  choose(input, Object.assign(text("sea.txt"), { webkitRelativePath: "holidays/sea.txt" }));
  await settled();
  const { filename, relative_path: path } = cloud.last("signature").query;
  same([filename, path, status()], ["holidays/sea.txt", "holidays/sea.txt", "holidays/sea.txt: Done"]);
  await submit(form);
  same(sent()[2][1], "id-of-uploads/1-holidays/sea.txt");
});

test("an empty file is a file", async () => {
  const [form, input] = await page();
  cloud.next("form");
  choose(input, text("a.txt", ""));
  await submit(form);
  same(line().querySelector("progress").value, 0);
  cloud.serve(cloud.last("form"));
  await pass(1);
  same(sent(), DIRECT);
});

test("the line speaks the reader's language, and screen readers hear its state", async () => {
  navigator.languages = ["ar"];
  const [form, input] = await page();
  cloud.next("form");
  choose(input, text("a\u202e.txt"));
  await submit(form);
  same([line().lang, line().dir, line().querySelector("[role=status]").textContent.includes("a<U+202E>.txt")], ["ar", "rtl", true]);
  const bar = line().querySelector("progress");
  includes(bar.getAttribute("aria-label"), "a<U+202E>.txt");
  same(line().querySelector("[aria-hidden]").textContent, "0 %");
});

test("the line comes after the input's labels, so that no style sheet loses them", async () => {
  for (const [html, before] of [
    [`<label>Photo ${INPUT}</label><i></i>`, "label"],
    ['<input type="file" id="f" name="photo"><label for="f">Photo</label><label for="x">Other</label>', "label"],
    [`${INPUT}<label for="x">Other</label>`, "input"],
  ]) {
    await leave();
    const [, input] = await page(html);
    choose(input, text());
    await settled();
    same(line().previousElementSibling.localName, before);
    same([line().previousElementSibling.contains(input) || before === "input" || line().previousElementSibling.control === input], [true]);
  }
});

test("words that could not be loaded leave the bar, and the form goes", async () => {
  const [form, input] = await page();
  lose("en.js");
  cloud.next("form");
  choose(input, text());
  await submit(form);
  same([status(), document.querySelectorAll("progress").length], ["\u00a0", 1]);
  cloud.serve(cloud.last("form"));
  await pass(1);
  same(sent(), DIRECT);
});

test("code that could not be loaded leaves the forms as they are", async () => {
  lose("forms.js");
  const [form, input] = await page();
  choose(input, text());
  await submit(form);
  same(sent(), AS_EVER);
});

test("a page that was left forgets that a form waited, and says nothing of what it has sent when it comes back", async () => {
  const [form, input] = await page();
  cloud.next("form");
  choose(input, text());
  await submit(form);
  window.dispatchEvent(new Event("pagehide"));
  cloud.serve(cloud.last("form"));
  await pass(1);
  same([submitted, status()], [[], "a.txt: Done"]);
  await submit(form);
  window.dispatchEvent(new Event("pageshow", { persisted: false }));
  same(status(), "a.txt: Done");
  window.dispatchEvent(new Event("pageshow", { persisted: true }));
  await settled();
  same([submitted.length, status()], [1, null]);
});

test("a new window that a blocker of popups may stop leaves the signed ID for one more press", async () => {
  for (const [target, isActive, uploads] of [
    ["_blank", false, 1],
    ["_blank", true, 2],
    ["_self", false, 2],
    ["frame", false, 2],
  ]) {
    await leave();
    cloud.names = 0;
    cloud.objects.clear();
    const [form, input] = await page(`${INPUT}<iframe name="frame"></iframe>`, { attributes: `target="${target}"` });
    navigator.userActivation = { isActive };
    choose(input, text());
    await settled();
    for (let press = 0; press < 2; press += 1) {
      await submit(form);
      await pass(1);
    }
    same(cloud.names, uploads, target);
  }
});

test("the last button that was pressed while a form waits is the one that counts", async () => {
  const [form, input] = await page(`${INPUT}<button id="b" name="b" value="1">Other</button>`);
  cloud.next("form");
  choose(input, text());
  await submit(form);
  await submit(form, form.querySelector("#b"));
  cloud.serve(cloud.last("form"));
  await pass(1);
  same([submitted.length, sent().at(-1)], [1, ["b", "1"]]);
});

test("two forms of a page wait for their own files only", async () => {
  const [first, input] = await page();
  const second = insert('<form method="post" enctype="multipart/form-data" action="/two"><input type="file" name="b"></form>');
  cloud.next("form");
  choose(input, text());
  await settled();
  choose(second.querySelector("input"), text("b.txt"));
  await settled();
  second.requestSubmit();
  same([submitted.length, submitted[0].action], [1, "/two"]);
  await submit(first);
  same(submitted.length, 1);
});
