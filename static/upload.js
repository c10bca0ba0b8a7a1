/** Uploads files from the browser to Alibaba Cloud OSS. `upload.d.ts` describes every name. */

/** The server replaces this line where it serves the module beside the signature. */
const SERVER_URL = "oss/signature";

// In seconds.
const RATE_WINDOW = 5;
const EXPIRY_MARGIN = 3;
const RETRY_DELAYS = [2, 5, 10, 20, 40];

/** How often a server may answer with Retry-After before a file fails. */
const MOST_WAITS = 50;

/** Shown if the texts themselves cannot be loaded. */
const NOT_LOADED = {
  ar: "تعذّر الوصول إلى الخادم. تحقّق من الاتصال واختر الملف مرة أخرى.",
  de: "Der Server ist nicht erreichbar. Prüfen Sie die Verbindung und wählen Sie die Datei erneut.",
  en: "The server could not be reached. Check the connection and choose the file again.",
  es: "No se pudo conectar con el servidor. Compruebe la conexión y elija el archivo de nuevo.",
  fr: "Le serveur est injoignable. Vérifiez la connexion et choisissez de nouveau le fichier.",
  ja: "サーバーに接続できません。接続を確認して、ファイルを選び直してください。",
  ko: "서버에 연결할 수 없습니다. 연결을 확인하고 파일을 다시 선택하세요.",
  pt: "Não foi possível acessar o servidor. Verifique a conexão e escolha o arquivo de novo.",
  ru: "Сервер недоступен. Проверьте соединение и выберите файл снова.",
  zh: "无法连接服务器。请检查网络，然后重新选择文件。",
};

function notLoaded() {
  const tags = [...(globalThis.navigator?.languages ?? []), "en"].map((tag) => tag.toLowerCase().split("-")[0]);
  return NOT_LOADED[tags.find((tag) => Object.hasOwn(NOT_LOADED, tag))];
}

const SMALLEST_PART = 102_400;

const PENDING = "oss-wsgi-unanswered";
const RUNNING = ["waiting", "preparing", "signing", "sending", "answering", "asking", "retrying"];
const NO_FACTS = { status: 0, code: "", ec: "", requestId: "", complete: false, retryAfter: null, limit: null };

export class UploadError extends Error {
  constructor(kind, stage, { message = "", ...facts } = {}) {
    super(message || facts.code || kind);
    this.name = "UploadError";
    Object.assign(this, NO_FACTS, { kind, stage, reason: message }, facts);
  }

  get passing() {
    const { kind, status, code, ec, reason, complete } = this;
    if (kind !== "refused") return kind === "unreachable" && !complete;
    if (status >= 500 || status === 429 || status === 408) return true;
    return ec === "0006-00000213" || /expired/i.test(code + reason) || code === "RequestTimeout";
  }
}

export class UploadItem {
  #samples = [];

  constructor(id, file, path = file.webkitRelativePath || "") {
    Object.assign(this, { id, file, path, state: "queued", prepared: false, upload: null, resumable: null });
    this.reset();
  }

  reset() {
    Object.assign(this, { sent: 0, progress: 0, complete: false, key: "", url: "", status: 0, answer: "" });
    Object.assign(this, { error: null, proof: null, notStored: false, retryAt: null, untold: false });
    this.#samples = [];
  }

  /** The proof of the stored file, for a form: the member `signed_id` of the answer. */
  get signedId() {
    const { signed_id: signedId } = parseJson(this.answer) ?? {};
    return typeof signedId === "string" ? signedId : "";
  }

  get canAsk() {
    return this.proof !== null && (this.state === "untold" || this.state === "unsure");
  }

  get canRetry() {
    const { state, error } = this;
    return state === "failed" ? error?.limit == null : state === "cancelled" || state === "retrying" || this.canAsk;
  }

  get canPause() {
    return this.upload !== null && (this.state === "sending" || this.state === "retrying");
  }

  get running() {
    return RUNNING.includes(this.state);
  }

  get ended() {
    return !this.running && this.state !== "queued" && this.state !== "paused";
  }

  get retryIn() {
    return this.retryAt === null ? 0 : Math.max(0, (this.retryAt - performance.now()) / 1000);
  }

  async explain(languages = navigator.languages) {
    const { explainItem, loadWords } = await import("./words.js");
    return explainItem(this, await loadWords([languages].flat()));
  }

  note(loaded, total) {
    const seconds = performance.now() / 1000;
    this.progress = total > 0 ? Math.min(1, loaded / total) : 0;
    this.sent = Math.round(this.file.size * this.progress);
    this.#samples.push([seconds, this.sent]);
    while (this.#samples.length > 2 && this.#samples[0][0] < seconds - RATE_WINDOW) this.#samples.shift();
  }

  rate(seconds = performance.now() / 1000) {
    if (this.state !== "sending" || this.#samples.length < 2) return 0;
    const [since, before] = this.#samples[0];
    const elapsed = seconds - since;
    return elapsed > 0.25 ? (this.sent - before) / elapsed : 0;
  }
}

export class Uploader extends EventTarget {
  #items = [];
  #waiting = [];
  #attempts = new Map();
  #wakers = new Map();
  #active = 0;
  #lastId = 0;
  #storage;
  #recovery;
  #limits;
  #known = {};
  #exhausted = false;
  #tools = {
    server: () => this.#endpoint("", this.serverUrl).href,
    partSize: () => this.#known.part_size,
    call: (path, ...rest) => this.#call(new URL(this.#endpoint("s3/multipart").href + path), ...rest),
    transfer: (request) => this.#transfer(request).then((answer) => {
      if (answer.status !== 200) throw refusal(answer);
      if (!answer.etag) throw new UploadError("exposed", "storage");
      return answer.etag;
    }),
    emit: (type, item) => this.#emit(type, { item }),
    setState: (item, state) => this.#setState(item, state),
    rest: (...rest) => this.#rest(...rest),
  };

  constructor({
    serverUrl = SERVER_URL,
    recoverUrl,
    limitsUrl,
    concurrency = 3,
    prepare,
    headers,
    storage,
    fetch = (...request) => globalThis.fetch(...request),
    XMLHttpRequest = globalThis.XMLHttpRequest,
  } = {}) {
    super();
    Object.assign(this, { serverUrl, recoverUrl, limitsUrl, prepare, headers, fetch, XMLHttpRequest });
    this.concurrency = Math.max(1, concurrency);
    try {
      storage = storage === undefined ? globalThis.sessionStorage : storage;
    } catch {
      storage = null; // in a sandboxed frame
    }
    this.#storage = storage ?? memory();
  }

  get items() {
    return [...this.#items];
  }

  get running() {
    return this.#items.some((item) => item.running);
  }

  get totals() {
    const names = "files bytes sent rate queued queuedBytes running stored untold unsure failed cancelled paused";
    const totals = Object.fromEntries(names.split(" ").map((name) => [name, 0]));
    for (const item of this.#items) {
      const { state, file } = item;
      totals[item.running ? "running" : state] += 1;
      if (state === "queued") totals.queuedBytes += file.size;
      if (state === "queued" || state === "cancelled") continue;
      totals.files += 1;
      totals.bytes += file.size;
      totals.sent += item.sent;
      totals.rate += item.rate();
    }
    return totals;
  }

  limits() {
    this.#limits ??= this.#askForLimits().then((limits) => {
      if (limits === undefined) this.#limits = undefined;
      this.#known = limits ?? {};
      for (const item of this.#items) if (item.state === "queued") this.#check(item);
      return limits ?? null;
    });
    return this.#limits;
  }

  add(files) {
    return Array.from(files).map((entry) => {
      const { file, path } = entry instanceof Blob ? { file: entry } : entry;
      const item = new UploadItem(++this.#lastId, file, path);
      this.#items.push(item);
      this.#emit("add", { item });
      this.#check(item);
      if (file.size >= SMALLEST_PART && item.state === "queued") this.#offer(item);
      return item;
    });
  }

  start(items = this.#items) {
    const started = items.filter((item) => item.state === "queued");
    for (const item of started) this.#enqueue(item);
    this.#pump();
    return started;
  }

  cancel(item) {
    if (!item.running && item.state !== "paused") return false;
    item.complete = item.state === "answering" || item.state === "asking";
    item.sent = item.progress = 0;
    this.#halt(item, "cancelled");
    if (item.upload) this.#parts().then(({ abortParts }) => abortParts(item, this.#tools));
    return true;
  }

  pause(item) {
    if (item.canPause) this.#halt(item, "paused");
    return item.state === "paused";
  }

  resume(item) {
    if (item.state !== "paused" && (item.state !== "queued" || !item.resumable || item.resumable.isChanged)) return false;
    item.upload ??= item.resumable;
    this.#enqueue(item);
    this.#pump();
    return true;
  }

  #halt(item, state) {
    const attempt = this.#attempts.get(item);
    this.#attempts.delete(item);
    this.#waiting = this.#waiting.filter((other) => other !== item);
    this.#setState(item, state);
    if (state === "cancelled") this.#emit("cancel", { item });
    attempt?.abort();
    this.#emitIdle();
  }

  /** Sends a file again, or now if it waits. A stored one is never sent twice: the server is asked again. */
  retry(item) {
    if (!item.canRetry) return false;
    if (item.state === "retrying") {
      for (const wake of [...this.#wakers.get(item)]) wake();
      return true;
    }
    if (!item.canAsk) item.reset();
    this.#enqueue(item);
    this.#pump();
    return true;
  }

  remove(item) {
    if (!this.#items.includes(item)) return false;
    this.cancel(item);
    this.#items = this.#items.filter((other) => other !== item);
    this.#emit("remove", { item });
    return true;
  }

  #enqueue(item) {
    this.#exhausted = false;
    item.resumable = null;
    this.#waiting.push(item);
    this.#setState(item, "waiting");
  }

  #pump() {
    while (this.#active < this.concurrency && this.#waiting.length > 0) {
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
      if (item.proof) return await this.#askAgain(item, signal);
      if (this.#storage.getItem(PENDING)) {
        // It may have been sent before a reload.
        item.proof = (await (await this.#loadRecovery())?.find(item.file)) ?? null;
        signal.throwIfAborted();
        if (item.proof && (await this.#ask(item, signal))) return;
        signal.throwIfAborted();
        item.reset();
      }
      for (let tries = 0, waits = 0; await this.#fails(item, signal); item.reset()) {
        const { passing, retryAfter, isFinal } = item.error;
        const mayPass = (passing || (item.notStored && !item.untold)) && !isFinal;
        const isPatience = retryAfter !== null && waits++ < MOST_WAITS;
        if (!mayPass || this.#exhausted || (!isPatience && tries >= RETRY_DELAYS.length)) {
          this.#exhausted ||= mayPass; // the files behind it do not wait for the same failure again
          return this.#fail(item);
        }
        const delay = isPatience ? retryAfter : RETRY_DELAYS[tries++] * (1 + Math.random() / 5);
        await this.#rest(item, item.error, delay, signal, () => this.#setState(item, "retrying"));
        signal.throwIfAborted();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      if (this.#attempts.get(item) === attempt) this.#attempts.delete(item);
      if (!signal.aborted) this.#emitIdle();
    }
  }

  async #fails(item, signal) {
    try {
      if (this.prepare && !item.prepared) await this.#prepare(item, signal);
      const exclusion = this.#exclusion(item.file);
      if (exclusion) throw exclusion;
      if (item.file.size >= SMALLEST_PART || item.upload) await this.limits();
      this.#setState(item, "signing");
      if (item.upload || item.file.size >= (this.#known.multipart_from ?? Infinity)) {
        Object.assign(item, await (await this.#parts()).sendParts(item, this.#tools, signal));
        this.#exhausted = false;
        this.#end(item, "stored");
        return false;
      }
      const form = await this.#sign(item, signal);
      signal.throwIfAborted();
      item.key = form.fields.key.replaceAll("${filename}", () => item.file.name);
      item.url = objectUrl(form.host, item.key);
      const recovery = (form.ticket || form.fields.callback) && this.recoverUrl !== null && (await this.#loadRecovery());
      if (form.ticket && recovery === null) throw new UploadError("unreachable", "server");
      item.proof = recovery ? await recovery.proofOf(form, item) : null;
      signal.throwIfAborted();
      this.#setState(item, "sending");
      return await this.#finish(item, await this.#post(item, form, signal), signal, form.ticket);
    } catch (error) {
      signal.throwIfAborted();
      item.error = error instanceof UploadError ? error : new UploadError("unexpected", "page", { message: String(error) });
      const { kind, complete, code, requestId } = item.error;
      // A browser sends a form again when the connection dies, and finds its own file there.
      const mayBeStored = (kind === "unreachable" && complete) || (code === "FileAlreadyExists" && requestId);
      if (item.proof && mayBeStored && (await this.#ask(item, signal))) return false;
      signal.throwIfAborted();
      await this.#forget(item);
      return true;
    }
  }

  #rest(item, error, seconds, signal, show) {
    return new Promise((resolve) => {
      let timer;
      const end = new AbortController();
      const wakers = this.#wakers.get(item) ?? new Set();
      const plan = (delay) => {
        clearTimeout(timer);
        item.error = error;
        item.retryAt = performance.now() + delay * 1000;
        if (delay < Infinity) timer = setTimeout(wake, delay * 1000);
        show();
      };
      const wake = () => {
        clearTimeout(timer);
        end.abort();
        wakers.delete(wake);
        item.retryAt = null;
        resolve();
      };
      const on = (target, type, listener) => target.addEventListener?.(type, listener, end);
      this.#wakers.set(item, wakers.add(wake));
      on(signal, "abort", wake);
      on(globalThis, "online", wake);
      on(globalThis, "offline", () => plan(Infinity));
      plan(error.kind === "unreachable" && globalThis.navigator?.onLine === false ? Infinity : seconds);
    });
  }

  async #prepare(item, signal) {
    const { file } = item;
    this.#setState(item, "preparing");
    try {
      const made = (await this.prepare(file)) ?? file;
      item.file = made instanceof File ? made : new File([made], file.name, { type: made.type });
    } catch (error) {
      throw new UploadError("unprepared", "page", { message: error?.message ?? String(error) });
    }
    signal.throwIfAborted();
    item.prepared = true;
  }

  #check(item) {
    item.error = this.prepare ? null : this.#exclusion(item.file);
    if (item.error) this.#fail(item);
  }

  #exclusion({ size, type }) {
    const { max_size: max, min_size: min, content_types: types } = this.#known;
    const exclude = (code, limit) => new UploadError("refused", "page", { code, limit });
    if (size > max) return exclude("too_large", max);
    if (size < min) return exclude("too_small", min);
    return types?.length && type && !types.includes(type.toLowerCase()) ? exclude("type_not_allowed", types) : null;
  }

  #endpoint(name, url) {
    const page = globalThis.document?.baseURI ?? globalThis.location?.href;
    return url == null ? new URL(name, new URL(this.serverUrl, page)) : new URL(url, page);
  }

  async #call(url, options, isRight = (answer) => answer !== null) {
    const own = typeof this.headers === "function" ? this.headers() : this.headers;
    const headers = { Accept: "application/json", ...(options.body && { "Content-Type": "application/json" }), ...own };
    let response, text;
    try {
      response = await this.fetch(url.href, { cache: "no-store", ...options, headers });
      text = await response.text();
    } catch (error) {
      if (await isBlocked(url.origin)) throw new UploadError("blocked", "server", { message: url.origin });
      throw new UploadError("unreachable", "server", { message: error.message });
    }
    const answer = parseJson(text);
    const { status } = response;
    if (!response.ok) {
      const retryAfter = secondsIn(response.headers.get("Retry-After"));
      throw new UploadError("refused", "server", { status, retryAfter, ...serverReason(answer) });
    }
    if (!isRight(answer)) throw new UploadError("unexpected", "server", { status });
    return { answer, text, response };
  }

  async #askForLimits() {
    if (this.limitsUrl === null) return null;
    try {
      return (await this.#call(this.#endpoint("limits", this.limitsUrl), {}, (answer) => answer?.max_size > 0)).answer;
    } catch (error) {
      const { kind, status } = (this.limitsError = error);
      return kind === "unexpected" || status === 404 || status === 405 ? null : undefined;
    }
  }

  /** Fetches a form, and a second one if the first has expired meanwhile, as after a laptop's sleep. */
  async #sign({ file, path }, signal) {
    const url = this.#endpoint("", this.serverUrl);
    const parameters = { filename: file.name, content_type: file.type, size: String(file.size) };
    if (path.includes("/")) parameters.relative_path = path;
    for (const [name, value] of Object.entries(parameters)) if (value) url.searchParams.set(name, value);
    const isForm = (answer) => typeof answer?.url === "string" && typeof answer.fields?.key === "string";
    const ask = () => this.#call(url, { signal }, isForm);
    const first = await ask();
    return (secondsLeft(first) > EXPIRY_MARGIN ? first : await ask()).answer;
  }

  #parts() {
    return import("./parts.js").catch((error) => {
      throw new UploadError("unreachable", "server", { message: error.message });
    });
  }

  async #offer(item) {
    if ((await this.limits())?.multipart_from <= item.file.size) (await this.#parts()).offer(item, this.#tools);
  }

  #post(item, form, signal) {
    const body = new FormData();
    for (const [name, value] of Object.entries(form.fields)) body.append(name, value);
    body.append("file", item.file, item.file.name);
    const progress = (loaded, total) => {
      item.note(loaded, total);
      this.#emit("progress", { item });
    };
    const sent = async () => {
      progress(1, 1);
      this.#setState(item, "answering");
      if (item.proof) (await this.#recovery)?.add(item.proof);
    };
    return this.#transfer({ method: "POST", url: form.url, headers: form.headers, body, file: item.file, progress, sent, signal });
  }

  #transfer({ method, url, headers, body, file, progress, sent, signal }) {
    return new Promise((resolve, reject) => {
      const request = new this.XMLHttpRequest();
      let complete = false;
      request.upload.addEventListener("progress", ({ loaded, total }) => signal.aborted || progress(loaded, total));
      request.upload.addEventListener("load", () => {
        complete = true;
        if (!signal.aborted) sent?.();
      });
      request.addEventListener("load", () => {
        // To ask for a header that the bucket does not expose is an error in the console.
        const all = request.getAllResponseHeaders?.() ?? "";
        const header = (name) => new RegExp(`^${name}: *(.+?) *$`, "im").exec(all)?.[1];
        const { status, responseText: text } = request;
        resolve({ status, text, retryAfter: secondsIn(header("retry-after")), etag: header("etag") });
      });
      request.addEventListener("error", async () => {
        const { origin } = new URL(url, globalThis.location?.href);
        if (!complete && (await isBlocked(origin))) {
          reject(new UploadError("blocked", "storage", { message: origin }));
          return;
        }
        // Browsers report a moved or changed file as a network error.
        const kind = await file.slice(0, 1).arrayBuffer().then(() => "unreachable", () => "unreadable");
        reject(new UploadError(kind, "storage", { complete }));
      });
      request.addEventListener("abort", () => reject(signal.reason));
      signal.addEventListener("abort", () => request.abort());

      try {
        signal.throwIfAborted();
        request.open(method, url);
        for (const [name, value] of Object.entries(headers ?? {})) {
          if (method !== "POST" || name.toLowerCase() !== "content-type") request.setRequestHeader(name, value);
        }
        request.send(body);
      } catch (error) {
        reject(new UploadError("unexpected", "server", { message: error.message }));
      }
    });
  }

  async #finish(item, answer, signal, ticket) {
    signal.throwIfAborted();
    const { status, text } = answer;
    item.status = status;
    const error = refusal(answer);
    if (status < 200 || status > 299) throw error;
    this.#exhausted = false;
    item.untold = Boolean(ticket) || status === 203;
    Object.assign(item, { sent: item.file.size, progress: 1, error: item.untold ? error : null });
    if (!item.untold) {
      if (status === 200) item.answer = text;
      await this.#forget(item);
      this.#end(item, "stored");
    } else if (!item.proof || !(await this.#ask(item, signal))) {
      signal.throwIfAborted();
      if (item.notStored) return true;
      this.#end(item, "untold");
    }
    return false;
  }

  #end(item, state) {
    this.#setState(item, state);
    this.#emit("done", { item });
  }

  #fail(item, state = "failed") {
    if (state === "failed" && !item.upload) item.sent = item.progress = 0;
    this.#setState(item, state);
    this.#emit("fail", { item });
  }

  #loadRecovery() {
    this.#recovery ??= import("./recovery.js").then(
      ({ Recovery }) => new Recovery(this.#storage, PENDING),
      () => (this.#recovery = null),
    );
    return this.#recovery;
  }

  async #forget({ proof }) {
    if (proof) (await this.#recovery)?.remove(proof);
  }

  async #askAgain(item, signal) {
    if ((await this.#ask(item, signal)) || signal.aborted) return;
    if (item.untold && !item.notStored) this.#end(item, "untold");
    else this.#fail(item);
  }

  /** Reports a sent file, or asks for it; returns whether its upload is over. */
  async #ask(item, signal) {
    this.#active -= 1;
    this.#pump();
    try {
      const recovery = await this.#loadRecovery();
      const url = this.#endpoint("recover", this.recoverUrl);
      const call = (body) => this.#call(url, { method: "POST", body, signal });
      const answer = await recovery?.ask(item, signal, call, () => this.#setState(item, "asking"));
      if (answer === undefined || signal.aborted) return false;
      if (answer !== null) {
        Object.assign(item, { answer, error: null, sent: item.file.size, progress: 1 });
        this.#end(item, "stored");
      } else if (item.untold) {
        this.#end(item, "untold");
      } else {
        item.error ??= new UploadError("unreachable", "server", { complete: true });
        this.#fail(item, "unsure");
      }
      return true;
    } finally {
      this.#active += 1;
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

export function objectUrl(host, key) {
  if (!/^https?:/i.test(host ?? "")) return "";
  return `${host.replace(/\/+$/, "")}/${key.split("/").map(encodeSegment).join("/")}`;
}

function encodeSegment(segment) {
  const text = segment.toWellFormed?.() ?? segment;
  return encodeURIComponent(text).replace(/['()*!]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** By the server's clock if it can be read: the browser's may be wrong. */
function secondsLeft({ answer: { expire }, response }) {
  const now = Date.parse(response.headers.get("Date") ?? "") || Date.now();
  return Number.isFinite(Number(expire)) ? Number(expire) - now / 1000 : Infinity;
}

function secondsIn(text) {
  const seconds = Number(text || NaN) || (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) ? Math.max(1, seconds) : null;
}

function memory() {
  const texts = new Map();
  return {
    getItem: (name) => texts.get(name) ?? null,
    setItem: (name, text) => texts.set(name, text),
    removeItem: (name) => texts.delete(name),
  };
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

function refusal({ status, text, retryAfter }) {
  return new UploadError("refused", "storage", { status, retryAfter, ...storageReason(text) });
}

/** DOMParser would write an inline style for malformed XML, which a strict CSP reports. */
function storageReason(text) {
  const marks = { lt: "<", gt: ">", quot: '"', apos: "'", "#34": '"', "#39": "'", amp: "&" };
  const read = (name) => (new RegExp(`<${name}>([^<]*)</${name}>`).exec(text)?.[1].trim() ?? "")
    .replace(/&(lt|gt|quot|apos|amp|#34|#39);/g, (_, mark) => marks[mark]);
  return { code: read("Code"), message: read("Message"), ec: read("EC"), requestId: read("RequestId") };
}

const blockedOrigins = new Set();

globalThis.document?.addEventListener("securitypolicyviolation", ({ effectiveDirective, disposition, blockedURI }) => {
  if (effectiveDirective !== "connect-src" || disposition !== "enforce") return;
  if (/^http/.test(blockedURI)) blockedOrigins.add(new URL(blockedURI).origin);
});

async function isBlocked(origin) {
  await new Promise((resolve) => setTimeout(resolve)); // it may be reported just after the error
  return blockedOrigins.has(origin);
}

const CHOOSER = "input[type=file][data-oss-upload]";
let failures = 0;

const lastChoices = new WeakMap();

async function withRest(input, name) {
  const choice = {};
  lastChoices.set(input, choice);
  try {
    // Some browsers remember that an address failed, so each further attempt uses another one.
    const rest = await (failures === 0 ? import("./input.js") : import(`./input.js?attempt=${failures}`));
    const words = await rest.wordsOf(input);
    if (lastChoices.get(input) === choice) rest[name](input, Uploader, SERVER_URL, outputOf, words);
  } catch {
    failures += 1;
    const output = outputOf(input);
    if (output) output.textContent = input.files.length > 0 ? notLoaded() : "";
  }
}

function outputOf(input) {
  const outputs = [...input.getRootNode().querySelectorAll("output")];
  const named = input.id && outputs.find((output) => output.htmlFor.contains(input.id));
  return named || (input.nextElementSibling?.localName === "output" ? input.nextElementSibling : null);
}

// A change inside a shadow root does not leave it, but the `input` event before it does.
for (const type of ["change", "input"]) {
  globalThis.document?.addEventListener(type, (event) => {
    const [input] = event.composedPath();
    if ((type === "change") === (input === event.target) && input.matches?.(CHOOSER)) withRest(input, "uploadChosen");
  });
}

function takeOverForms() {
  if (!globalThis.document?.querySelector("script[data-forms]")) return;
  import("./forms.js").then((rest) => rest.takeOver(Uploader, SERVER_URL)).catch(() => {});
}

takeOverForms();
globalThis.document?.addEventListener("DOMContentLoaded", takeOverForms);

// Files may have been chosen already, and later the network may be gone.
for (const input of globalThis.document?.querySelectorAll(CHOOSER) ?? []) withRest(input, "uploadHeld");
