/**
 * Takes over the forms of a page that post files: the files go straight to storage, and the browser submits the form with
 * a signed ID in the place of each. `upload.js` loads this if its own `<script>` has the attribute `data-forms`.
 *
 * The browser itself submits: a form whose files are still on their way is held, and submitted again by `requestSubmit`
 * once they are stored. The inputs keep their files. Only the entries of a form that the browser itself submits are
 * replaced, so a script that reads `new FormData(form)` gets the files, wherever it sends them.
 */

import { wordsOf } from "./input.js";
import { explain, visible } from "./words.js";

/** Where the application is mounted, from the signature's folder. The server replaces this line for a longer prefix. */
const MOUNT = "..";

/** The first field of a form with signed IDs names the fields that have them. */
const MARKER = "oss_wsgi.files";

/** A form may have so many signed IDs; further files go themselves. */
const MOST_IDS = 1000;

/** `upload.js` has its own way with these inputs. */
const OTHER = "[data-oss-upload]";

/** In milliseconds: a second press that comes sooner is part of a double click. */
const DOUBLE_CLICK = 500;

/** In milliseconds: a server takes a signed ID for a day. */
const LIFETIME = 20 * 3_600_000;

/** What a submission takes from its form. */
const ATTRIBUTES = ["action", "method", "enctype", "target"];

/** A property of a form, which a field of the same name hides: old forms have fields called `action` or `submit`. */
const property = (form, name) => Reflect.get(HTMLFormElement.prototype, name, form);

const filesIn = (form) => [...property(form, "elements")].filter((input) => input.type === "file" && !input.matches(OTHER));

/** What became of a chosen file: it is sent by us, or left to the browser. */
class Sending {
  item = null;
  isAsked = false;
  isUsed = false;
  storedAt = Infinity;

  constructor(file) {
    this.file = file;
  }

  get isRunning() {
    return !this.isAsked || (this.item?.running ?? false);
  }

  get signedId() {
    return this.item?.state === "stored" ? this.item.signedId : "";
  }

  /** Whether the person has been told why the file is not stored yet, and may send the form without us. */
  get isFailing() {
    return this.item !== null && isFailing(this.item);
  }

  get isSpent() {
    return this.isUsed || Date.now() - this.storedAt > LIFETIME;
  }
}

let isDone = false;

/** Takes over the forms of the page once, if the script that has loaded `upload.js` asks for it. */
export function takeOver(Uploader, serverUrl) {
  const server = new URL(serverUrl, document.baseURI);
  const own = new URL("upload.js", server).href;
  const isAsked = [...document.querySelectorAll("script[data-forms]")].some(({ src }) => src.split(/[?#]/)[0] === own);
  if (isDone || !isAsked || !HTMLFormElement.prototype.requestSubmit) return;
  isDone = true;
  new Forms(new Uploader({ serverUrl }), new URL(MOUNT, server)).start();
}

export class Forms {
  #uploader;
  #mount;
  /** The sendings of an input, by file. */
  #choices = new Map();
  #ofItem = new WeakMap();
  #lines = new WeakMap();
  /** Inputs whose lines are to be written, which is done once for all that happens at a moment. */
  #unwritten = new Set();
  /** The forms that wait for their files: what submits each, and whether the person has seen that it waits. */
  #held = new Map();
  /** The submission that the browser makes now. */
  #submission = null;
  #submittedAt = new WeakMap();
  /** Submit events during which a script read the form, so as to send it by itself. */
  #readIn = new WeakMap();
  #isRefused = false;
  #isOff = false;

  /** `mount` is the address below which the application is. */
  constructor(uploader, mount) {
    this.#uploader = uploader;
    this.#mount = mount;
    for (const type of ["state", "progress"]) uploader.addEventListener(type, ({ detail: { item } }) => this.#changed(item));
  }

  /** Listens to the page from now on, and sends the files that are chosen already. */
  start() {
    // The page's own listeners come first where they may take a file back or add fields, and last where a form is held.
    window.addEventListener("change", ({ target }) => target.type === "file" && setTimeout(() => this.#begin(target)), true);
    window.addEventListener("reset", ({ target }) => setTimeout(() => this.#forget(target)), true);
    window.addEventListener("submit", (event) => this.#submit(event), true);
    window.addEventListener("formdata", (event) => this.#replace(event));
    // Turbo and htmx send a form themselves, and say where before they do.
    window.addEventListener("turbo:before-fetch-request", ({ target, detail }) => {
      this.#sendByScript(target, detail.url, detail.fetchOptions?.body);
    });
    window.addEventListener("htmx:configRequest", ({ detail }) => {
      this.#sendByScript(detail.triggeringEvent?.target, detail.path, detail.formData);
    });
    window.addEventListener("pagehide", () => this.#held.clear());
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.#refresh());
    const { prototype } = HTMLFormElement;
    const { submit } = prototype;
    const forms = this;
    prototype.submit = function () {
      forms.#submitByScript(this, () => submit.call(this));
    };
    // Known limits show at once which files go, and their line does not come and go under a pointer.
    window.addEventListener("click", ({ target }) => target.type === "file" && this.#isOurs(target.form) && this.#ask(), true);
    const inputs = [...document.querySelectorAll("form")].filter((form) => this.#isOurs(form)).flatMap(filesIn);
    if (inputs.length > 0) this.#ask();
    for (const input of inputs) this.#begin(input);
  }

  /** Returns whether the server takes signed IDs in forms, and this person may upload. */
  async #ask() {
    const limits = await this.#uploader.limits();
    const isAllowed = limits?.forms === true;
    this.#isRefused = limits ? !isAllowed : !this.#uploader.limitsError.passing;
    return isAllowed;
  }

  /** Whether a submission goes to the application, with files. */
  #isOurs(form, submitter = null) {
    if (!(form instanceof HTMLFormElement) || this.#isOff || this.#readIn.get(form)?.defaultPrevented) return false;
    if (!isMultipart(form.getAttribute("enctype"))) return false;
    const valueOf = (name) => submitter?.getAttribute(`form${name}`) ?? form.getAttribute(name);
    if (!isMultipart(valueOf("enctype")) || valueOf("method")?.toLowerCase() !== "post") return false;
    return this.#isBelow(valueOf("action"));
  }

  #isBelow(address) {
    try {
      const { origin, pathname } = new URL(address || document.URL, document.baseURI);
      return origin === location.origin && origin === this.#mount.origin && `${pathname}/`.startsWith(this.#mount.pathname);
    } catch {
      return false;
    }
  }

  /** Sends the files that an input has now, and drops those that it has no longer. */
  #begin(input, submitter) {
    const sendings = this.#choices.get(input) ?? new Map();
    const isSent = input.name && input.isConnected && !input.matches(`:disabled, ${OTHER}`);
    const files = isSent && this.#isOurs(input.form, submitter) ? [...input.files] : [];
    for (const [file, sending] of sendings) {
      if (files.includes(file) && !sending.isSpent) continue;
      sendings.delete(file);
      this.#leave(sending);
    }
    const added = files.filter((file) => !sendings.has(file)).map((file) => new Sending(file));
    for (const sending of added) sendings.set(sending.file, sending);
    if (sendings.size > 0) this.#choices.set(input, sendings);
    else this.#choices.delete(input);
    if (input.form && this.#sendingsOf(input.form).length === 0) this.#held.delete(input.form);
    if (added.length > 0) this.#send(input, added);
    this.#show(input);
  }

  async #send(input, added) {
    const isAllowed = await this.#ask();
    for (const sending of added) {
      sending.isAsked = true;
      if (!isAllowed || this.#isOff || this.#choices.get(input)?.get(sending.file) !== sending) continue;
      const { file } = sending;
      const path = file.webkitRelativePath;
      // A browser posts the file of a folder under its path.
      const named = path ? new File([file], path, { type: file.type, lastModified: file.lastModified }) : file;
      const [item] = this.#uploader.add([{ file: named, path }]);
      if (item.state === "failed") this.#uploader.remove(item);
      else {
        sending.item = item;
        this.#ofItem.set(item, [input, sending]);
      }
    }
    this.#uploader.start(added.map(({ item }) => item).filter(Boolean));
    this.#show(input);
    this.#settle(input.form);
  }

  #changed(item) {
    const [input, sending] = this.#ofItem.get(item) ?? [];
    if (sending?.item !== item) return; // it was abandoned
    if (!input.isConnected) {
      this.#begin(input);
      return;
    }
    if (item.state === "stored") sending.storedAt = Math.min(sending.storedAt, Date.now());
    if (item.state === "stored" && !item.signedId) this.#giveUp();
    if (sending.isFailing) this.#showAll(input.form);
    else this.#show(input);
    if (!item.running || sending.isFailing) this.#settle(input.form);
  }

  /** The server makes no signed IDs: every form goes as it always did. */
  #giveUp() {
    this.#isOff = true;
    for (const [input, sendings] of this.#choices) {
      for (const sending of sendings.values()) this.#leave(sending);
      this.#show(input);
      this.#settle(input.form);
    }
  }

  #leave(sending) {
    const { item } = sending;
    Object.assign(sending, { item: null, isAsked: true });
    if (item) this.#uploader.remove(item);
  }

  #sendingsOf(form) {
    return filesIn(form).flatMap((input) => [...(this.#choices.get(input)?.values() ?? [])]);
  }

  #submit(event) {
    const { target: form, submitter, isTrusted } = event;
    if (!isTrusted || !this.#isOurs(form, submitter)) return;
    for (const input of filesIn(form)) this.#begin(input, submitter);
    if (this.#sendingsOf(form).length === 0) return;
    const stop = () => {
      event.preventDefault();
      event.stopImmediatePropagation();
    };
    if (performance.now() - (this.#submittedAt.get(form) ?? -Infinity) < DOUBLE_CLICK) {
      stop();
    } else if (this.#mayGo(form)) {
      this.#submission = { form, event, isReal: () => event.eventPhase === 0 && !event.defaultPrevented };
    } else {
      stop();
      this.#hold(form, () => requestSubmit(form, submitter), () => submitter?.disabled);
    }
  }

  /** `form.submit()` of a script asks no listener, and takes the form as it is at this moment. */
  #submitByScript(form, submit) {
    const isOurs = this.#isOurs(form);
    if (isOurs) for (const input of filesIn(form)) this.#begin(input);
    if (!isOurs || this.#sendingsOf(form).length === 0) return submit();
    const direct = (entries) => {
      this.#submission = { form, entries, isReal: () => true };
      submit();
      this.#submission = null;
    };
    if (this.#mayGo(form)) return direct();
    const entries = [...new FormData(form)];
    const values = ATTRIBUTES.map((name) => [name, form.getAttribute(name)]);
    const submitAsThen = () => {
      const now = ATTRIBUTES.map((name) => [name, form.getAttribute(name)]);
      setAttributes(form, values);
      direct(entries);
      setAttributes(form, now);
    };
    this.#hold(form, submitAsThen, () => true);
  }

  /**
   * Whether a form is submitted at once. After a failure it goes without us; while a file is tried again, it waits first,
   * and goes without us when the person presses once more.
   */
  #mayGo(form) {
    const sendings = this.#sendingsOf(form);
    if (sendings.some(({ isFailing, isRunning }) => isFailing && (!isRunning || this.#held.has(form)))) {
      for (const sending of sendings) this.#leave(sending);
      this.#showAll(form);
    } else if (sendings.some(({ isRunning }) => isRunning)) return false;
    this.#held.delete(form);
    return true;
  }

  /** `isOnlyPress` tells whether the person has no button to press once more, so that no failure may keep the form. */
  #hold(form, submit, isOnlyPress) {
    this.#held.set(form, { submit, isOnlyPress, isSeen: false });
    this.#showAll(form);
  }

  /** Submits a form that was held, or lets the person decide, once nothing of it is on its way. */
  #settle(form) {
    const held = this.#held.get(form);
    if (!held) return;
    const sendings = this.#sendingsOf(form);
    const fails = sendings.some(({ isFailing }) => isFailing);
    if (fails && held.isOnlyPress()) for (const sending of sendings) this.#leave(sending);
    else if (sendings.some(({ isRunning }) => isRunning)) return;
    this.#held.delete(form);
    this.#showAll(form);
    // A browser ignores a submission during the submit event.
    if (!fails || held.isOnlyPress()) setTimeout(() => form.isConnected && held.submit());
  }

  #replace({ target: form, formData }) {
    const submission = this.#submission;
    if (submission?.form !== form) return;
    if (submission.isReal()) this.#fill(formData, submission);
    else this.#readIn.set(form, submission.event);
  }

  #sendByScript(form, address, formData) {
    if (this.#submission?.form !== form) return;
    const isDirect = formData instanceof FormData && this.#isBelow(address);
    if (!isDirect) return void this.#readIn.set(form, this.#submission.event); // htmx 1 has no FormData
    this.#readIn.delete(form);
    this.#fill(formData, this.#submission);
  }

  /** Puts the signed IDs in the place of the files. */
  #fill(formData, { form, event, entries = [...formData] }) {
    this.#submission = null;
    this.#submittedAt.set(form, performance.now());
    const sendings = new Map(this.#sendingsOf(form).map((sending) => [sending.file, sending]));
    const filled = withIds(entries, (value) => sendings.get(value)?.signedId ?? "", form);
    for (const [name] of [...formData]) formData.delete(name);
    for (const [name, value] of filled) formData.append(name, value);
    // If a blocker of popups stops this one, the person presses once more.
    const isOver = !opensWindow(form, event?.submitter);
    for (const sending of sendings.values()) sending.isUsed = isOver;
  }

  #forget(form) {
    if (!(form instanceof HTMLFormElement)) return; // a component may have an event of this name
    this.#held.delete(form);
    for (const input of filesIn(form)) this.#begin(input);
  }

  /** A page that comes back from the browser's memory says nothing of what it has sent. */
  #refresh() {
    for (const [input, sendings] of this.#choices) {
      for (const [file, sending] of sendings) {
        if (!sending.isUsed) continue;
        sendings.delete(file);
        this.#leave(sending);
      }
      this.#show(input);
    }
  }

  #showAll(form) {
    for (const input of filesIn(form)) this.#show(input);
  }

  #show(input) {
    if (this.#unwritten.size === 0) queueMicrotask(() => this.#write());
    this.#unwritten.add(input);
  }

  #write() {
    const inputs = [...this.#unwritten];
    this.#unwritten.clear();
    for (const input of inputs) this.#writeLine(input);
  }

  #writeLine(input) {
    const sendings = [...(this.#choices.get(input)?.values() ?? [])];
    const line = this.#lines.get(input) ?? new Line(input);
    this.#lines.set(input, line);
    const held = this.#held.get(input.form);
    const isLost = held && this.#sendingsOf(input.form).some(({ isFailing, isRunning }) => isFailing && !isRunning);
    const isShown = ({ item, isAsked }) => item !== null || (!isAsked && !this.#isRefused);
    line.show(sendings.filter(isShown), Boolean(held) && !isLost);
    if (!held || held.isSeen || !line.element) return;
    held.isSeen = true;
    line.element.scrollIntoView({ block: "nearest" });
  }
}

const isFailing = ({ state, running }) => state === "retrying" || (!running && state !== "stored");

const isMultipart = (text) => text?.trim().toLowerCase() === "multipart/form-data";

/** Submits a form by the button that was pressed, if it is still there; a script may have disabled it after the press. */
function requestSubmit(form, button) {
  const isThere = button?.isConnected && button.form === form;
  const isDisabled = isThere && button.disabled;
  if (isDisabled) button.disabled = false;
  property(form, "requestSubmit").call(form, isThere ? button : null);
  if (isDisabled) button.disabled = true;
}

function setAttributes(form, values) {
  for (const [name, value] of values) {
    if (value === null) form.removeAttribute(name);
    else form.setAttribute(name, value);
  }
}

/**
 * Returns the entries of a form with the marker and signed IDs. Where a field has texts too, such as the name of an older
 * file, the marker says which of its values are signed IDs: `photo:1` is the second one.
 */
function withIds(entries, idOf, form) {
  const fields = new Map();
  let left = MOST_IDS;
  const replaced = entries.map(([name, value]) => {
    if (!fields.has(name)) fields.set(name, { count: 0, hasTexts: false, ids: [] });
    const field = fields.get(name);
    const id = left > 0 ? idOf(value) : "";
    if (id) {
      left -= 1;
      field.ids.push(field.count);
    } else if (typeof value === "string") field.hasTexts = true;
    field.count += 1;
    return [name, id || value];
  });
  const listed = [...fields].filter(([, { ids }]) => ids.length > 0);
  return listed.length > 0 ? [[MARKER, markerOf(listed, form)], ...replaced] : entries;
}

function markerOf(fields, form) {
  const charset = charsetOf(form);
  const names = fields.map(([name, { hasTexts, ids }]) => [encodeURIComponent(name), ...(hasTexts ? ids : [])].join(":"));
  return names.join() + (charset === "utf-8" ? "" : `;charset=${charset}`);
}

/** Returns the encoding in which the browser sends a form. */
function charsetOf(form) {
  for (const label of form.getAttribute("accept-charset")?.split(/\s+/) ?? []) {
    try {
      return outgoing(new TextDecoder(label).encoding);
    } catch {
      // The browser ignores an unknown one too.
    }
  }
  return outgoing(document.characterSet.toLowerCase());
}

const outgoing = (encoding) => (/^(utf-16|replacement)/.test(encoding) ? "utf-8" : encoding);

/** Whether a submission needs a new window, and the person's last press is too long ago for one. */
function opensWindow(form, submitter) {
  const target = submitter?.getAttribute("formtarget") ?? form.getAttribute("target") ?? "";
  if (!target || /^_(self|parent|top)$/i.test(target) || navigator.userActivation?.isActive !== false) return false;
  return ![...document.querySelectorAll("iframe[name]")].some(({ name }) => name === target);
}

/**
 * The progress and the state of an input's files, behind it, as the page's own text. It takes its room at once and keeps it,
 * so that no button moves away from under a pointer.
 */
class Line {
  element = null;
  #input;
  #meter;
  #bar;
  #share;
  #status;
  #words = null;
  #round = 0;

  constructor(input) {
    this.#input = input;
  }

  async show(sendings, isHeld) {
    const round = (this.#round += 1);
    if (sendings.length === 0) {
      this.element?.remove();
      this.element = this.#words = null;
      return;
    }
    if (!this.element) this.#make();
    if (!this.element.isConnected) insertBehind(this.#input, this.element);
    const items = sendings.map(({ item, file }) => item ?? { file, state: "waiting", running: true, sent: 0 });
    const total = items.reduce((sum, { file }) => sum + file.size, 0);
    const sent = items.reduce((sum, item) => sum + (item.state === "stored" ? item.file.size : item.sent), 0);
    const isStored = items.every(({ state }) => state === "stored");
    this.#bar.value = isStored ? 1 : total > 0 ? sent / total : 0;
    this.#share.textContent = `${Math.floor(this.#bar.value * 100)} %`;
    if (!isStored && items.every(({ running }) => !running)) this.#meter.remove();
    else if (!this.#meter.parentNode) this.element.prepend(this.#meter);
    if (!isHeld && sendings.every(({ item }) => item === null)) return; // nobody may be allowed to send them
    this.#words ??= wordsOf(this.#input).catch(() => null);
    const words = await this.#words;
    if (!words || round !== this.#round) return; // a later call knows more
    Object.assign(this.element, { lang: words.lang, dir: words.dir });
    const text = textOf(items, isHeld, words);
    this.#bar.setAttribute("aria-label", stateOf(items, words));
    if (this.#status.textContent !== text) this.#status.textContent = text;
  }

  /** Screen readers announce what is written into a `role=status` that was there before. */
  #make() {
    const [element, meter, status] = [1, 2, 3].map(() => document.createElement("div"));
    this.element = element;
    this.#meter = meter;
    this.#status = status;
    this.#bar = Object.assign(document.createElement("progress"), { max: 1 });
    this.#bar.style.accentColor = "currentColor"; // as that of an input of its own
    this.#share = document.createElement("data"); // old style sheets have rules for every span
    element.setAttribute("data-oss-state", "");
    status.setAttribute("role", "status");
    status.textContent = "\u00a0";
    this.#share.setAttribute("aria-hidden", "true"); // the bar says it
    meter.append(this.#bar, " ", this.#share);
    element.append(status);
  }
}

/** Inserts a line below what a person sees as the input. It makes no box of the page wider, and moves none aside. */
function insertBehind(input, line) {
  const place = placeOf(input);
  Object.assign(line.style, { contain: "inline-size", containIntrinsicInlineSize: "15em" });
  const { display, flexWrap } = getComputedStyle(place.parentElement);
  if (/grid/.test(display)) line.style.gridColumn = "1 / -1";
  // Only a form that is itself such a row has no place below the input: the line stands at the row's end.
  else if (isRow(place.parentElement)) Object.assign(line.style, flexWrap === "nowrap" ? { order: 1 } : { flexBasis: "100%" });
  place.after(line);
}

/** Returns what a line comes after: what looks like the input, and labels that a style sheet wants beside it. */
function placeOf(input) {
  const isOutside = (element) => !element || element.contains(input.form);
  let place = input.closest("label") ?? input;
  // A transparent input lies over what a person sees as its button.
  const cover = getComputedStyle(input).opacity === "0" ? input.offsetParent : null;
  if (!isOutside(cover) && cover.contains(place)) place = cover;
  while (!isOutside(place.parentElement) && isNarrow(place.parentElement)) place = place.parentElement;
  while (place.nextElementSibling?.localName === "label" && place.nextElementSibling.control === input) {
    place = place.nextElementSibling;
  }
  return place;
}

/** Whether a line has no place in an element: it is a part of a text, or a row of boxes that does not wrap. */
function isNarrow(element) {
  const { display, flexWrap } = getComputedStyle(element);
  return display === "inline" || (isRow(element) && flexWrap === "nowrap");
}

function isRow(element) {
  const { display, flexDirection } = getComputedStyle(element);
  return /flex/.test(display) && flexDirection.startsWith("row");
}

function stateOf(items, words) {
  if (items.length > 1) return words("doing", { n: items.length, done: items.filter(({ state }) => state === "stored").length });
  const [{ state, running, file }] = items;
  return `${visible(file.name)}: ${words(`states.${running ? "sending" : state}`)}`;
}

function textOf(items, isHeld, words) {
  const why = items.filter(isFailing).map((item) => `${visible(item.file.name)}: ${whyOf(item, words)}`);
  const parts = items.length > 1 || why.length === 0 ? [stateOf(items, words)] : [];
  if (why.length > 0) parts.push(...why, words("forms.instead"));
  else if (isHeld) parts.push(words("forms.waiting"));
  return parts.reduce((text, part) => text + words(/[.。]$/.test(text) ? "sentences" : "separator") + part);
}

function whyOf(item, words) {
  if (item.state === "unsure" || item.state === "untold") return words(`states.${item.state}`);
  const why = explain(item.error, words, item.file);
  return item.state === "retrying" ? [why, words("states.retrying")].join(words("sentences")) : why;
}
