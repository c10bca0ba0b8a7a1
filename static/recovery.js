/** Reports files, or asks what became of those without an answer. `upload.js` loads this when it has a form with a ticket. */

/** Seconds before each question to the server. */
const DELAYS = [1, 2, 4, 8, 16];

/** After a network error OSS may still be storing the file: "not stored" counts after two such answers, seconds apart. */
const NOT_STORED_TWICE = 2;

/** Seconds that a ticket outlives its form (the server's rule). */
const TICKET_SECONDS = 12 * 3600;

/** In bytes. After a reload, larger files are compared by the time of their last change, others by their content. */
const LARGEST_COMPARED = 2 ** 20;

/** The files without an answer, kept under a name in a storage that outlives a reload of the page. */
export class Recovery {
  #storage;
  #name;

  constructor(storage, name) {
    this.#storage = storage;
    this.#name = name;
  }

  /** Returns the proof that a file was allowed, or null if the server cannot be asked with it. */
  async proofOf(form, { key, url, file }) {
    const ticket = form.ticket ?? form.fields.callback;
    if (!ticket || form.fields.key.includes("${filename}")) return null;
    return { ticket, isReport: Boolean(form.ticket), key, url, until: Number(form.expire) + TICKET_SECONDS, file: await fingerprint(file) };
  }

  /** Returns the proof of the same file as was sent before, or null. */
  async find(file) {
    const proofs = this.#read();
    if (proofs.length === 0) return null;
    const wanted = await fingerprint(file);
    return proofs.find((proof) => proof.file === wanted) ?? null;
  }

  add(proof) {
    if (proof) this.#write([...this.#read().filter(({ key }) => key !== proof.key), proof]);
  }

  remove(proof) {
    if (proof) this.#write(this.#read().filter(({ key }) => key !== proof.key));
  }

  /**
   * Asks after 1, 2, 4, 8 and 16 seconds, or later if the server says so by Retry-After; reports a file, which OSS does not,
   * at once, and then as often. Returns the application's answer; null if nobody could say; undefined if asking again is useless: the file is not stored (`item.notStored`), the server
   * does not answer such questions, or the attempt was cancelled. `call(body)` asks once; `show()` is called before each
   * pause.
   */
  async ask(item, signal, call, show) {
    const { proof } = item;
    Object.assign(item, { key: proof.key, url: proof.url });
    let absences = 0;
    let atLeast = 0;
    for (const usual of item.untold && proof.isReport ? [0, ...DELAYS] : DELAYS) {
      const delay = Math.max(usual, atLeast);
      if (delay > 0) {
        item.retryAt = performance.now() + delay * 1000;
        show();
        await pause(delay, signal);
      }
      item.retryAt = null;
      if (signal.aborted) return undefined;
      try {
        const { text } = await call(JSON.stringify({ ticket: proof.ticket, object: proof.key }));
        this.remove(proof);
        return text;
      } catch (error) {
        const { kind, status, code, retryAfter } = error;
        if (signal.aborted) return undefined;
        if (proof.isReport) item.error = error;
        atLeast = retryAfter ?? 0;
        const isAbsent = status === 404 && code === "not_stored";
        absences = isAbsent ? absences + 1 : 0;
        item.notStored = absences >= (item.untold ? 1 : NOT_STORED_TWICE);
        const isUseless = kind === "unexpected" || (kind === "refused" && status < 500 && status !== 408 && status !== 429);
        if (item.notStored || (isUseless && !isAbsent)) {
          this.remove(proof);
          item.proof = null;
          return undefined;
        }
      }
    }
    return null;
  }

  #read() {
    try {
      const proofs = JSON.parse(this.#storage.getItem(this.#name) ?? "[]");
      return proofs.filter(({ key, ticket, file, until }) => key && ticket && file && until > Date.now() / 1000);
    } catch {
      return [];
    }
  }

  #write(proofs) {
    try {
      if (proofs.length > 0) this.#storage.setItem(this.#name, JSON.stringify(proofs));
      else this.#storage.removeItem(this.#name);
    } catch {
      // If the storage is full, the file is sent again after a reload.
    }
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
