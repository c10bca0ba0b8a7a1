/** As much of a document as the page uses: elements, selectors, focus, forms, templates, shadow roots and observers. */

{
  const VOID = new Set(["br", "hr", "img", "input", "link", "meta", "path"]);
  const REFLECTED = ["id", "title", "lang", "dir", "href", "src", "alt", "name", "type", "accept"];
  const FLAGS = ["hidden", "multiple", "required", "disabled"];
  const camel = (name) => name.replace(/-([a-z])/g, (_, letter) => letter.toUpperCase());
  const dashed = (name) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

  const known = new Map();

  /** The parts of a selector: for each that a comma ends, the inner element first. */
  function parsed(selector) {
    if (!known.has(selector)) {
      const partOf = ([, mark, name, attribute, value]) => (attribute ? ["[", attribute, value] : [mark, name]);
      const simple = (text) => [...text.matchAll(/([#.:]?)([\w-]+)|\[([\w-]+)(?:="?([^\]"]*)"?)?\]/g)].map(partOf);
      known.set(
        selector,
        selector.split(",").map((one) => one.trim().split(/\s+/).reverse().map(simple)),
      );
    }
    return known.get(selector);
  }

  class Node extends EventTarget {
    childNodes = [];
    parentNode = null;

    get children() {
      return this.childNodes.filter((node) => node instanceof Element);
    }

    get firstElementChild() {
      return this.children[0] ?? null;
    }

    get parentElement() {
      return this.parentNode instanceof Element ? this.parentNode : null;
    }

    get textContent() {
      return this.childNodes.map((node) => node.textContent).join("");
    }

    set textContent(text) {
      this.replaceChildren(...(text === "" ? [] : [new Text(text)]));
    }

    get isConnected() {
      const root = this.getRootNode();
      return root === document || (root.host?.isConnected ?? false);
    }

    getRootNode() {
      return this.parentNode?.getRootNode() ?? this;
    }

    contains(node) {
      return node === this || this.childNodes.some((child) => child.contains(node));
    }

    insertBefore(node, before) {
      const nodes = node instanceof Fragment ? [...node.childNodes] : [node];
      for (const each of nodes) {
        each.remove();
        const place = before ? this.childNodes.indexOf(before) : this.childNodes.length;
        this.childNodes.splice(place, 0, each);
        each.parentNode = this;
      }
      return node;
    }

    append(...nodes) {
      for (const node of nodes) this.insertBefore(typeof node === "string" ? new Text(node) : node, null);
    }

    prepend(...nodes) {
      const [first = null] = this.childNodes;
      for (const node of nodes) this.insertBefore(typeof node === "string" ? new Text(node) : node, first);
    }

    appendChild(node) {
      return this.insertBefore(node, null);
    }

    replaceChildren(...nodes) {
      for (const node of [...this.childNodes]) node.remove();
      this.append(...nodes);
    }

    remove() {
      if (!this.parentNode) return;
      if (document.focused && this.contains(document.focused)) document.focused = null;
      this.parentNode.childNodes = this.parentNode.childNodes.filter((node) => node !== this);
      this.parentNode = null;
    }

    after(node) {
      const siblings = this.parentNode.childNodes;
      this.parentNode.insertBefore(node, siblings[siblings.indexOf(this) + 1] ?? null);
    }

    querySelectorAll(selector, found = []) {
      for (const child of this.childNodes) {
        if (!(child instanceof Element)) continue;
        if (child.matches(selector)) found.push(child);
        child.querySelectorAll(selector, found);
      }
      return found;
    }

    querySelector(selector) {
      for (const child of this.childNodes) {
        if (!(child instanceof Element)) continue;
        const found = child.matches(selector) ? child : child.querySelector(selector);
        if (found) return found;
      }
      return null;
    }

    outer(event) {
      return this === document ? window : (this.parentNode ?? (event.composed ? this.host : null));
    }
  }

  class Text extends Node {
    constructor(data) {
      super();
      this.data = data;
    }

    get textContent() {
      return this.data;
    }

    cloneNode() {
      return new Text(this.data);
    }
  }

  class Fragment extends Node {}

  class Element extends Node {
    #attributes = new Map();
    observers = [];
    value = "";
    files = [];
    validationMessage = "";
    tabIndex = -1;
    scrollHeight = 0;
    clientHeight = 0;

    constructor(localName) {
      super();
      this.localName = localName;
      if (localName === "template") this.content = new Fragment();
      if (localName === "input") this.#chooseFiles();
    }

    /** A script may only empty the choice of files. */
    #chooseFiles() {
      let text = "";
      Object.defineProperty(this, "value", {
        get: () => (this.type !== "file" ? text : this.files.length > 0 ? `C:\\fakepath\\${this.files[0].name}` : ""),
        set: (value) => {
          if (this.type !== "file") text = value;
          else if (value === "") this.files = [];
          else throw new DOMException("An input of files takes only the empty text.", "InvalidStateError");
        },
      });
    }

    getAttribute(name) {
      return this.#attributes.get(name) ?? null;
    }

    setAttribute(name, value) {
      this.#attributes.set(name, String(value));
      for (const observer of this.observers) observer.see(name);
    }

    removeAttribute(name) {
      this.#attributes.delete(name);
      for (const observer of this.observers) observer.see(name);
    }

    style = {};

    get dataset() {
      const own = (name) => `data-${dashed(name)}`;
      return new Proxy(
        {},
        {
          get: (_, name) => this.#attributes.get(own(name)),
          set: (_, name, value) => (this.setAttribute(own(name), value), true),
          deleteProperty: (_, name) => (this.removeAttribute(own(name)), true),
        },
      );
    }

    get classes() {
      const text = this.#attributes.get("class");
      return text ? text.split(" ").filter(Boolean) : [];
    }

    get classList() {
      const toggle = (name, isOn) => {
        const others = this.classes.filter((other) => other !== name);
        this.setAttribute("class", (isOn ? [...others, name] : others).join(" "));
      };
      return { contains: (name) => this.classes.includes(name), toggle };
    }

    get htmlFor() {
      return { contains: (name) => (this.getAttribute("for") ?? "").split(" ").includes(name) };
    }

    get nextElementSibling() {
      const siblings = this.parentNode?.children ?? [];
      return siblings[siblings.indexOf(this) + 1] ?? null;
    }

    get previousElementSibling() {
      const siblings = this.parentNode?.children ?? [];
      return siblings[siblings.indexOf(this) - 1] ?? null;
    }

    /** The form of a field. */
    get form() {
      const id = this.getAttribute("form");
      return id === null ? this.closest("form") : document.getElementById(id);
    }

    /** The field of a label. */
    get control() {
      const id = this.getAttribute("for");
      return id === null ? this.querySelector("input") : document.getElementById(id);
    }

    get isHidden() {
      return this.hidden || (this.parentElement?.isHidden ?? false);
    }

    matches(selector) {
      return parsed(selector).some(([own, ...around]) => {
        if (!this.#isSimple(own)) return false;
        let element = this.parentElement;
        for (const outer of around) {
          while (element && !element.#isSimple(outer)) element = element.parentElement;
          if (!element) return false;
          element = element.parentElement;
        }
        return true;
      });
    }

    #isSimple(parts) {
      return parts.every(([kind, name, value]) => {
        if (kind === "#") return this.#attributes.get("id") === name;
        if (kind === ".") return this.classes.includes(name);
        if (kind === ":") return this.disabled || (this.parentElement?.closest("fieldset")?.disabled ?? false);
        if (kind === "") return this.localName === name;
        return value === undefined ? this.#attributes.has(name) : this.#attributes.get(name) === value;
      });
    }

    closest(selector) {
      return this.matches(selector) ? this : (this.parentElement?.closest(selector) ?? null);
    }

    cloneNode(isDeep) {
      const clone = create(this.localName);
      for (const [name, value] of this.#attributes) clone.setAttribute(name, value);
      if (isDeep) clone.append(...this.childNodes.map((node) => node.cloneNode(true)));
      return clone;
    }

    attachShadow() {
      this.shadowRoot = Object.assign(new Fragment(), { host: this });
      return this.shadowRoot;
    }

    focus() {
      if (this.isConnected) document.focused = this;
    }

    scrollIntoView() {
      document.scrolledTo = this;
    }

    setCustomValidity(text) {
      this.validationMessage = text;
    }

    checkValidity() {
      return this.validationMessage === "" && !(this.required && this.value === "");
    }

    /** A click of a mouse; a key that presses a button makes one with `detail` 0. */
    click(details = {}) {
      const event = new Event("click", {
        bubbles: true,
        cancelable: true,
        composed: true,
        detail: 0,
        clientX: 0,
        clientY: 0,
        ...details,
      });
      return this.dispatchEvent(event);
    }
  }

  class HTMLFormElement extends Element {
    #isAsking = false;

    get elements() {
      if (!(#isAsking in this)) throw new TypeError("Illegal invocation");
      return document.querySelectorAll("input,button").filter(({ form }) => form === this);
    }

    elementsAsSent(submitter) {
      const isSent = (element) => !["submit", "image"].includes(element.type) && element.localName !== "button";
      return this.elements.filter(
        (element) => element.name && !element.matches(":disabled") && (element === submitter || isSent(element)),
      );
    }

    requestSubmit(submitter = null) {
      if (this.#isAsking || !this.isConnected) return;
      if (submitter && submitter.form !== this) throw new DOMException("not a button of this form", "NotFoundError");
      if (!this.elements.every((element) => element.checkValidity())) return;
      this.#isAsking = true;
      const event = new Event("submit", { bubbles: true, cancelable: true, isTrusted: true, submitter });
      const mayGo = this.dispatchEvent(event);
      this.#isAsking = false;
      if (mayGo) this.#send(submitter);
    }

    submit() {
      this.#send(null);
    }

    reset() {
      this.dispatchEvent(new Event("reset", { bubbles: true }));
      for (const element of this.elements) if (element.type === "file") element.value = "";
    }

    #send(submitter) {
      const [action, target] = ["action", "target"].map(
        (name) => submitter?.getAttribute(`form${name}`) ?? this.getAttribute(name),
      );
      const { entries } = new FormData(this, submitter);
      globalThis.submitted.push({ action, target, entries: entries.map(({ name, value }) => [name, value.name ?? value]) });
    }
  }

  const create = (localName) => new (localName === "form" ? HTMLFormElement : Element)(localName);

  /** The forms that the browser has sent; of each file the name. */
  globalThis.submitted = [];

  for (const name of REFLECTED) {
    Object.defineProperty(Element.prototype, name, {
      get() {
        return this.getAttribute(name) ?? "";
      },
      set(value) {
        this.setAttribute(name, value);
      },
    });
  }
  for (const name of FLAGS) {
    Object.defineProperty(Element.prototype, name, {
      get() {
        return this.getAttribute(name) !== null;
      },
      set(value) {
        if (value) this.setAttribute(name, "");
        else this.removeAttribute(name);
      },
    });
  }

  class MutationObserver {
    #isDue = false;

    constructor(act) {
      this.act = act;
    }

    observe(element, { attributeFilter }) {
      this.names = attributeFilter;
      element.observers.push(this);
    }

    see(name) {
      if (!this.names.includes(name) || this.#isDue) return;
      this.#isDue = true;
      queueMicrotask(() => {
        this.#isDue = false;
        guarded(this.act);
      });
    }
  }

  class IntersectionObserver {
    /** Those whose coming into view somebody waits for. */
    static watched = new Map();

    constructor(act) {
      this.act = act;
    }

    observe(target) {
      IntersectionObserver.watched.set(target, this);
    }

    unobserve(target) {
      if (!(target instanceof Element)) throw new TypeError("parameter 1 is not of type 'Element'");
      IntersectionObserver.watched.delete(target);
    }
  }

  /** There is no layout here: each element is a visible block, wherever it stands. */
  globalThis.getComputedStyle = () => ({ display: "block", flexDirection: "row", flexWrap: "nowrap", opacity: "1" });

  /** Scrolls an element into view, or out of it. */
  globalThis.scrollTo = (target, isIntersecting = true) => {
    IntersectionObserver.watched.get(target)?.act([{ target, isIntersecting }]);
  };

  globalThis.Image = class extends Element {
    /** Files that no browser can show. */
    static broken = new Set();

    constructor() {
      super("img");
    }

    decode() {
      const isShown = URL.living.has(this.src) && ![...Image.broken].some((name) => this.src.endsWith(name));
      return new Promise((resolve, reject) =>
        task(() => (isShown ? resolve() : reject(new DOMException("no image", "EncodingError")))),
      );
    }
  };

  globalThis.NodeFilter = { SHOW_TEXT: 4 };

  function* textsIn(node) {
    for (const child of [...node.childNodes]) {
      if (child instanceof Text) yield child;
      else yield* textsIn(child);
    }
  }

  const byId = new Map();
  globalThis.document = Object.assign(new Node(), {
    focused: null,
    title: "",
    characterSet: "UTF-8",
    createElement: create,
    getElementById(id) {
      const known = byId.get(id);
      if (known?.id === id && known.isConnected) return known;
      byId.set(id, document.querySelector(`#${id}`));
      return byId.get(id);
    },
    createNodeIterator(root) {
      const texts = textsIn(root);
      return { nextNode: () => texts.next().value ?? null };
    },
  });
  const part = (name) => ({ get: () => document.querySelector(name) });
  Object.defineProperties(document, {
    baseURI: { configurable: true, get: () => location.href },
    URL: { get: () => location.href },
    documentElement: part("html"),
    body: part("body"),
    activeElement: { get: () => document.focused ?? document.body },
  });

  /** Puts the elements of a text into a node. */
  const fill = (root, html) => {
    const open = [root];
    for (const [, comment, closing, name, attributes, text] of html.matchAll(
      /(<!--.*?-->|<![^>]*>)|<(\/?)([a-z][\w-]*)((?:"[^"]*"|'[^']*'|[^>"'])*)>|([^<]+)/gis,
    )) {
      const at = open.at(-1);
      if (text !== undefined) at.append(new Text(text));
      else if (closing) open.pop();
      else if (!comment) {
        const element = create(name);
        for (const [, key, quoted, single, bare] of attributes.matchAll(/([\w-]+)(?:="([^"]*)"|='([^']*)'|=([^\s/>]+))?/g)) {
          element.setAttribute(key, quoted ?? single ?? bare ?? "");
          if (key === "value") element.value = element.getAttribute(key);
        }
        at.append(element);
        if (!VOID.has(name) && !attributes.endsWith("/")) open.push(element.content ?? element);
      }
    }
    return root;
  };

  /** Replaces the document by what a text says. */
  globalThis.write = (html) => void fill(document, (document.replaceChildren(), html));

  /** Adds elements to the end of the page's body, or of another node; returns the first. */
  globalThis.insert = (html, place = document.body) => {
    const made = fill(new Fragment(), html);
    const [first] = made.children;
    place.append(made);
    return first;
  };

  /** Chooses files as a person does, or nothing; a browser tells it twice. */
  globalThis.choose = (input, ...files) => {
    input.files = files;
    input.dispatchEvent(new Event("input", { bubbles: true, composed: true }));
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };

  globalThis.press = (element, details) => element.click({ detail: 1, ...details });

  Object.assign(globalThis, { MutationObserver, IntersectionObserver, HTMLFormElement });
  globalThis.location = Object.assign(new URL("https://shop.example.com/albums/2/edit?draft=1"));
  globalThis.navigator = { onLine: true, languages: ["en-GB", "de"] };
  write("<html><head></head><body></body></html>");
}
