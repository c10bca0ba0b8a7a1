/** `fetch` and `XMLHttpRequest`: each request is answered, refused or held as a test says. */

{
  const FAILED = "Failed to fetch";

  /** A request that is on its way. */
  class Exchange {
    isOpen = true;
    isComplete = false;

    constructor(method, url, headers, body) {
      const { origin, pathname: path, searchParams } = new URL(url, location.href);
      Object.assign(this, {
        method: method.toUpperCase(),
        url: String(url),
        origin,
        path,
        query: Object.fromEntries(searchParams),
        body,
      });
      this.headers = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]));
    }

    get json() {
      return JSON.parse(this.body);
    }

    /** The fields of a form; its file is a File. */
    get fields() {
      return Object.fromEntries(this.body.entries.map(({ name, value }) => [name, value]));
    }

    /** Sends this share of the body. */
    progress(share) {
      if (this.isOpen && !this.isComplete) this.onProgress?.(Math.round(this.total * share), this.total);
    }

    /** Sends the last byte of the body. */
    complete() {
      if (!this.isOpen || this.isComplete) return;
      this.progress(1);
      this.isComplete = true;
      this.onComplete?.();
    }

    reply(status, text = "", headers = {}) {
      this.complete();
      task(() => this.#end(() => this.onReply(status, text, headers)));
    }

    /** Ends the connection, as if the network were gone. */
    fail() {
      task(() => this.#end(() => this.onFail()));
    }

    /** The page's Content-Security-Policy does not allow it; the browser reports that just after the error. */
    block(details = {}) {
      this.fail();
      const violation = { effectiveDirective: "connect-src", disposition: "enforce", blockedURI: this.url, ...details };
      task(() => document.dispatchEvent(new Event("securitypolicyviolation", violation)));
    }

    cancel() {
      this.isCancelled = this.isOpen;
      this.isOpen = false;
    }

    #end(act) {
      if (!this.isOpen) return;
      this.isOpen = false;
      act();
    }
  }

  globalThis.network = {
    /** All requests, the oldest first. */
    sent: [],
    /** Answers one; `cloud.js` sets it. */
    answer: (exchange) => exchange.fail(),
    begin(exchange) {
      network.sent.push(exchange);
      task(() => {
        if (navigator.onLine) network.answer(exchange);
        else exchange.fail();
      });
    },
  };

  globalThis.fetch = (url, { method = "GET", headers = {}, body, signal, ...options } = {}) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) throw signal.reason;
      const exchange = new Exchange(method, url, headers, body);
      exchange.options = options;
      exchange.onFail = () => reject(new TypeError(FAILED));
      exchange.onReply = (status, text, all) => {
        const found = Object.entries(all).map(([name, value]) => [name.toLowerCase(), value]);
        const get = (name) => new Map(found).get(name.toLowerCase()) ?? null;
        const read = async () => {
          if (text instanceof Error) throw text;
          signal?.throwIfAborted();
          return text;
        };
        resolve({
          status,
          ok: status >= 200 && status <= 299,
          headers: { get },
          text: read,
          json: async () => JSON.parse(await read()),
        });
      };
      signal?.addEventListener("abort", () => {
        exchange.cancel();
        reject(signal.reason);
      });
      network.begin(exchange);
    });

  globalThis.XMLHttpRequest = class extends EventTarget {
    upload = new EventTarget();
    status = 0;
    responseText = "";
    #opened = null;
    #headers = {};
    #answered = {};
    #exchange = null;

    open(method, url) {
      try {
        new URL(url, location.href);
      } catch {
        throw new DOMException(`Failed to execute 'open' on 'XMLHttpRequest': Invalid URL`, "SyntaxError");
      }
      this.#opened = { method, url };
    }

    setRequestHeader(name, value) {
      if (!this.#opened) throw new DOMException("The object's state must be OPENED.", "InvalidStateError");
      this.#headers[name] = value;
    }

    getAllResponseHeaders() {
      return Object.entries(this.#answered)
        .map(([name, value]) => `${name.toLowerCase()}: ${value}\r\n`)
        .sort()
        .join("");
    }

    send(body) {
      const { method, url } = this.#opened;
      const exchange = (this.#exchange = new Exchange(method, url, this.#headers, body));
      exchange.total = body?.size ?? 0;
      const tell = (target, type, rest) => target.dispatchEvent(new Event(type, rest));
      const isGone = [body, ...(body?.entries ?? []).map(({ value }) => value)].some((part) => part?.whole?.isGone);
      exchange.onProgress = (loaded, total) => tell(this.upload, "progress", { lengthComputable: true, loaded, total });
      exchange.onComplete = () => tell(this.upload, "load", { loaded: exchange.total, total: exchange.total });
      exchange.onReply = (status, text, headers) => {
        Object.assign(this, { status, responseText: text });
        this.#answered = headers;
        tell(this, "load");
      };
      exchange.onFail = () => {
        if (!exchange.isComplete) tell(this.upload, "error");
        tell(this, "error");
      };
      network.begin(exchange);
      if (isGone) exchange.fail();
    }

    abort() {
      if (!this.#exchange?.isOpen) return;
      this.#exchange.cancel();
      if (!this.#exchange.isComplete) this.upload.dispatchEvent(new Event("abort"));
      this.dispatchEvent(new Event("abort"));
    }
  };

  /** The device loses its network: what is on its way ends. */
  globalThis.goOffline = () => {
    navigator.onLine = false;
    for (const exchange of network.sent) exchange.fail();
    window.dispatchEvent(new Event("offline"));
  };

  globalThis.goOnline = () => {
    navigator.onLine = true;
    window.dispatchEvent(new Event("online"));
  };
}
