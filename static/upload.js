/**
 * Uploads files straight from the browser to Alibaba Cloud OSS, with forms that your own server signs.
 *
 *     import { Uploader } from "./upload.js";
 *     const uploader = new Uploader({ serverUrl: "oss/signature" });
 *     uploader.addEventListener("done", ({ detail: { item } }) => console.log(item.key, item.answer));
 *     uploader.add(input.files);
 *     uploader.start();
 *
 * A page needs no script of its own, also under a Content-Security-Policy that forbids inline scripts:
 *
 *     <input type="file" id="file" data-oss-upload>
 *     <output for="file"></output>
 *     <script type="module" src="/oss/upload.js"></script>
 *
 * The import changes nothing else in the document; it uploads what inputs with `data-oss-upload` hold already, and waits
 * for further choices. The Uploader has no texts for readers: a failed item has an `error` with codes, and the page turns
 * them into words.
 */

/** The signature endpoint, relative to the page. The server replaces this line where it serves the module beside it. */
const SERVER_URL = "oss/signature";

/** Speed is averaged over this many seconds. */
const RATE_WINDOW = 5;

/** A signature that expires within this many seconds is replaced before the file is sent. */
const EXPIRY_MARGIN = 3;

/** Seconds before each question to the server about a file of which no report came. */
const RECOVERY_DELAYS = [1, 2, 4, 8, 16];

/** After a network error OSS may still be storing the file: "not stored" counts when it is said twice, seconds apart. */
const NOT_STORED_TWICE = 2;

/** Seconds that a ticket outlives its form (the server's rule). */
const TICKET_SECONDS = 12 * 3600;

/** Where the rest of the code cannot be loaded, its words are missing too. */
const NOT_LOADED = /^zh\b/i.test(globalThis.navigator?.language)
  ? "无法连接服务器。请检查网络，然后重新选择文件。"
  : "The server could not be reached. Check the connection and choose the file again.";

/** In bytes. Of larger files not the content is compared after a reload, but the time of their last change. */
const LARGEST_COMPARED = 2 ** 20;

const PENDING = "oss-wsgi-unanswered";

const RUNNING = new Set(["waiting", "signing", "sending", "answering", "asking"]);

/**
 * The reason why a file was not uploaded.
 *
 * `kind` is one of
 *   `unreachable`  no response that this page may read: no network, or the browser withheld it (CORS)
 *   `blocked`      the page's Content-Security-Policy does not allow the request; `message` is the address to allow
 *   `refused`      a response that refuses: `status`, `code`, `message`, from OSS also `ec` and `requestId`
 *   `unexpected`   a response in the wrong form
 *   `unreadable`   the browser can no longer read the file
 * `stage` is where it happened: `server` (yours, for a signature), `storage` (OSS) or `page`.
 * `complete` is true if every byte was sent, so that the object may be stored in spite of the error.
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
 * One file of an Uploader. Read its properties; do not write them.
 *
 * `state` goes queued -> waiting -> signing -> sending -> answering, and ends as
 *   `stored`     OSS stored it; `answer` is the text that the application returned ("" without a callback)
 *   `untold`     OSS stored it, but the callback failed (203); `error` says why. Sending it again would store it twice
 *   `unsure`     every byte was sent, and nobody could say yet whether it is stored; `error` says why
 *   `failed`     `error` says why; with `notStored` the server has looked, and it is not stored
 *   `cancelled`  by `cancel()`; with `complete`, every byte was sent before
 *
 * Before a file ends as `untold` or `unsure`, it is `asking`: the server is asked up to five times whether it has the
 * file, and tells the application where it was not told. `canAsk` says that `retry()` asks again instead of sending.
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
    this.proof = null;
    this.notStored = false;
    this.#samples = [];
  }

  /** Whether the server can be asked for this file, instead of sending it again. */
  get canAsk() {
    return this.proof !== null && (this.state === "untold" || this.state === "unsure");
  }

  get running() {
    return RUNNING.has(this.state);
  }

  get ended() {
    return !this.running && this.state !== "queued";
  }

  /** Records the progress of the request. The form around the file counts in `progress`, not in `sent`. */
  note(loaded, total, seconds) {
    this.progress = total > 0 ? Math.min(1, loaded / total) : 0;
    this.sent = Math.round(this.file.size * this.progress);
    this.#samples.push([seconds, this.sent]);
    while (this.#samples.length > 2 && this.#samples[0][0] < seconds - RATE_WINDOW) this.#samples.shift();
  }

  /** Returns the recent speed in bytes per second, or 0 if there are too few samples. */
  rate(seconds = performance.now() / 1000) {
    if (this.state !== "sending" || this.#samples.length < 2) return 0;
    const [since, before] = this.#samples[0];
    const elapsed = seconds - since;
    return elapsed > 0.25 ? (this.sent - before) / elapsed : 0;
  }
}

/**
 * A queue of files that uploads a few of them at a time.
 *
 * Options: `serverUrl`, the signature endpoint, relative to the page or absolute (default: beside this module where the
 * server serves it at `{prefix}/upload.js`, else `oss/signature`); `recoverUrl`, the endpoint that finds
 * files of which no report came (by default `recover` beside the signature, null for none; a server without it is
 * noticed); `parallel`, the number of files at a time; `fetch` and `XMLHttpRequest`, for tests and for servers that need
 * credentials or extra headers; `storage`, where files without an answer are noted for the time after a reload (by
 * default sessionStorage, null for no longer than the page).
 *
 * Added files wait until `start()`, also while others run. Each file gets its own signature when its turn comes, and a
 * new one at every retry.
 *
 * Events, all CustomEvent with `detail.item`:
 *   `add`, `remove`    the list changed
 *   `state`            `detail.previous` is the former state
 *   `progress`         `item.sent`, `item.progress` (0 to 1), `item.rate()`
 *   `done`             OSS stored the file: `stored` or `untold`
 *   `fail`             the file was not stored, or may be: `failed` or `unsure`
 *   `cancel`           the file was cancelled
 *   `idle`             without item: no file is running
 */
export class Uploader extends EventTarget {
  #items = [];
  #waiting = [];
  #attempts = new Map();
  #active = 0;
  #nextId = 1;
  #unanswered;

  constructor({
    serverUrl = SERVER_URL,
    recoverUrl,
    parallel = 3,
    storage,
    fetch = (...request) => globalThis.fetch(...request),
    XMLHttpRequest = globalThis.XMLHttpRequest,
  } = {}) {
    super();
    this.serverUrl = serverUrl;
    this.recoverUrl = recoverUrl;
    this.#unanswered = new Unanswered(storage);
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

  /** Returns the number of files by state, and the bytes of all files that are neither queued nor cancelled. */
  get totals() {
    const totals = { files: 0, bytes: 0, sent: 0, rate: 0, queued: 0, queuedBytes: 0 };
    Object.assign(totals, { running: 0, stored: 0, untold: 0, unsure: 0, failed: 0, cancelled: 0 });
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

  /** Adds files to the queue. They wait for `start()`. */
  add(files) {
    const added = Array.from(files, (file) => new UploadItem(this.#nextId++, file));
    for (const item of added) {
      this.#items.push(item);
      this.#emit("add", { item });
    }
    return added;
  }

  /** Starts all queued files. */
  start() {
    const started = this.#items.filter((item) => item.state === "queued");
    for (const item of started) this.#enqueue(item);
    this.#pump();
    return started;
  }

  /** Stops a waiting or running file. If every byte was sent (`item.complete`), it may be stored all the same. */
  cancel(item) {
    if (!item.running) return false;
    const attempt = this.#attempts.get(item);
    this.#attempts.delete(item);
    this.#waiting = this.#waiting.filter((other) => other !== item);
    item.complete = item.state === "answering" || item.state === "asking";
    item.sent = item.progress = 0;
    this.#setState(item, "cancelled");
    this.#emit("cancel", { item });
    attempt?.abort();
    this.#emitIdle();
    return true;
  }

  /**
   * Sends a failed or cancelled file again, with a new signature. A stored one is never sent twice: for one that is
   * `untold` or `unsure` the server is asked again.
   */
  retry(item) {
    if (item.state !== "failed" && item.state !== "cancelled" && !item.canAsk) return false;
    if (!item.canAsk) item.reset();
    this.#enqueue(item);
    this.#pump();
    return true;
  }

  /** Removes a file from the list. A running file is cancelled first. */
  remove(item) {
    if (!this.#items.includes(item)) return false;
    this.cancel(item);
    this.#items = this.#items.filter((other) => other !== item);
    this.#emit("remove", { item });
    return true;
  }

  #enqueue(item) {
    this.#waiting.push(item);
    this.#setState(item, "waiting");
  }

  #pump() {
    while (this.#active < this.parallel && this.#waiting.length > 0) {
      this.#active += 1;
      this.#run(this.#waiting.shift()).finally(() => {
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
      if (item.proof !== null) return await this.#askAgain(item, signal);
      if (!this.#unanswered.isEmpty) {
        // It may be the file that was being answered when the page was left.
        item.proof = await this.#unanswered.find(item.file);
        signal.throwIfAborted();
        if (item.proof !== null && (await this.#ask(item, signal))) return;
        signal.throwIfAborted();
        item.reset();
      }
      this.#setState(item, "signing");
      const form = await this.#sign(item.file, signal);
      signal.throwIfAborted();
      item.key = objectKey(form, item.file);
      item.url = objectUrl(form.host, item.key);
      item.proof = await this.#proofOf(form, item);
      signal.throwIfAborted();
      this.#setState(item, "sending");
      const answer = await this.#post(item, form, signal);
      signal.throwIfAborted();
      await this.#finish(item, answer, signal);
    } catch (error) {
      if (signal.aborted) return;
      item.error = error instanceof UploadError ? error : new UploadError("unexpected", "page", { message: String(error) });
      const { kind, complete, code, requestId } = item.error;
      const lost = kind === "unreachable" && complete;
      // A browser sends a form again by itself when the connection dies, and finds its own file there.
      const mayBeOurs = code === "FileAlreadyExists" && requestId !== "";
      if (item.proof !== null && (lost || mayBeOurs) && (await this.#ask(item, signal))) return;
      if (signal.aborted) return;
      this.#unanswered.remove(item.proof);
      this.#fail(item);
    } finally {
      if (this.#attempts.get(item) === attempt) this.#attempts.delete(item);
      if (!signal.aborted) this.#emitIdle();
    }
  }

  /** Fetches a form from the server, and a second one if the first has expired meanwhile, as after a laptop's sleep. */
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
      if (await isBlocked(url.origin)) throw new UploadError("blocked", "server", { message: url.origin });
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
        this.#emit("progress", { item });
      });
      request.upload.addEventListener("load", () => {
        if (signal.aborted) return;
        complete = true;
        item.note(1, 1, performance.now() / 1000);
        this.#unanswered.add(item.proof);
        this.#emit("progress", { item });
        this.#setState(item, "answering");
      });
      request.addEventListener("load", () => resolve({ status: request.status, text: request.responseText }));
      request.addEventListener("error", async () => {
        const { origin } = new URL(form.url, globalThis.location?.href);
        if (!complete && (await isBlocked(origin))) {
          reject(new UploadError("blocked", "storage", { message: origin }));
          return;
        }
        const kind = (await isReadable(item.file)) ? "unreachable" : "unreadable";
        reject(new UploadError(kind, "storage", { complete }));
      });
      request.addEventListener("abort", () => reject(signal.reason));
      signal.addEventListener("abort", () => request.abort());

      try {
        request.open("POST", form.url);
        for (const [name, value] of Object.entries(form.headers ?? {})) {
          if (name.toLowerCase() !== "content-type") request.setRequestHeader(name, value); // FormData sets it, with its boundary
        }
        request.send(body);
      } catch (error) {
        reject(new UploadError("unexpected", "server", { message: error.message }));
      }
    });
  }

  async #finish(item, { status, text }, signal) {
    item.status = status;
    if (status < 200 || status > 299) throw new UploadError("refused", "storage", { status, ...storageReason(text) });
    item.sent = item.file.size;
    item.progress = 1;
    if (status === 203) {
      item.error = new UploadError("refused", "storage", { status, ...storageReason(text) });
      if (item.proof !== null && (await this.#ask(item, signal))) return;
      signal.throwIfAborted();
      return item.notStored ? this.#fail(item) : this.#end(item, "untold");
    }
    if (status === 200) item.answer = text;
    this.#unanswered.remove(item.proof);
    this.#end(item, "stored");
  }

  #end(item, state) {
    this.#setState(item, state);
    this.#emit("done", { item });
  }

  #fail(item) {
    item.sent = item.progress = 0;
    this.#setState(item, "failed");
    this.#emit("fail", { item });
  }

  /** Returns what proves that a file was allowed, or null where the server cannot be asked with it. */
  async #proofOf(form, { key, url, file }) {
    const ticket = form.fields.callback;
    if (!ticket || this.recoverUrl === null || form.fields.key.includes("${filename}")) return null;
    return { ticket, key, url, until: Number(form.expire) + TICKET_SECONDS, file: await fingerprint(file) };
  }

  /** Asks again for a file that is `untold` or `unsure`; it is never sent without the person's wish. */
  async #askAgain(item, signal) {
    if ((await this.#ask(item, signal)) || signal.aborted) return;
    if (item.status === 203 && !item.notStored) this.#end(item, "untold");
    else this.#fail(item);
  }

  /**
   * Asks the server for a file that was sent, after 1, 2, 4, 8 and 16 seconds, and returns whether the file has ended:
   * as `stored`, or without an answer as `untold` or `unsure`. False means that asking again is useless: the file is not
   * stored (`item.notStored`), the server does not answer such questions, or the attempt was cancelled.
   *
   * Meanwhile another file may be sent.
   */
  async #ask(item, signal) {
    this.#active -= 1;
    this.#pump();
    try {
      return await this.#askRepeatedly(item, signal);
    } finally {
      this.#active += 1;
    }
  }

  async #askRepeatedly(item, signal) {
    const { proof } = item;
    const isStored = item.status === 203;
    item.key = proof.key;
    item.url = proof.url;
    this.#setState(item, "asking");
    let absences = 0;
    for (const delay of RECOVERY_DELAYS) {
      await pause(delay, signal);
      if (signal.aborted) return false;
      const answer = await this.#recover(proof, signal);
      if (signal.aborted) return false;
      if (answer.stored) {
        this.#unanswered.remove(proof);
        Object.assign(item, { answer: answer.text, error: null, sent: item.file.size, progress: 1 });
        this.#end(item, "stored");
        return true;
      }
      absences = answer.absent ? absences + 1 : 0;
      item.notStored = absences >= (isStored ? 1 : NOT_STORED_TWICE);
      if (item.notStored || answer.useless) {
        this.#unanswered.remove(proof);
        item.proof = null;
        return false;
      }
    }
    item.error ??= new UploadError("unreachable", "server", { complete: true });
    if (isStored) {
      this.#end(item, "untold");
    } else {
      this.#setState(item, "unsure");
      this.#emit("fail", { item });
    }
    return true;
  }

  /** Asks once: `stored` with the application's `text`; `absent`; `useless`, when asking again changes nothing; or {}. */
  async #recover({ ticket, key }, signal) {
    const page = globalThis.document?.baseURI ?? globalThis.location?.href;
    const url = this.recoverUrl === undefined
      ? new URL("recover", new URL(this.serverUrl, page))
      : new URL(this.recoverUrl, page);
    try {
      const response = await this.fetch(url.href, {
        method: "POST",
        headers: { Accept: "application/json", "Content-Type": "application/json" },
        body: JSON.stringify({ ticket, object: key }),
        cache: "no-store",
        signal,
      });
      const text = await response.text();
      const answer = parseJson(text);
      if (response.ok) return answer === null ? { useless: true } : { stored: true, text };
      if (response.status === 404 && serverReason(answer).code === "not_stored") return { absent: true };
      return { useless: response.status < 500 && response.status !== 408 && response.status !== 429 };
    } catch {
      return {};
    }
  }

  #setState(item, state) {
    const previous = item.state;
    item.state = state;
    this.#emit("state", { item, previous });
  }

  #emitIdle() {
    if (!this.running) this.#emit("idle", {});
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Returns the object's name. OSS replaces `${filename}` in the key by the file's name. */
function objectKey(form, file) {
  return form.fields.key.replaceAll("${filename}", () => file.name);
}

/** Returns the URL of the object, or "" if `host` is no web address. */
export function objectUrl(host, key) {
  if (!/^https?:\/\//i.test(host ?? "")) return "";
  return `${host.replace(/\/+$/, "")}/${key.split("/").map(encodeSegment).join("/")}`;
}

function encodeSegment(segment) {
  const text = segment.toWellFormed?.() ?? segment;
  return encodeURIComponent(text).replace(/['()*!]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

/**
 * Returns a function that returns the seconds until a signature expires. It uses the server's Date header if the page can
 * read it: `expire` is the server's time, and a browser's clock may be wrong by hours.
 */
function countdown(expire, date) {
  const received = performance.now();
  const now = Date.parse(date ?? "") || Date.now();
  const life = Number(expire) - now / 1000;
  return () => (Number.isFinite(life) ? life - (performance.now() - received) / 1000 : Infinity);
}

/** The files that were sent and have no answer yet, noted in a storage that outlives a reload of the page. */
class Unanswered {
  #storage;

  constructor(storage) {
    try {
      this.#storage = storage === undefined ? globalThis.sessionStorage : storage; // it throws in a sandboxed frame
    } catch {
      this.#storage = null;
    }
    this.#storage ??= new Memory();
  }

  get isEmpty() {
    return this.#read().length === 0;
  }

  /** Returns the proof of the same file as was sent before, or null. */
  async find(file) {
    const wanted = await fingerprint(file);
    return this.#read().find((proof) => proof.file === wanted) ?? null;
  }

  add(proof) {
    if (proof) this.#write([...this.#read().filter(({ key }) => key !== proof.key), proof]);
  }

  remove(proof) {
    if (proof) this.#write(this.#read().filter(({ key }) => key !== proof.key));
  }

  #read() {
    try {
      const proofs = JSON.parse(this.#storage.getItem(PENDING) ?? "[]");
      return proofs.filter(({ key, ticket, file, until }) => key && ticket && file && until > Date.now() / 1000);
    } catch {
      return [];
    }
  }

  #write(proofs) {
    try {
      if (proofs.length > 0) this.#storage.setItem(PENDING, JSON.stringify(proofs));
      else this.#storage.removeItem(PENDING);
    } catch {
      // A full storage forgets: then the file is sent again after a reload.
    }
  }
}

/** Stands in for a storage until the page is left: a cancelled file is asked for, too, before it is sent again. */
class Memory {
  #texts = new Map();

  getItem(name) {
    return this.#texts.get(name) ?? null;
  }

  setItem(name, text) {
    this.#texts.set(name, text);
  }

  removeItem(name) {
    this.#texts.delete(name);
  }
}

/** Returns a text that is the same for the same file chosen again: by its content, or for a large file by its time. */
async function fingerprint(file) {
  let content = file.lastModified;
  if (file.size <= LARGEST_COMPARED) {
    try {
      content = hash(new Uint8Array(await file.arrayBuffer()));
    } catch {
      // An unreadable file fails when it is sent.
    }
  }
  return JSON.stringify([file.name, file.size, file.type, content]);
}

/** FNV-1a with two primes, 64 bits in hex: crypto.subtle exists on https only. */
function hash(bytes) {
  let [a, b] = [0x811c9dc5, 0x01234567];
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x85ebca6b) ^ (b >>> 15);
  }
  return [a, b].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}

function pause(seconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
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

/** Reads OSS's error XML. DOMParser would write an inline style for malformed XML, which a strict CSP reports. */
function storageReason(text) {
  const read = (name) => unescapeXml(new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1].trim() ?? "");
  return { code: read("Code"), message: read("Message"), ec: read("EC"), requestId: read("RequestId") };
}

const MARKS = { lt: "<", gt: ">", quot: '"', apos: "'", "#34": '"', "#39": "'", amp: "&" };

function unescapeXml(text) {
  return text.replace(/&(lt|gt|quot|apos|amp|#34|#39);/g, (_, mark) => MARKS[mark]);
}

/** Checks whether a file can still be read: browsers report a moved or changed file as a network error. */
async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** The origins to which the page's Content-Security-Policy has forbidden a request. */
const blockedOrigins = new Set();

globalThis.document?.addEventListener("securitypolicyviolation", ({ effectiveDirective, disposition, blockedURI }) => {
  if (effectiveDirective !== "connect-src" || disposition !== "enforce") return;
  try {
    blockedOrigins.add(new URL(blockedURI).origin);
  } catch {
    // Such as "inline", which is no address.
  }
});

/** Checks whether the policy is the reason of an error; the browser may report it just after the error. */
async function isBlocked(origin) {
  if (!blockedOrigins.has(origin)) await new Promise((resolve) => setTimeout(resolve));
  return blockedOrigins.has(origin);
}

const CHOOSER = "input[type=file][data-oss-upload]";
let rest = null;
let attempts = 0;

/** Loads what an input needs. Some browsers remember that an address failed, so a further attempt has another one. */
function loadRest() {
  rest ??= (attempts++ === 0 ? import("./input.js") : import(`./input.js?attempt=${attempts}`)).catch((error) => {
    rest = null;
    throw error;
  });
  return rest;
}

/** The last choice of each input: one that comes while the rest is loaded replaces the one before. */
const lastChoices = new WeakMap();

/** Calls a function of the rest for an input; where the rest cannot be loaded, the output of the input says so. */
async function withRest(input, name) {
  const choice = {};
  lastChoices.set(input, choice);
  let functions;
  try {
    functions = await loadRest();
  } catch {
    const output = outputOf(input);
    if (output) output.textContent = input.files.length > 0 ? NOT_LOADED : "";
    return;
  }
  if (lastChoices.get(input) === choice) functions[name](input, Uploader, SERVER_URL, outputOf);
}

/** Returns the `<output for="...">` that names the input, or one that follows it directly. */
function outputOf(input) {
  const named = input.id && [...document.querySelectorAll("output")].find((output) => output.htmlFor.contains(input.id));
  return named || (input.nextElementSibling?.localName === "output" ? input.nextElementSibling : null);
}

globalThis.document?.addEventListener("change", ({ target }) => {
  if (target.matches?.(CHOOSER)) withRest(target, "uploadChosen");
});

// A person may choose before a slow network has brought this module, and browsers put choices back. The rest is loaded
// now: when a file is chosen the network may be gone.
for (const input of globalThis.document?.querySelectorAll(CHOOSER) ?? []) withRest(input, "uploadHeld");
