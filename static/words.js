/** The texts of the page in the reader's language, with a sentence for each way in which an upload can fail. */

const LANGUAGES = ["ar", "de", "en", "es", "fr", "ja", "ko", "pt", "ru", "zh-CN", "zh-TW"];

/** Codes of storage that mean the same to a person. */
const SAME = {
  IncorrectNumberOfFilesInPOSTRequest: "MalformedPOSTRequest",
  ServiceUnavailable: "SlowDown",
};

const loaded = new Map();

/** Returns the first of our languages that these tags ask for, such as `navigator.languages`; else English. */
export function languageFor(tags) {
  for (const tag of tags) {
    const [language, ...rest] = String(tag).toLowerCase().split("-");
    const isTraditional = rest.some((part) => ["hant", "tw", "hk", "mo"].includes(part)) && !rest.includes("hans");
    const name = language === "zh" ? (isTraditional ? "zh-TW" : "zh-CN") : language;
    if (LANGUAGES.includes(name)) return name;
  }
  return "en";
}

/** Returns the words of the language for these tags. It is loaded once; after a failure another address is tried. */
export function loadWords(tags) {
  const name = languageFor(tags);
  const known = loaded.get(name) ?? { attempts: 0 };
  loaded.set(name, known);
  const query = known.attempts > 0 ? `?attempt=${known.attempts}` : "";
  known.words ??= import(`./languages/${name}.js${query}`).then((module) => wordsOf(module.default)).catch((error) => {
    known.words = null;
    known.attempts += 1;
    throw error;
  });
  return known.words;
}

/** Returns the function that makes a language's texts: `words("ready", { n: 2 })`. Other texts may replace some of them. */
export function wordsOf(data, texts = {}) {
  const plurals = new Intl.PluralRules(data.lang);
  const numbers = new Intl.NumberFormat(data.lang);
  const words = (name, values = {}) => {
    let text = name.split(".").reduce((part, key) => part?.[key], data);
    if (Object.hasOwn(texts, name)) text = texts[name];
    if (typeof text === "object") text = (values.n === 1 && text.one) || text[plurals.select(values.n)] || text.other;
    return text.replace(/\{(\w+)\}/g, (_, key) => (typeof values[key] === "number" ? numbers.format(values[key]) : values[key]));
  };
  return Object.assign(words, { data, lang: data.lang, dir: data.lang === "ar" ? "rtl" : "ltr" });
}

/** Kept, because making one takes longer than using it a thousand times. */
const formats = new Map();

const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** Returns a number of bytes in a unit that suits it, such as "1.5 MB". */
export function sizeIn(bytes, words) {
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  const digits = power === 0 || value >= 100 || Number.isInteger(Math.round(value * 10) / 10) ? 0 : 1;
  const key = [words.lang, power, digits].join();
  if (!formats.has(key)) {
    const style = { style: "unit", unit: units[power], unitDisplay: power === 0 ? "long" : "short" };
    const fraction = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    formats.set(key, new Intl.NumberFormat(words.lang, { ...style, ...fraction }));
  }
  return formats.get(key).format(value).replace(" ", "\u00a0");
}

/** Names for types whose own name tells people nothing. */
const KNOWN_TYPES = {
  "text/plain": "txt", "text/javascript": "js", "text/markdown": "md", "text/calendar": "ics", "video/quicktime": "mov",
  "application/msword": "doc", "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
  "application/vnd.ms-excel": "xls", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
  "application/vnd.ms-powerpoint": "ppt",
  "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
  "application/x-zip-compressed": "zip", "application/x-7z-compressed": "7z",
};

/** Returns types as people say them: `image/png, image/jpeg` is "PNG, JPEG". */
export function typesIn(types, words) {
  const short = types.map((type) => KNOWN_TYPES[type] ?? type.split("/")[1].replace(/^(x-|vnd\.)|\+xml$/g, "").split(".").at(-1));
  return [...new Set(short.map((name) => name.toUpperCase()))].join(words("comma"));
}

/** Returns the sentences under a file that did not simply succeed: what happened, and what to do; else "". */
export function explainItem({ state, error, complete, notStored, canAsk, file }, words) {
  if (state === "untold") return words(canAsk ? "untoldAskHint" : "untoldHint");
  if (state === "unsure") return words("unsureHint");
  if (state === "cancelled") return complete ? words("cancelledLate") : "";
  if (state !== "failed" && state !== "retrying") return "";
  if (notStored) return words("notStoredHint");
  return [explain(error, words, file), error.complete && words("completeHint")].filter(Boolean).join(words("sentences"));
}

/** Returns one sentence that says what happened and what to do. */
export function explain(error, words, file) {
  const { kind, stage, code, limit } = error;
  if (kind === "refused" && stage === "page") {
    const size = sizeIn(file.size, words);
    if (code === "too_large") return words("errors.tooLarge", { size, limit: sizeIn(limit, words) });
    if (code === "too_small") return words("errors.tooSmall", { size, limit: sizeIn(limit, words) });
    const extension = /\.([a-z0-9]{1,8})$/i.exec(file.name)?.[1].toUpperCase();
    return words("errors.wrongType", { type: extension ?? typesIn([file.type], words), limit: typesIn(limit, words) });
  }
  if (["unreadable", "unprepared", "changed", "exposed"].includes(kind)) return words(`errors.${kind}`);
  if (kind === "blocked") return words("errors.blocked", { host: error.reason });
  if (kind === "unreachable") {
    if (navigator.onLine === false) return words("errors.offline");
    return words(stage === "server" ? "errors.serverUnreachable" : "errors.storageUnreachable");
  }
  if (kind === "refused") {
    const texts = words.data.errors[stage];
    const family = texts[Math.floor(error.status / 100)];
    const word = stage === "server" ? serverWord(error, texts) : storageWord(error);
    return (Object.hasOwn(texts, word) && texts[word]) || family || texts[4];
  }
  return words(stage === "server" ? "errors.serverUnexpected" : "errors.unknown");
}

/** 403 is about the person or about the file: the code says which if the answer is the application's own. */
function serverWord({ status, code }, texts) {
  return status === 403 && Object.hasOwn(texts, code) ? code : status;
}

/** AccessDenied has several causes. EC distinguishes them; the older service sends only the message. */
function storageWord({ code, ec, reason }) {
  if (code !== "AccessDenied") return Object.hasOwn(SAME, code) ? SAME[code] : code;
  if (ec === "0006-00000213" || /policy expired|request has expired/i.test(reason)) return "expired";
  if (/^0006-000002(26|27|28)$/.test(ec) || /^invalid according to policy/i.test(reason)) return "condition";
  return code;
}

/**
 * Characters that turn the letters around them, or are invisible. Joiners count only where they join nothing, and tags
 * outside a flag: emoji, and scripts from Hebrew on, need them.
 */
const HIDDEN = new RegExp(
  "[\\0-\\x08\\v\\f\\x0e-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e"
    + "\\u2060-\\u206f\\u2800\\u3164\\ud800-\\udfff\\ufeff\\uffa0\\ufff0-\\ufffb]"
    + "|([\\u0590-\\u1dff\\u2190-\\u2bff\\ufe0f\\u{1f000}-\\u{1faff}][\\u200c\\u200d]|\\u{1f3f4}[\\u{e0020}-\\u{e007f}]+)"
    + "|[\\u200c\\u200d\\u{e0000}-\\u{e00ff}]",
  "gu",
);

/** Returns a text from outside, such as a file's name, with each hidden character spelled out: `<U+202E>`. */
export function visible(text) {
  return text.replace(HIDDEN, (character, whole) => {
    return whole ?? `<U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`;
  });
}

/** Returns one line for the people who run the site: status, code and the text of the server or OSS. */
export function technical(error) {
  if (error.stage === "page" && error.kind === "refused") return "";
  const name = [error.code, error.status > 0 && `(${error.status})`].filter(Boolean).join(" ");
  return visible([name, error.reason, error.requestId].filter(Boolean).join(" · "));
}
