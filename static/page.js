/** The upload page: shows the state of an Uploader in the reader's language. */

import { filesIn, isOfSystem, nameOfPasted } from "./choosing.js";
import { Uploader } from "./upload.js";
import { explain, explainItem, loadWords, sizeIn, technical, typesIn, visible, wordsOf } from "./words.js";

const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const { serverUrl, recoverUrl, linkUrl } = root.dataset;
const uploader = new Uploader({ serverUrl, recoverUrl: recoverUrl === "" ? null : recoverUrl });
const rows = new Map();

/** How often a file is in the list, by name, size and path. */
const twins = new Map();

/** Files that change without an event: a countdown goes on, and the speed of a stalled upload falls. */
const moving = new Set();

/** How many rows are added to the page in one frame: enough to fill a window, so that a thousand files do not block it. */
const ROWS_OF_A_FRAME = 25;

/** In bytes. Larger pictures take too long to decode for a thumbnail. */
const LARGEST_THUMBNAIL = 30e6;

// ---------------------------------------------------------------- words and numbers

let words = await wordsOfPage();
let limits = null;
let percent;

/** Returns the words in the language that the page's attribute names, or else the browser's. */
async function wordsOfPage() {
  const { data } = await loadWords(root.dataset.language ? [root.dataset.language] : navigator.languages);
  const own = JSON.parse(root.dataset.texts ?? "{}");
  return wordsOf(data, { ...own, ...own[data.lang] });
}

/** Writes all texts in the language of `words`. */
function showWords() {
  root.lang = words.lang;
  root.dir = words.dir;
  percent = new Intl.NumberFormat(words.lang, { style: "percent", maximumFractionDigits: 0 });
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = words(element.dataset.text);
  for (const row of rows.values()) row.rename();
  for (const group of groups.values()) group.update();
  showLimits();
  updateBar();
}

new MutationObserver(async () => {
  words = await wordsOfPage();
  showWords();
}).observe(root, { attributeFilter: ["data-language"] });

const size = (bytes) => sizeIn(bytes, words);
const join = (parts) => parts.filter(Boolean).join(words("separator"));

function left(seconds) {
  if (seconds < 60) return words("left.seconds", { n: Math.max(1, Math.ceil(seconds)) });
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return words("left.minutes", { n: minutes });
  return words("left.hours", { h: Math.floor(minutes / 60), n: minutes % 60 });
}

function pace(rate, bytes) {
  return rate > 0 ? [words("speed", { size: size(rate) }), bytes > 0 && left(bytes / rate)] : [];
}

function show(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
}

// ---------------------------------------------------------------- what may be uploaded

async function loadLimits() {
  limits = await uploader.limits();
  $("file").accept = limits?.content_types.join() ?? "";
  showLimits();
}

/** Says on the drop zone what the server takes, so that nobody has to find out by trial and error. */
function showLimits() {
  show($("limits"), limits === null ? "" : limitsText());
}

function limitsText() {
  const types = limits.content_types;
  const text = join([
    types.length > 0 && words("only", { types: typesIn(types, words) }),
    words("upTo", { size: size(limits.max_size) }),
  ]);
  return text.charAt(0).toLocaleUpperCase(words.lang) + text.slice(1);
}

// ---------------------------------------------------------------- one row

/** Spaces between the elements of a template would be half of the nodes of a row. */
for (const { content } of document.querySelectorAll("template")) {
  const texts = document.createNodeIterator(content, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) if (text.data.trim() === "") text.remove();
}

/** Element -> its row. */
const rowOf = new WeakMap();

class Row {
  constructor(item) {
    this.item = item;
    this.twinKey = `${item.path} ${item.file.name} ${item.file.size}`;
    const count = twins.get(this.twinKey) ?? 0;
    this.isTwin = count > 0;
    twins.set(this.twinKey, count + 1);
  }

  /** Makes the element. Until then the row shows nothing. */
  build() {
    const { item } = this;
    this.element = $("row").content.firstElementChild.cloneNode(true);
    rowOf.set(this.element, this);
    const find = (selector) => this.element.querySelector(selector);
    this.parts = {
      tile: find(".tile"), path: find(".path"), folder: find(".path bdi"), link: find(".name a"), name: find(".name bdi"),
      state: find(".state"), facts: find(".facts"), close: find(".close"), progress: find("progress"),
      more: find(".more"), message: find(".message"), detail: find(".detail"), key: find(".object bdi"),
      answer: find(".answer"), title: find(".answer-title"), text: find("pre"), retry: find(".retry"), show: find(".show"),
      showText: find(".show span"),
      pause: find(".pause"), offer: find(".offer"), resume: find(".continue"), startOver: find(".offer .plain"),
    };
    const { link, name, close, progress, retry, show: more, pause, resume, startOver } = this.parts;
    link.id = `name-${item.id}`;
    name.textContent = name.title = visible(item.file.name);
    show(this.parts.folder, visible(item.path.slice(0, item.path.lastIndexOf("/") + 1)));
    this.parts.path.hidden = this.parts.folder.hidden;
    for (const button of [close, retry, more, pause, resume, startOver]) button.setAttribute("aria-describedby", link.id);
    progress.setAttribute("aria-labelledby", link.id);
    close.addEventListener("click", (event) => {
      if (item.running || item.state === "paused") uploader.cancel(item);
      else if (isDeliberate(event)) remove(item);
    });
    retry.addEventListener("click", (event) => {
      if (isDeliberate(event) && uploader.retry(item)) close.focus();
    });
    pause.addEventListener("click", (event) => {
      if (isDeliberate(event) && !uploader.resume(item)) uploader.pause(item);
    });
    for (const [button, act] of [[resume, () => uploader.resume(item)], [startOver, () => uploader.start([item])]]) {
      button.addEventListener("click", () => {
        act();
        close.focus();
      });
    }
    more.addEventListener("click", () => this.open(more.getAttribute("aria-expanded") === "false"));
    this.picture();
    this.rename();
    return this.element;
  }

  /** Shows the extension in up to four letters, and for an image a thumbnail when the row comes into view. */
  picture() {
    const { file } = this.item;
    this.parts.tile.textContent = /\.([a-z0-9]{1,4})$/i.exec(file.name)?.[1].toUpperCase() ?? "";
    if (file.type.startsWith("image/") && file.size > 0 && file.size <= LARGEST_THUMBNAIL) inView.observe(this.element);
  }

  /** Resolves when the thumbnail is shown, or cannot be made. */
  loadPicture() {
    const image = new Image();
    image.alt = "";
    image.decoding = "async";
    const url = URL.createObjectURL(this.item.file);
    image.src = url;
    return image.decode().then(() => this.parts.tile.replaceChildren(image), () => {}).finally(() => URL.revokeObjectURL(url));
  }

  release() {
    if (this.element) inView.unobserve(this.element);
    this.element?.remove();
    twins.set(this.twinKey, twins.get(this.twinKey) - 1);
    moving.delete(this.item);
    leaveGroup(this);
  }

  /** Opens or closes what the application answered. */
  open(isOpen) {
    this.parts.show.setAttribute("aria-expanded", String(isOpen));
    this.update();
    if (isOpen && this.parts.text.scrollHeight > this.parts.text.clientHeight) this.parts.text.tabIndex = 0;
  }

  rename() {
    if (!this.element) return;
    const { text, title } = this.parts;
    text.setAttribute("aria-label", words("answer"));
    title.textContent = words("answer");
    this.parts.resume.textContent = words("resume");
    this.parts.startOver.textContent = words("startOver");
    this.update();
  }

  update() {
    if (!this.element) return;
    const { item, parts } = this;
    const { state, error } = item;
    this.element.dataset.state = state;
    show(parts.state, words(`states.${state}`));
    this.updateProgress();

    const isPaused = state === "paused";
    parts.pause.hidden = !item.canPause && !isPaused;
    parts.pause.title = words(isPaused ? "resume" : "pause");
    parts.pause.setAttribute("aria-label", parts.pause.title);
    parts.offer.hidden = !isOffered(item);
    const label = words(item.running || isPaused ? "cancel" : "remove");
    parts.close.setAttribute("aria-label", label);
    parts.close.title = label;

    const isStored = state === "stored" || state === "untold";
    const isGrouped = this.group?.items.size > 1;
    show(parts.message, isGrouped ? "" : explainState(item));
    show(parts.detail, error && !isGrouped ? technical(error) : "");
    show(parts.key, isStored ? visible(item.key) : "");
    const url = isStored ? answeredUrl(item) : "";
    if (url || (isStored && item.url)) parts.link.href = url || linkTo(item);
    else parts.link.removeAttribute("href");
    parts.link.classList.toggle("answered", url !== "");
    show(parts.text, visible(withoutSignedId(item.answer)));
    parts.show.hidden = !isStored;
    show(parts.showText, words(item.answer === "" ? "object" : "details"));
    parts.answer.hidden = !isStored || parts.show.getAttribute("aria-expanded") === "false";
    parts.title.hidden = item.answer === "";
    show(parts.retry, words(item.notStored ? "sendAgain" : "retry"));
    parts.retry.hidden = !item.canRetry || isGrouped;
    parts.more.hidden = [...parts.more.children].every((child) => child.hidden);
  }

  updateProgress() {
    if (!this.element) return;
    const { item, parts } = this;
    const { file, state, retryIn } = item;
    const sending = state === "sending";
    const hasParts = item.upload !== null;
    const isHidden = !item.running || ["waiting", "preparing", "signing", "retrying"].includes(state);
    parts.progress.hidden = hasParts ? !item.running && state !== "paused" : isHidden;
    parts.progress.value = item.progress;
    const rate = item.rate();
    show(parts.facts, join([
      (sending || state === "paused") && percent.format(item.progress),
      sending || state === "paused" ? words("bytes", { sent: size(item.sent), size: size(file.size) }) : size(file.size),
      ...pace(rate, file.size - item.sent),
      retryIn > 0 && again(retryIn),
      state === "queued" && this.isTwin && words("twin"),
    ]));
  }
}

function again(seconds) {
  if (seconds === Infinity) return words("whenOnline");
  return words("againIn", { time: words("seconds", { n: Math.ceil(seconds) }) });
}

/** Returns whether a person must choose to go on with an earlier page's upload of the file, or to start anew. */
function isOffered({ state, resumable }) {
  return state === "queued" && resumable !== null && !resumable.isChanged;
}

/** Returns an answer without the signed ID at its end: it is a proof for forms, which nobody should copy from a screen. */
function withoutSignedId(answer) {
  return answer.replace(/,\s*"signed_id":\s*"[\w-]+"\s*\}$/, "}");
}

/** Returns the address in the application's answer, its member `url`; "" without one that a browser opens as a page. */
function answeredUrl({ answer }) {
  try {
    const { url } = JSON.parse(answer);
    const { protocol, href } = new URL(url, document.baseURI);
    return typeof url === "string" && /^https?:$/.test(protocol) ? href : "";
  } catch {
    return "";
  }
}

/** Returns the sentence under a file that did not simply succeed: what happened, and what to do. */
function explainState(item) {
  const { state, file, resumable } = item;
  if (state === "queued" && resumable?.isChanged) return words("errors.changed");
  if (state === "queued" && resumable) return words("resumableHint", { percent: percent.format(resumable.sent / file.size) });
  return explainItem(item, words);
}

/** Thumbnails are made one after another, so that a hundred photos do not stop the page. */
let lastPicture = Promise.resolve();
const inView = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    inView.unobserve(target);
    lastPicture = lastPicture.then(() => rowOf.get(target).loadPicture());
  }
}, { rootMargin: "200px" });

// ---------------------------------------------------------------- files that failed for one reason

/** The files that failed, by reason, with their banner as soon as there are two. */
const groups = new Map();

class Group {
  constructor(reason) {
    this.reason = reason;
    this.items = new Set();
    this.element = $("banner").content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    this.parts = { title: find("h3"), message: find(".message"), detail: find(".detail"), button: find("button") };
    this.parts.title.id = `banner-${groups.size}-${Date.now()}`;
    this.element.setAttribute("aria-labelledby", this.parts.title.id);
    this.parts.button.setAttribute("aria-describedby", this.parts.title.id);
    this.parts.button.addEventListener("click", (event) => {
      if (isDeliberate(event)) this.act();
    });
  }

  get isRetriable() {
    return [...this.items].some((item) => item.canRetry);
  }

  act() {
    const change = this.isRetriable ? (item) => uploader.retry(item) : (item) => uploader.remove(item);
    for (const item of [...this.items]) change(item);
    (uploader.items.length > 0 ? $("upload") : $("file")).focus();
  }

  update() {
    if (this.items.size === 0) groups.delete(this.reason);
    if (this.items.size < 2) {
      this.element.remove();
      return;
    }
    const [first] = this.items;
    const { title, message, detail, button } = this.parts;
    const isExcluded = !this.isRetriable;
    show(title, words(isExcluded ? "excludedTogether" : "failedTogether", { n: this.items.size }));
    show(message, isExcluded ? limitsText() : explainState(first));
    show(detail, isExcluded ? "" : technical(first.error));
    show(button, words(isExcluded ? "removeThese" : "retry"));
    if (!this.element.isConnected) $("banners").append(this.element);
  }
}

/** Puts a failed row beside those that failed for the same reason. */
function joinGroup(row) {
  const { kind, stage, code, status, complete, ec } = row.item.error;
  const reason = [kind, stage, code, status, complete, ec, row.item.notStored].join();
  if (!groups.has(reason)) groups.set(reason, new Group(reason));
  row.group = groups.get(reason);
  row.group.items.add(row.item);
  row.group.update();
  if (row.group.items.size === 2) for (const item of row.group.items) rows.get(item).update();
}

function leaveGroup(row) {
  const { group } = row;
  if (!group) return;
  row.group = null;
  group.items.delete(row.item);
  group.update();
  if (group.items.size === 1) for (const item of group.items) rows.get(item).update();
}

// ---------------------------------------------------------------- all files

let isBarDue = false;

/** A thousand files that start together change the bar once. */
function updateBar() {
  if (isBarDue) return;
  isBarDue = true;
  queueMicrotask(() => {
    isBarDue = false;
    showBar();
  });
}

function showBar() {
  const totals = uploader.totals;
  const { files, queued, running, stored, untold, cancelled } = totals;
  const done = stored + untold;
  const progress = totals.bytes > 0 ? totals.sent / totals.bytes : files > 0 ? done / files : 0;

  let summary = words("nothing");
  if (running > 0) summary = words("doing", { done, n: files });
  else if (files + cancelled > 0) summary = resultText(totals);
  else if (queued > 0) summary = words("ready", { n: queued, size: size(totals.queuedBytes) });
  show($("summary"), join([summary, files + cancelled > 0 && queued > 0 && words("moreReady", { n: queued })]));
  show($("pace"), running === 0 ? "" : join(waitText() ?? [
    words("bytes", { sent: size(totals.sent), size: size(totals.bytes) }),
    ...pace(totals.rate, totals.bytes - totals.sent),
  ]));

  $("total").hidden = running === 0;
  $("total").value = progress;
  $("stop").hidden = running === 0;
  $("clear").hidden = running > 0 || done + cancelled < 2;
  const hasNext = queued > 0 && uploader.items.some((item) => item.state === "queued" && !isOffered(item));
  $("upload").setAttribute("aria-disabled", String(!hasNext));
  $("rows").hidden = rows.size === 0;
  updateAgain(running);
  document.body.classList.toggle("has-files", rows.size > 0);
  document.body.classList.toggle("all-sent", rows.size > 0 && queued + running === 0);
  document.body.classList.toggle("all-done", rows.size > 0 && done === rows.size);
  document.title = running > 0 ? `${percent.format(progress)} · ${words("title")}` : words("title");
  guardLeaving(running > 0);
}

/** Returns the text that files will be tried again, if nothing else happens: their rows may be out of sight. */
function waitText() {
  const running = uploader.items.filter((item) => item.running && item.state !== "waiting");
  const retrying = running.filter((item) => item.retryIn > 0);
  if (retrying.length === 0 || retrying.length < running.length) return null;
  return [words("states.retrying"), again(Math.min(...retrying.map((item) => item.retryIn)))];
}

function resultText(totals) {
  const states = ["stored", "untold", "unsure", "failed", "paused", "cancelled"];
  return states.filter((state) => totals[state] > 0).map((state) => words(`results.${state}`, { n: totals[state] }))
    .join(words("comma"));
}

/** Kept here, because it may be in a banner that has left the page. */
const againButton = $("again");

/** Shows one button for all files that can be tried again: in the banner that is about all of them, or else in the bar. */
function updateAgain(running) {
  const retriable = running > 0 ? [] : uploader.items.filter((item) => item.canRetry);
  const together = [...groups.values()].filter((group) => group.items.size > 1);
  const only = together.length === 1 && retriable.every((item) => together[0].items.has(item)) && retriable.length > 0;
  const home = only ? together[0].element : $("bar-buttons");
  if (againButton.parentElement !== home) home.insertBefore(againButton, only ? null : $("stop"));
  show(againButton, words(retriable.length === uploader.items.length ? "againAll" : "again"));
  againButton.hidden = retriable.length < 2;
  for (const group of together) group.parts.button.hidden = only;
}

/** The browser asks before the page is closed, but only while something is on its way. */
let isGuarded = false;

function guardLeaving(isBusy) {
  if (isBusy === isGuarded) return;
  isGuarded = isBusy;
  if (isBusy) addEventListener("beforeunload", keepPage);
  else removeEventListener("beforeunload", keepPage);
}

function keepPage(event) {
  event.preventDefault();
  event.returnValue = true; // older browsers
}

function remove(item) {
  const { element } = rows.get(item);
  const next = element.nextElementSibling ?? element.previousElementSibling;
  const focused = element.contains(document.activeElement);
  uploader.remove(item);
  if (focused) (next?.querySelector(".close") ?? $("file")).focus();
}

// ---------------------------------------------------------------- screen readers

/** Events of the last moment, announced together: 100 files must not make 100 announcements. */
const news = { retrying: [], stored: [], untold: [], unsure: [], failed: [], paused: [], cancelled: [], resumable: [] };
let newsTimer = 0;
let newsIdle = false;

function announce(...sentences) {
  $("live").textContent = sentences.join(words("sentences"));
}

function addNews(item, kind = item.state) {
  news[kind].push(item);
  announceLater();
}

function announceLater() {
  if (!newsTimer) newsTimer = setTimeout(announceNews, 600);
}

function announceNews() {
  newsTimer = 0;
  const sentences = [];
  for (const [state, items] of Object.entries(news)) {
    if (items.length === 0) continue;
    const [{ file, error }] = items;
    const isOneReason = new Set(items.map((item) => rows.get(item)?.group)).size === 1;
    const why = error && isOneReason ? explain(error, words, file) : "";
    sentences.push(words(`news.${state}`, { n: items.length, name: visible(file.name), why }).trim());
    items.length = 0;
  }
  const totals = uploader.totals;
  if (newsIdle && totals.running === 0 && totals.files > 1) sentences.push(words("news.idle", { result: resultText(totals) }));
  newsIdle = false;
  if (sentences.length > 0) announce(...sentences);
}

// ---------------------------------------------------------------- events of the uploader

/** Rows that are not in the page yet, in their order. */
const arriving = [];
let isAdding = false;
let arrival = 0;

function showArriving() {
  arrival = 0;
  const next = arriving.splice(0, ROWS_OF_A_FRAME).filter((row) => rows.has(row.item));
  $("rows").append(...next.map((row) => row.build()));
  if (arriving.length > 0) arrival = requestAnimationFrame(showArriving);
}

uploader.addEventListener("add", ({ detail: { item } }) => {
  const row = new Row(item);
  rows.set(item, row);
  arriving.push(row);
});

uploader.addEventListener("remove", ({ detail: { item } }) => {
  const row = rows.get(item);
  rows.delete(item);
  row.release();
  updateBar();
});

uploader.addEventListener("state", ({ detail: { item, previous } }) => {
  const row = rows.get(item);
  if (["sending", "retrying", "asking"].includes(item.state)) moving.add(item);
  else moving.delete(item);
  if (previous === "failed") leaveGroup(row);
  if (item.state === "failed") joinGroup(row);
  if (item.state === "paused" || (item.state === "retrying" && previous !== "retrying")) addNews(item);
  row.update();
  updateBar();
});

uploader.addEventListener("progress", ({ detail: { item } }) => {
  rows.get(item).updateProgress();
  updateBar();
});

for (const type of ["done", "fail", "cancel"]) {
  uploader.addEventListener(type, ({ detail: { item } }) => isAdding || addNews(item));
}

uploader.addEventListener("resumable", ({ detail: { item } }) => {
  rows.get(item)?.update();
  updateBar();
  addNews(item, "resumable");
});

uploader.addEventListener("idle", () => {
  newsIdle = true;
  updateBar();
  announceLater();
});

setInterval(() => {
  if (moving.size === 0) return;
  for (const item of moving) rows.get(item).updateProgress();
  updateBar();
}, 1000);

// ---------------------------------------------------------------- input

/** In milliseconds and CSS pixels: clicks closer than this are one double click. */
const [DOUBLE_CLICK_TIME, DOUBLE_CLICK_DISTANCE] = [500, 40];

let lastClick = { timeStamp: -Infinity, button: null };
let isSecondClick = false;

addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (event.detail === 0 || !button) return; // a key or a script
  const { clientX, clientY, timeStamp } = event;
  const isNear = Math.hypot(clientX - lastClick.clientX, clientY - lastClick.clientY) < DOUBLE_CLICK_DISTANCE;
  isSecondClick = button !== lastClick.button && isNear && timeStamp - lastClick.timeStamp < DOUBLE_CLICK_TIME;
  lastClick = { button, clientX, clientY, timeStamp };
}, true);

/**
 * Buttons move when files start and end, so the second click of a double click may hit another button: ignore it.
 * iOS counts each tap of a double tap as a first one: there it is known by time and place.
 */
function isDeliberate(event) {
  return event.detail === 0 || !(event.detail > 1 || isSecondClick);
}

// Enter held down would press the button that has the focus next.
addEventListener("keydown", (event) => {
  if (event.repeat && event.key === "Enter" && event.target.closest("button")) event.preventDefault();
}, true);

function add(files, unreadable = 0) {
  isAdding = true;
  const added = uploader.add(files);
  isAdding = false;
  if (!arrival) showArriving();
  updateBar();
  const excluded = added.filter((item) => item.state === "failed");
  const sentences = [];
  if (added.length > excluded.length) sentences.push(words("news.added", { n: added.length - excluded.length }));
  if (excluded.length === 1) sentences.push(explain(excluded[0].error, words, excluded[0].file));
  if (excluded.length > 1) sentences.push(words("news.excluded", { n: excluded.length }), limitsText());
  if (unreadable > 0) sentences.push(words("news.unreadable", { n: unreadable }));
  if (sentences.length > 0) announce(...sentences);
}

$("file").addEventListener("change", ({ target }) => {
  add(target.files);
  target.value = ""; // otherwise choosing the same file again fires no event
});

$("folder").addEventListener("click", () => {
  const chooser = Object.assign(document.createElement("input"), { type: "file", webkitdirectory: true });
  chooser.addEventListener("change", () => add([...chooser.files].filter((file) => !isOfSystem(file.webkitRelativePath))));
  chooser.click();
});

$("upload").addEventListener("click", () => {
  const started = uploader.start(uploader.items.filter((item) => !isOffered(item)));
  if (started.length > 0) announce(words("news.started", { n: started.length }));
  else if (uploader.items.some(isOffered)) rows.get(uploader.items.find(isOffered)).parts?.resume.focus();
  else if (!uploader.running) announce(words("nothingToSend"));
  if (uploader.items.length === 0) $("file").focus();
});

$("stop").addEventListener("click", (event) => {
  if (!isDeliberate(event)) return;
  for (const item of uploader.items.filter((item) => item.running).reverse()) uploader.cancel(item);
  $("upload").focus();
});

againButton.addEventListener("click", (event) => {
  if (!isDeliberate(event)) return;
  for (const item of uploader.items) uploader.retry(item);
  $("upload").focus();
});

$("clear").addEventListener("click", (event) => {
  if (!isDeliberate(event)) return;
  for (const item of uploader.items) if (["stored", "untold", "cancelled"].includes(item.state)) uploader.remove(item);
  $("file").focus();
});

addEventListener("paste", ({ clipboardData }) => {
  const names = new Set(uploader.items.map((item) => item.file.name));
  const files = [...(clipboardData?.files ?? [])];
  if (files.length > 0) add(files.map((file) => nameOfPasted(file, words("screenshot"), names)));
});

// Where the bucket is private, and the server signs, its link leads to the object.
function linkTo({ key, url }) {
  return linkUrl ? `${new URL(linkUrl, location.href)}/${key.split("/").map(encodeURIComponent).join("/")}` : url;
}

// ---------------------------------------------------------------- dragging over the window

const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");

function showOverlay(dataTransfer) {
  const n = [...dataTransfer.items].filter((item) => item.kind === "file").length;
  show($("overlay-title"), n > 0 ? words("overlay", { n }) : words("overlayAny"));
  $("overlay").hidden = false;
}

function hideOverlay() {
  $("overlay").hidden = true;
}

addEventListener("dragenter", (event) => carriesFiles(event) && showOverlay(event.dataTransfer));
addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault(); // else a dropped file would replace the page
  event.dataTransfer.dropEffect = "copy";
  if ($("overlay").hidden) showOverlay(event.dataTransfer);
});
addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  hideOverlay();
  const { files, unreadable } = await filesIn(event.dataTransfer);
  add(files, unreadable);
});

// The pointer leaves the window, or the drag is cancelled: no pointer moves, and no key is pressed, while one lasts.
addEventListener("dragleave", (event) => event.relatedTarget === null && hideOverlay());
for (const type of ["dragend", "pointermove", "keydown", "blur"]) addEventListener(type, hideOverlay);

showWords();
loadLimits();
if ($("file").files.length > 0) add($("file").files); // chosen before this script came
