/** `words.js` and the texts of all languages: which language, plurals, sizes, types, and a sentence for each failure. */

const LANGUAGES = Object.keys(sources)
  .filter((name) => name.startsWith("languages/"))
  .map((name) => name.slice(10, -3))
  .sort();

const english = async () => (await load("words.js")).loadWords(["en"]);

/** Each text of a language by its name; one with plurals is an object. */
const isPlural = (value) => typeof value === "object" && "other" in value;
const flat = (value, name) =>
  typeof value === "string" || isPlural(value)
    ? [[name, value]]
    : Object.entries(value).flatMap(([key, inner]) => flat(inner, name ? `${name}.${key}` : key));
const textsOf = async (name) => new Map(flat((await load(`languages/${name}.js`)).default, ""));
const formsOf = (text) => (isPlural(text) ? Object.values(text) : [text]);
const holes = (text) => [...new Set(text.match(/\{\w+\}/g) ?? [])].sort().join();

test("all languages have the same texts, and none is empty", async () => {
  same(LANGUAGES, ["ar", "de", "en", "es", "fr", "ja", "ko", "pt", "ru", "zh-CN", "zh-TW"]);
  const names = [...(await textsOf("en")).keys()];
  ok(names.length > 140);
  for (const language of LANGUAGES) {
    const texts = await textsOf(language);
    same([...texts.keys()], names, language);
    same(texts.get("lang"), language);
    for (const [name, text] of texts)
      for (const form of formsOf(text)) ok(form !== "" || name === "sentences", `${language} ${name}`);
  }
});

test("a text has plurals of its language only, and the same values as in English", async () => {
  const originals = await textsOf("en");
  for (const language of LANGUAGES) {
    const { pluralCategories } = new Intl.PluralRules(language).resolvedOptions();
    for (const [name, text] of await textsOf(language)) {
      const original = originals.get(name);
      same([language, name, isPlural(text)], [language, name, isPlural(original)]);
      same([language, name, holes(text.other ?? text)], [language, name, holes(original.other ?? original)]);
      for (const form of isPlural(text) ? Object.keys(text) : [])
        ok([...pluralCategories, "one"].includes(form), `${language} ${name}.${form}`);
    }
  }
});

test("where the form of one is that of 21 too, it says the number", async () => {
  for (const [name, text] of await textsOf("ru"))
    if (isPlural(text) && text.one && holes(text.other).includes("{n}")) ok(/\{n\}|\{name\}/.test(text.one), name);
});

test("every text that a number asks for is found in every language", async () => {
  const { wordsOf } = await load("words.js");
  for (const language of LANGUAGES) {
    const { default: data } = await load(`languages/${language}.js`);
    const words = wordsOf(data);
    for (const [name, text] of flat(data, "")) {
      const keys =
        formsOf(text)
          .join()
          .match(/\w+(?=\})/g) ?? [];
      for (const n of [0, 1, 2, 3, 5, 11, 21, 100, 1_000_000]) {
        const shown = words(name, { n, ...Object.fromEntries(keys.map((key) => [key, n])) });
        ok(!/[{}]|undefined/.test(shown), `${language} ${name}: ${shown}`);
      }
    }
  }
});

test("the first language that a tag asks for is taken, and English where there is none", async () => {
  const { languageFor } = await load("words.js");
  const cases = {
    "en-GB": "en",
    "fr-CA": "fr",
    zh: "zh-CN",
    "zh-SG": "zh-CN",
    "zh-Hans-TW": "zh-CN",
    "zh-HK": "zh-TW",
    "zh-Hant": "zh-TW",
    "zh-MO": "zh-TW",
    "zh-TW": "zh-TW",
    "ZH-hant-US": "zh-TW",
    "pt-BR": "pt",
    "nl-NL": "en",
    DE: "de",
  };
  for (const [tag, language] of Object.entries(cases)) same([tag, languageFor([tag])], [tag, language]);
  for (const language of LANGUAGES) same(languageFor([language]), language);
  same([languageFor(["nl", "ja", "de"]), languageFor([]), languageFor([undefined])], ["ja", "en", "en"]);
});

test("a language is loaded once, and after a failure from another address", async () => {
  const { loadWords } = await load("words.js");
  lose("de.js");
  for (const _ of [1, 2]) {
    await loadWords(["de"]).then(
      () => ok(false, "it cannot be loaded"),
      (error) => same(error instanceof TypeError, true),
    );
  }
  lose();
  const words = await loadWords(["de"]);
  same([words.lang, (await loadWords(["de-AT"])) === words], ["de", true]);
  same(
    loaded().filter((name) => name.includes("languages")),
    ["languages/de.js?attempt=2"],
  );
});

test("words fill in values, and write numbers for people", async () => {
  const words = await english();
  same(words("ready", { n: 1, size: "5 bytes" }), "1 file ready · 5 bytes");
  same(words("ready", { n: 1234, size: "5 bytes" }), "1,234 files ready · 5 bytes");
  same(words("results.failed", { n: 1 }), "1 failed");
  same(words("news.failed", { n: 1, name: "$& {n}", why: "" }), "$& {n}: failed. ");
  same([words.lang, words.dir, words.data.title], ["en", "ltr", "Upload files"]);
  const { loadWords } = await load("words.js");
  same((await loadWords(["ar"])).dir, "rtl");
});

test("a plural is that of the language, and one has a form of its own", async () => {
  const { wordsOf } = await load("words.js");
  const forms = { one: "{n} one", two: "{n} two", few: "{n} few", other: "{n} other" };
  const shown = (lang, texts, ...numbers) => numbers.map((n) => wordsOf({ lang, t: texts })("t", { n }));
  same(shown("ru", forms, 1, 2, 5, 21), ["1 one", "2 few", "5 other", "21 one"]);
  same(shown("ar", forms, 0, 1, 2, 3, 11), ["0 other", "1 one", "2 two", "3 few", "11 other"]);
  same(shown("ja", forms, 1, 2), ["1 one", "2 other"]);
  same(shown("fr", { one: "{n} one", other: "{n} other" }, 0, 1, 2), ["0 one", "1 one", "2 other"]);
});

test("other texts replace some, with plurals or without", async () => {
  const { wordsOf } = await load("words.js");
  const { default: data } = await load("languages/en.js");
  const words = wordsOf(data, { title: "Ours", "states.stored": "There", ready: { other: "{n} here" }, toString: "no" });
  same(
    [words("title"), words("states.stored"), words("ready", { n: 2 }), words("states.failed"), words("lead")],
    ["Ours", "There", "2 here", "Failed", data.lead],
  );
});

test("a size has the unit that suits it", async () => {
  const { sizeIn } = await load("words.js");
  const words = await english();
  const cases = {
    0: "0 bytes",
    1: "1 byte",
    999: "999 bytes",
    1000: "1 kB",
    1049: "1 kB",
    1050: "1.1 kB",
    1500: "1.5 kB",
    99_940: "99.9 kB",
    99_960: "100 kB",
    100_400: "100 kB",
    123_456: "123 kB",
    1e6: "1 MB",
    1.5e9: "1.5 GB",
    2e12: "2 TB",
    5e15: "5,000 TB",
  };
  for (const [bytes, text] of Object.entries(cases)) same(sizeIn(Number(bytes), words), text.replace(" ", "\u00a0"));
});

test("a format is made once for each language and unit", async () => {
  const { sizeIn } = await load("words.js");
  const words = await english();
  sizeIn(1500, words);
  const before = Intl.NumberFormat.made;
  for (let bytes = 1500; bytes < 90_000; bytes += 1000) sizeIn(bytes, words);
  same(Intl.NumberFormat.made, before);
  const { loadWords } = await load("words.js");
  sizeIn(1500, await loadWords(["de"]));
  ok(Intl.NumberFormat.made > before + 1);
});

test("types are said as people call them", async () => {
  const { typesIn } = await load("words.js");
  const words = await english();
  const cases = [
    [["image/png", "image/jpeg"], "PNG, JPEG"],
    [["text/plain"], "TXT"],
    [["image/svg+xml"], "SVG"],
    [["application/x-tar"], "TAR"],
    [["application/vnd.rar"], "RAR"],
    [["application/vnd.oasis.opendocument.text"], "TEXT"],
    [["application/vnd.openxmlformats-officedocument.wordprocessingml.document", "application/msword"], "DOCX, DOC"],
    [["application/zip", "application/x-zip-compressed"], "ZIP"],
    [["video/quicktime", "text/javascript", "text/markdown", "text/calendar"], "MOV, JS, MD, ICS"],
    [["application/vnd.ms-excel", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"], "XLS, XLSX"],
    [["application/vnd.ms-powerpoint", "application/vnd.openxmlformats-officedocument.presentationml.presentation"], "PPT, PPTX"],
    [["application/x-7z-compressed"], "7Z"],
  ];
  for (const [types, text] of cases) same(typesIn(types, words), text);
});

const item = (more) => ({
  state: "failed",
  error: null,
  complete: false,
  notStored: false,
  canAsk: false,
  file: text(),
  ...more,
});

test("a file that simply succeeded, or waits, has nothing to say", async () => {
  const { explainItem } = await load("words.js");
  const words = await english();
  for (const state of [
    "queued",
    "waiting",
    "preparing",
    "signing",
    "sending",
    "answering",
    "asking",
    "paused",
    "stored",
    "cancelled",
  ]) {
    same([state, explainItem(item({ state }), words)], [state, ""]);
  }
});

test("each end that is no success says what to do", async () => {
  const { explainItem } = await load("words.js");
  const { UploadError } = await load("upload.js");
  const words = await english();
  const error = new UploadError("unreachable", "storage");
  const complete = new UploadError("unreachable", "storage", { complete: true });
  const cases = [
    [{ state: "untold", canAsk: true }, words("untoldAskHint")],
    [{ state: "untold" }, words("untoldHint")],
    [{ state: "unsure", error }, words("unsureHint")],
    [{ state: "cancelled", complete: true }, words("cancelledLate")],
    [{ notStored: true, error }, words("notStoredHint")],
    [{ error }, words("errors.storageUnreachable")],
    [{ state: "retrying", error }, words("errors.storageUnreachable")],
    [{ error: complete }, `${words("errors.storageUnreachable")} ${words("completeHint")}`],
  ];
  for (const [more, sentence] of cases) same(explainItem(item(more), words), sentence);
});

test("each error has the sentence of its kind", async () => {
  const { explain } = await load("words.js");
  const { UploadError } = await load("upload.js");
  const words = await english();
  const say = (kind, stage, facts, file = text()) => explain(new UploadError(kind, stage, facts), words, file);
  const errors = words.data.errors;
  same(say("unreachable", "server"), errors.serverUnreachable);
  same(say("unreachable", "storage"), errors.storageUnreachable);
  same(say("unexpected", "server"), errors.serverUnexpected);
  same(say("unexpected", "page"), errors.unknown);
  same(
    say("blocked", "storage", { message: "https://b.example.com" }),
    words("errors.blocked", { host: "https://b.example.com" }),
  );
  for (const kind of ["unreadable", "unprepared", "changed", "exposed"]) same(say(kind, "page"), errors[kind]);
  same(
    say("refused", "page", { code: "too_large", limit: 3000 }),
    "This file has 5\u00a0bytes, and at most 3\u00a0kB are allowed.",
  );
  same(
    say("refused", "page", { code: "too_small", limit: 3000 }),
    "This file has 5\u00a0bytes, and at least 3\u00a0kB are needed.",
  );
  const wrong = (name, type) =>
    say("refused", "page", { code: "type_not_allowed", limit: ["image/png"] }, text(name, "", { type }));
  same(wrong("a.tar.gz", "application/gzip"), "This file is of the type GZ, and only PNG are allowed.");
  same(wrong("a.toolongext", "text/x-log"), "This file is of the type LOG, and only PNG are allowed.");
  navigator.onLine = false;
  same([say("unreachable", "server"), say("unreachable", "storage")], [errors.offline, errors.offline]);
});

test("a refusal of the server is explained by its status, and a 403 by its code", async () => {
  const { explain } = await load("words.js");
  const { UploadError } = await load("upload.js");
  const words = await english();
  const say = (status, code = "") => explain(new UploadError("refused", "server", { status, code }), words, text());
  const texts = words.data.errors.server;
  for (const status of [400, 401, 403, 404, 405, 413, 429, 503]) same(say(status), texts[status]);
  same(
    [say(403, "forbidden"), say(403, "size_not_allowed"), say(403, "content_type_not_allowed")],
    [texts.forbidden, texts.size_not_allowed, texts.content_type_not_allowed],
  );
  same([say(403, "csrf"), say(403, "toString"), say(401, "forbidden")], [texts[403], texts[403], texts[401]]);
  same([say(418), say(500), say(502), say(302)], [texts[4], texts[5], texts[5], texts[4]]);
});

test("a refusal of OSS is explained by its code, and AccessDenied by what denies it", async () => {
  const { explain } = await load("words.js");
  const { UploadError } = await load("upload.js");
  const words = await english();
  const say = (status, code, ec = "", message = "") =>
    explain(new UploadError("refused", "storage", { status, code, ec, message }), words, text());
  const texts = words.data.errors.storage;
  for (const code of Object.keys(texts).filter((name) => /^[A-Z]/.test(name))) same(say(403, code), texts[code]);
  same(
    [say(400, "IncorrectNumberOfFilesInPOSTRequest"), say(503, "ServiceUnavailable")],
    [texts.MalformedPOSTRequest, texts.SlowDown],
  );
  same([say(403, "Unheard"), say(500, ""), say(502, "constructor")], [texts[4], texts[5], texts[5]]);
  same(
    [
      say(403, "AccessDenied", "0006-00000213"),
      say(403, "AccessDenied", "", "Invalid according to Policy: Policy expired."),
      say(403, "AccessDenied", "", "Request has expired."),
    ],
    Array(3).fill(texts.expired),
  );
  for (const ec of ["0006-00000226", "0006-00000227", "0006-00000228"]) same(say(403, "AccessDenied", ec), texts.condition);
  same(say(403, "AccessDenied", "", 'Invalid according to Policy: Policy Condition failed: ["eq"]'), texts.condition);
  same(
    [
      say(403, "AccessDenied", "10006-00000226"),
      say(403, "AccessDenied", "0006-000002260"),
      say(403, "AccessDenied", "", "The bucket is invalid according to policy"),
    ],
    Array(3).fill(texts.AccessDenied),
  );
});

test("the technical line has code, status, text and request, and of the page's own refusals nothing", async () => {
  const { technical } = await load("words.js");
  const { UploadError } = await load("upload.js");
  const facts = { status: 403, code: "AccessDenied", message: "a\u202eb", requestId: "6A2F" };
  same(technical(new UploadError("refused", "storage", facts)), "AccessDenied (403) · a<U+202E>b · 6A2F");
  same(technical(new UploadError("refused", "server", { status: 502 })), "(502)");
  same(technical(new UploadError("unreachable", "storage")), "");
  same(technical(new UploadError("unprepared", "page", { message: "no picture" })), "no picture");
  same(technical(new UploadError("refused", "page", { code: "too_large" })), "");
});

test("a hidden character is spelled out, and names of all scripts stay as they are", async () => {
  const { visible } = await load("words.js");
  for (const character of characters.hidden) {
    const code = character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    same(visible(`a${character}gnp.exe`), `a<U+${code}>gnp.exe`);
  }
  for (const name of characters.shown) same(visible(name), name);
});
