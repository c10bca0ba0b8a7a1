/**
 * Sends files straight from the browser to Alibaba Cloud OSS, with forms that our own server signs.
 *
 *     import { Uploader } from "./upload.js";
 *     const uploader = new Uploader({ serverUrl: "oss/signature" });
 *     uploader.addEventListener("done", ({ detail: { item } }) => console.log(item.key, item.answer));
 *     uploader.add(input.files);
 *     uploader.start();
 *
 * Importing this module does nothing; it touches no document. It knows no language: an item that failed has an
 * `error` with codes, and whoever shows it finds the words.
 */

/** Seconds over which speed is averaged. */
const RATE_WINDOW = 5;

/** A signature that dies within so many seconds is not worth sending a file with. */
const EXPIRY_MARGIN = 3;

const RUNNING = new Set(["waiting", "signing", "sending", "answering"]);

/**
 * Why a file was not uploaded.
 *
 * `kind` is one of
 *   `unreachable`  no answer that this page may read: no network, or the browser withheld it (CORS, CSP)
 *   `refused`      an answer that says no: `status`, `code`, `message`, from OSS also `ec` and `requestId`
 *   `unexpected`   an answer that is not what was agreed
 *   `unreadable`   the browser cannot read the file any more
 * and `stage` tells who was asked: `server` (ours, for a signature) or `storage` (OSS).
 * `complete` is true if every byte had gone out, so that the object may be stored in spite of the error.
 */
export class UploadError extends Error {
  constructor(kind, stage, { status = 0, code = "", message = "", ec = "", requestId = "", complete = false } = {}) {
    super(message || code || kind);
    this.name = "UploadError";
    Object.assign(this, { kind, stage, status, code, ec, requestId, complete });
    this.reason = message;
  }
}

/**
 * One file on its way. Read it, do not write it.
 *
 * `state` goes queued -> waiting -> signing -> sending -> answering -> and ends as
 *   `stored`     OSS has it; `answer` is the text that the application gave back ("" where nobody was asked)
 *   `untold`     OSS has it, but the application was not told (203); `error` says why. Sending it again would store it twice
 *   `failed`     `error` says why
 *   `cancelled`  by us; with `complete`, every byte had gone out before
 */
export class UploadItem {
  #samples = [];

  constructor(id, file) {
    this.id = id;
    this.file = file;
    this.state = "queued";
    this.reset();
  }

  reset() {
    this.sent = 0;
    this.progress = 0;
    this.complete = false;
    this.key = "";
    this.url = "";
    this.status = 0;
    this.answer = "";
    this.error = null;
    this.#samples = [];
  }

  get running() {
    return RUNNING.has(this.state);
  }

  get ended() {
    return !this.running && this.state !== "queued";
  }

  /** Notes how far the request has come: the form around the file counts in `progress`, not in `sent`. */
  note(loaded, total, seconds) {
    this.progress = total > 0 ? Math.min(1, loaded / total) : 0;
    this.sent = Math.round(this.file.size * this.progress);
    this.#samples.push([seconds, this.sent]);
    while (this.#samples.length > 2 && this.#samples[0][0] < seconds - RATE_WINDOW) this.#samples.shift();
  }

  /** Bytes per second lately, or 0 where it cannot be said yet. */
  rate(seconds = performance.now() / 1000) {
    if (this.state !== "sending" || this.#samples.length < 2) return 0;
    const [since, before] = this.#samples[0];
    const elapsed = seconds - since;
    return elapsed > 0.25 ? (this.sent - before) / elapsed : 0;
  }
}

/**
 * A queue of files, a few of them on their way at once.
 *
 * Options: `serverUrl` of the signature endpoint, relative to the page or absolute; `parallel`, how many files at once;
 * `fetch` and `XMLHttpRequest` for tests and for servers that want credentials or headers of their own.
 *
 * Files that are added wait until `start()`, also while others run. Each file gets a signature of its own, asked for
 * when its turn comes, and a new one at every retry.
 *
 * Events, all CustomEvent with `detail.item`:
 *   `add`, `remove`    the list changed
 *   `state`            `detail.previous` is what the item was before
 *   `progress`         `item.sent`, `item.progress` (0 to 1), `item.rate()`
 *   `done`             OSS has the file: `stored` or `untold`
 *   `fail`, `cancel`   it ended otherwise
 *   `idle`             without item: nothing runs any more
 */
export class Uploader extends EventTarget {
  #items = [];
  #line = [];
  #attempts = new Map();
  #active = 0;
  #nextId = 1;

  constructor({
    serverUrl = "oss/signature",
    parallel = 3,
    fetch = (...request) => globalThis.fetch(...request),
    XMLHttpRequest = globalThis.XMLHttpRequest,
  } = {}) {
    super();
    this.serverUrl = serverUrl;
    this.parallel = Math.max(1, parallel);
    this.fetch = fetch;
    this.XMLHttpRequest = XMLHttpRequest;
  }

  get items() {
    return [...this.#items];
  }

  get running() {
    return this.#items.some((item) => item.running);
  }

  /** Counts per state, and bytes of what was started and neither cancelled nor given up. */
  get totals() {
    const totals = { files: 0, bytes: 0, sent: 0, rate: 0, queued: 0, queuedBytes: 0 };
    Object.assign(totals, { running: 0, stored: 0, untold: 0, failed: 0, cancelled: 0 });
    for (const item of this.#items) {
      totals[item.running ? "running" : item.state] += 1;
      if (item.state === "queued") totals.queuedBytes += item.file.size;
      if (item.state === "queued" || item.state === "cancelled") continue;
      totals.files += 1;
      totals.bytes += item.file.size;
      totals.sent += item.sent;
      totals.rate += item.rate();
    }
    return totals;
  }

  /** Puts files into the queue; they go when `start()` is called. */
  add(files) {
    const added = Array.from(files, (file) => new UploadItem(this.#nextId++, file));
    for (const item of added) {
      this.#items.push(item);
      this.#tell("add", { item });
    }
    return added;
  }

  /** Starts everything that is queued. */
  start() {
    const started = this.#items.filter((item) => item.state === "queued");
    for (const item of started) this.#enqueue(item);
    this.#pump();
    return started;
  }

  /** Stops a file that waits or runs. What had all gone out may be stored all the same: `item.complete`. */
  cancel(item) {
    if (!item.running) return false;
    const attempt = this.#attempts.get(item);
    this.#attempts.delete(item);
    this.#line = this.#line.filter((other) => other !== item);
    item.complete = item.state === "answering";
    item.sent = item.progress = 0;
    this.#enter(item, "cancelled");
    this.#tell("cancel", { item });
    attempt?.abort();
    this.#rest();
    return true;
  }

  /** Sends a failed or cancelled file again, with a new signature. A stored one is never sent twice. */
  retry(item) {
    if (item.state !== "failed" && item.state !== "cancelled") return false;
    item.reset();
    this.#enqueue(item);
    this.#pump();
    return true;
  }

  /** Takes a file off the list, stopping it first if it runs. */
  remove(item) {
    if (!this.#items.includes(item)) return false;
    this.cancel(item);
    this.#items = this.#items.filter((other) => other !== item);
    this.#tell("remove", { item });
    return true;
  }

  #enqueue(item) {
    this.#line.push(item);
    this.#enter(item, "waiting");
  }

  #pump() {
    while (this.#active < this.parallel && this.#line.length > 0) {
      this.#active += 1;
      this.#run(this.#line.shift()).finally(() => {
        this.#active -= 1;
        this.#pump();
      });
    }
  }

  async #run(item) {
    const attempt = new AbortController();
    const { signal } = attempt;
    this.#attempts.set(item, attempt);
    try {
      this.#enter(item, "signing");
      const form = await this.#sign(item.file, signal);
      signal.throwIfAborted();
      item.key = objectKey(form, item.file);
      item.url = objectUrl(form.host, item.key);
      this.#enter(item, "sending");
      const answer = await this.#post(item, form, signal);
      signal.throwIfAborted();
      this.#settle(item, answer);
    } catch (error) {
      if (signal.aborted) return;
      item.error = error instanceof UploadError ? error : new UploadError("unexpected", "page", { message: String(error) });
      item.sent = item.progress = 0;
      this.#enter(item, "failed");
      this.#tell("fail", { item });
    } finally {
      if (this.#attempts.get(item) === attempt) this.#attempts.delete(item);
      if (!signal.aborted) this.#rest();
    }
  }

  /** Asks our server for a form, and once more if what came has expired on the way, as after a laptop's sleep. */
  async #sign(file, signal) {
    const form = await this.#askForForm(file, signal);
    return form.secondsLeft() > EXPIRY_MARGIN ? form : this.#askForForm(file, signal);
  }

  async #askForForm(file, signal) {
    const url = new URL(this.serverUrl, globalThis.document?.baseURI ?? globalThis.location?.href);
    url.searchParams.set("filename", file.name);
    if (file.type) url.searchParams.set("content_type", file.type);
    url.searchParams.set("size", file.size);
    let response, text;
    try {
      response = await this.fetch(url.href, { headers: { Accept: "application/json" }, cache: "no-store", signal });
      text = await response.text();
    } catch (error) {
      throw new UploadError("unreachable", "server", { message: error.message });
    }
    const answer = parseJson(text);
    if (!response.ok) throw new UploadError("refused", "server", { status: response.status, ...serverReason(answer) });
    if (typeof answer?.url !== "string" || typeof answer.fields?.key !== "string") {
      throw new UploadError("unexpected", "server", { status: response.status });
    }
    return { ...answer, secondsLeft: countdown(answer.expire, response.headers.get("Date")) };
  }

  #post(item, form, signal) {
    return new Promise((resolve, reject) => {
      const request = new this.XMLHttpRequest();
      const body = new FormData();
      for (const [name, value] of Object.entries(form.fields)) body.append(name, value);
      body.append("file", item.file, item.file.name);
      let complete = false;

      request.upload.addEventListener("progress", (event) => {
        if (signal.aborted) return;
        item.note(event.loaded, event.lengthComputable ? event.total : 0, performance.now() / 1000);
        this.#tell("progress", { item });
      });
      request.upload.addEventListener("load", () => {
        if (signal.aborted) return;
        complete = true;
        item.note(1, 1, performance.now() / 1000);
        this.#tell("progress", { item });
        this.#enter(item, "answering");
      });
      request.addEventListener("load", () => resolve({ status: request.status, text: request.responseText }));
      request.addEventListener("error", async () => {
        const kind = (await isReadable(item.file)) ? "unreachable" : "unreadable";
        reject(new UploadError(kind, "storage", { complete }));
      });
      request.addEventListener("abort", () => reject(signal.reason));
      signal.addEventListener("abort", () => request.abort());

      try {
        request.open("POST", form.url);
        for (const [name, value] of Object.entries(form.headers ?? {})) {
          if (name.toLowerCase() !== "content-type") request.setRequestHeader(name, value); // FormData knows its boundary
        }
        request.send(body);
      } catch (error) {
        reject(new UploadError("unexpected", "server", { message: error.message }));
      }
    });
  }

  #settle(item, { status, text }) {
    item.status = status;
    if (status < 200 || status > 299) throw new UploadError("refused", "storage", { status, ...storageReason(text) });
    item.sent = item.file.size;
    item.progress = 1;
    if (status === 203) item.error = new UploadError("refused", "storage", { status, ...storageReason(text) });
    else if (status === 200) item.answer = text;
    this.#enter(item, status === 203 ? "untold" : "stored");
    this.#tell("done", { item });
  }

  #enter(item, state) {
    const previous = item.state;
    item.state = state;
    this.#tell("state", { item, previous });
  }

  #rest() {
    if (!this.running) this.#tell("idle", {});
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The name that the object gets: OSS puts the file's own name where the key says `${filename}`. */
function objectKey(form, file) {
  return form.fields.key.replaceAll("${filename}", () => file.name);
}

/** Where the object is, or "" where `host` is no web address. */
export function objectUrl(host, key) {
  if (!/^https?:\/\//i.test(host ?? "")) return "";
  return `${host.replace(/\/+$/, "")}/${key.split("/").map(encodeSegment).join("/")}`;
}

function encodeSegment(segment) {
  const text = segment.toWellFormed?.() ?? segment;
  return encodeURIComponent(text).replace(/['()*!]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * How many seconds a signature lives, by the server's clock where its Date header can be read: a browser's clock may
 * be wrong by hours, and `expire` is the server's time.
 */
function countdown(expire, date) {
  const received = performance.now();
  const now = Date.parse(date ?? "") || Date.now();
  const life = Number(expire) - now / 1000;
  return () => (Number.isFinite(life) ? life - (performance.now() - received) / 1000 : Infinity);
}

function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function serverReason(answer) {
  const error = answer?.error ?? answer;
  if (typeof error === "string") return { message: error };
  const text = (value) => (typeof value === "string" ? value : "");
  return { code: text(error?.code), message: text(error?.message) };
}

/** Reads OSS's error XML. Not with DOMParser: what is no XML makes it write an inline style, which a strict CSP reports. */
function storageReason(text) {
  const read = (name) => unescapeXml(new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1].trim() ?? "");
  return { code: read("Code"), message: read("Message"), ec: read("EC"), requestId: read("RequestId") };
}

const MARKS = { lt: "<", gt: ">", quot: '"', apos: "'", "#34": '"', "#39": "'", amp: "&" };

function unescapeXml(text) {
  return text.replace(/&(lt|gt|quot|apos|amp|#34|#39);/g, (_, mark) => MARKS[mark]);
}

/** A browser reports a file that was moved or changed as a network error; only reading it tells. */
async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
