/** Addresses, files and forms. */

{
  const utf8 = (text) =>
    Uint8Array.from(unescape(encodeURIComponent(text.toWellFormed())), (character) => character.charCodeAt(0));

  class URLSearchParams {
    #pairs;

    constructor(text, changed = () => {}) {
      const decode = (part) => decodeURIComponent(part.replaceAll("+", " "));
      const parts = text.replace(/^\?/, "").split("&").filter(Boolean);
      this.#pairs = parts.map((part) => [decode(part.split("=")[0]), decode(part.split("=").slice(1).join("="))]);
      this.changed = changed;
    }

    set(name, value) {
      const index = this.#pairs.findIndex(([other]) => other === name);
      const before = this.#pairs.slice(0, index < 0 ? this.#pairs.length : index);
      const after = this.#pairs.slice(before.length).filter(([other]) => other !== name);
      this.#pairs = [...before, [name, String(value)], ...after];
      this.changed(this.toString());
    }

    get(name) {
      return this.#pairs.find(([other]) => other === name)?.[1] ?? null;
    }

    [Symbol.iterator]() {
      return this.#pairs[Symbol.iterator]();
    }

    toString() {
      const encode = (text) => encodeURIComponent(text.toWellFormed()).replaceAll("%20", "+");
      return this.#pairs.map((pair) => pair.map(encode).join("=")).join("&");
    }
  }

  /** Addresses of http and https, with a base or without. */
  class URL {
    static #blobs = 0;
    static living = new Set();

    static createObjectURL(file) {
      const url = `blob:${location.origin}/${(URL.#blobs += 1)}-${file.name}`;
      URL.living.add(url);
      return url;
    }

    static revokeObjectURL(url) {
      URL.living.delete(url);
    }

    constructor(text, base) {
      const whole = String(text).trim();
      const absolute = /^(https?:)\/\/([^/?#]+)([^?#]*)(\?[^#]*)?(#.*)?$/i;
      let parts = absolute.exec(whole);
      if (!parts) {
        if (/^[a-z][a-z0-9+.-]*:/i.test(whole) || base === undefined) throw new TypeError(`Invalid URL: ${whole}`);
        const { protocol, host, pathname, search } = new URL(base);
        if (whole.startsWith("//")) parts = absolute.exec(protocol + whole);
        else {
          const [, path, query, hash] = /^([^?#]*)(\?[^#]*)?(#.*)?$/.exec(whole);
          const folder = pathname.slice(0, pathname.lastIndexOf("/") + 1);
          const kept = path === "" && query === undefined ? search : query;
          parts = [null, protocol, host, path === "" ? pathname : path.startsWith("/") ? path : folder + path, kept, hash];
        }
      }
      const [, protocol, host, path, search = "", hash = ""] = parts;
      Object.assign(this, { protocol: protocol.toLowerCase(), host: host.toLowerCase(), hash });
      const segments = [];
      for (const segment of path.split("/").slice(1)) {
        if (segment === "..") segments.pop();
        else if (segment !== ".") segments.push(segment);
      }
      if (/(^|\/)\.\.?$/.test(path)) segments.push("");
      this.pathname = `/${encodeURI(segments.join("/").toWellFormed()).replaceAll("%25", "%")}`;
      this.search = search === "?" ? "" : search;
      this.searchParams = new URLSearchParams(this.search, (query) => (this.search = query && `?${query}`));
    }

    get origin() {
      return `${this.protocol}//${this.host}`;
    }

    get href() {
      return this.origin + this.pathname + this.search + this.hash;
    }

    toString() {
      return this.href;
    }
  }

  /** Bytes, or a number of bytes that nobody looks at: a large file takes no memory. A slice knows whose bytes it has. */
  class Blob {
    isGone = false;

    constructor(parts = [], { type = "" } = {}) {
      const arrays = parts.map((part) =>
        part instanceof Blob ? part.bytes : typeof part === "string" ? utf8(part) : new Uint8Array(part),
      );
      const bytes = new Uint8Array(arrays.reduce((sum, { length }) => sum + length, 0));
      let place = 0;
      for (const array of arrays) {
        bytes.set(array, place);
        place += array.length;
      }
      Object.assign(this, { whole: this, start: 0, size: bytes.length, type: type.toLowerCase(), content: bytes });
    }

    get end() {
      return this.start + this.size;
    }

    get bytes() {
      const { content, size } = this.whole;
      return content.length === size ? content.slice(this.start, this.end) : new Uint8Array(this.size);
    }

    slice(start = 0, end = this.size) {
      const slice = new Blob();
      const first = Math.min(start, this.size);
      return Object.assign(slice, {
        whole: this.whole,
        start: this.start + first,
        size: Math.max(0, Math.min(end, this.size) - first),
      });
    }

    async arrayBuffer() {
      if (this.whole.isGone) throw new DOMException("The file could not be read", "NotReadableError");
      return this.bytes.buffer;
    }

    async text() {
      return decodeURIComponent(escape(String.fromCharCode(...new Uint8Array(await this.arrayBuffer()))));
    }
  }

  class File extends Blob {
    webkitRelativePath = "";

    constructor(parts, name, { type, lastModified = Date.now() } = {}) {
      super(parts, { type });
      Object.assign(this, { name, lastModified });
    }
  }

  /** Returns a file of this many bytes. */
  globalThis.large = (size, name = "film.bin", options = {}) => Object.assign(new File([], name, options), { size });

  class FormData {
    entries = [];

    /** The fields of a form: its listeners of `formdata` may change them. */
    constructor(form, submitter = null) {
      if (!form) return;
      for (const element of form.elementsAsSent(submitter)) {
        const { type, name, files, value } = element;
        if (type !== "file") this.append(name, value);
        else if (files.length === 0) this.append(name, new File([], "", { type: "application/octet-stream" }));
        else for (const file of files) this.append(name, file);
      }
      form.dispatchEvent(new Event("formdata", { bubbles: true, formData: this }));
    }

    delete(name) {
      this.entries = this.entries.filter((entry) => entry.name !== name);
    }

    get(name) {
      return this.entries.find((entry) => entry.name === name)?.value ?? null;
    }

    [Symbol.iterator]() {
      return this.entries.map(({ name, value }) => [name, value])[Symbol.iterator]();
    }

    append(name, value, filename) {
      this.entries.push(value instanceof Blob ? { name, value, filename } : { name, value: String(value) });
    }

    /** The bytes of the request's body, which are more than those of the file. */
    get size() {
      const boundary = 42;
      const header = ({ name, filename }) => utf8(`Content-Disposition: form-data; name="${name}"`).length + (filename ? 60 : 0);
      const length = ({ value }) => (value instanceof Blob ? value.size : utf8(value).length);
      return this.entries.reduce((sum, entry) => sum + boundary + header(entry) + length(entry) + 6, boundary + 2);
    }
  }

  class TextDecoder {
    static names = { utf8: "utf-8", "utf-8": "utf-8", gbk: "gbk", gb2312: "gbk", "utf-16": "utf-16le", latin1: "windows-1252" };

    constructor(label) {
      this.encoding = TextDecoder.names[label.toLowerCase()];
      if (!this.encoding) throw new RangeError(`The encoding label provided ('${label}') is invalid.`);
    }
  }

  Object.assign(globalThis, { URL, URLSearchParams, Blob, File, FormData, TextDecoder });
}
