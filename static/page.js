/** The upload page: shows the state of an Uploader in the reader's language. */

import { Uploader } from "./upload.js";
import { explain, technical, wordsFor } from "./words.js";

const $ = (id) => document.getElementById(id);
const root = document.documentElement;
const words = wordsFor(navigator.language);
const { serverUrl, recoverUrl } = root.dataset;
const uploader = new Uploader({ serverUrl, recoverUrl: recoverUrl === "" ? null : recoverUrl });
const rows = new Map();

/** In bytes. Larger pictures take too long to decode for a thumbnail. */
const LARGEST_THUMBNAIL = 30e6;

// ---------------------------------------------------------------- words and numbers

root.lang = words.lang;
document.title = words.title;
for (const element of document.querySelectorAll("[data-text]")) element.textContent = words[element.dataset.text];

const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

function size(bytes) {
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  const value = bytes / 1000 ** power;
  const digits = power === 0 || value >= 100 ? 0 : 1;
  const style = { style: "unit", unit: units[power], unitDisplay: power === 0 ? "long" : "short" };
  return new Intl.NumberFormat(words.lang, { ...style, minimumFractionDigits: digits, maximumFractionDigits: digits })
    .format(value).replace(" ", "\u00a0");
}

const percent = new Intl.NumberFormat(words.lang, { style: "percent", maximumFractionDigits: 0 });
const join = (parts) => parts.filter(Boolean).join(words.separator);

function pace(rate, left) {
  return rate > 0 ? [words.speed(size(rate)), left > 0 && words.left(left / rate)] : [];
}

function show(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === "";
}

// ---------------------------------------------------------------- one row

class Row {
  constructor(item) {
    this.item = item;
    this.element = $("row").content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    this.parts = {
      tile: find(".tile"), name: find(".name bdi"), state: find(".state"), facts: find(".facts"),
      close: find(".icon-button"), progress: find("progress"), more: find(".more"), message: find(".message"),
      detail: find(".detail"), object: find(".object"), link: find(".object a"), key: find(".object bdi"),
      answer: find(".answer"), text: find("pre"), retry: find(".retry"),
    };
    const { name, close, progress, retry, text } = this.parts;
    name.id = `name-${item.id}`;
    name.textContent = name.title = item.file.name;
    this.twin = [...rows.values()].some(({ item: { file } }) => file.name === item.file.name && file.size === item.file.size);
    close.setAttribute("aria-describedby", name.id);
    retry.setAttribute("aria-describedby", name.id);
    progress.setAttribute("aria-labelledby", name.id);
    text.setAttribute("aria-label", words.answer);
    find(".answer-title").textContent = words.answer;
    retry.textContent = words.retry;
    close.addEventListener("click", (event) => {
      if (item.running) uploader.cancel(item);
      else if (isDeliberate(event)) remove(item);
    });
    retry.addEventListener("click", () => {
      uploader.retry(item);
      close.focus();
    });
    this.picture();
    this.update();
  }

  /** Shows a thumbnail for an image, and the extension in up to four letters for any other file. */
  picture() {
    const { file } = this.item;
    const { tile } = this.parts;
    tile.textContent = /\.([a-z0-9]{1,4})$/i.exec(file.name)?.[1].toUpperCase() ?? "";
    if (!file.type.startsWith("image/") || file.size === 0 || file.size > LARGEST_THUMBNAIL) return;
    const image = new Image();
    image.alt = "";
    image.decoding = "async";
    this.imageUrl = URL.createObjectURL(file);
    image.addEventListener("load", () => {
      this.release();
      tile.replaceChildren(image);
    });
    image.addEventListener("error", () => this.release());
    image.src = this.imageUrl;
  }

  release() {
    URL.revokeObjectURL(this.imageUrl);
  }

  update() {
    const { item, parts } = this;
    const { file, state, error } = item;
    this.element.dataset.state = state;
    show(parts.state, words.states[state]);
    this.updateProgress();

    const label = item.running ? words.cancel : words.remove;
    parts.close.setAttribute("aria-label", label);
    parts.close.title = label;

    const failed = state === "failed";
    const untold = state === "untold";
    show(parts.message, explainState(item));
    show(parts.detail, error ? technical(error) : "");
    const stored = state === "stored" || untold;
    show(parts.key, stored ? item.key : "");
    parts.object.hidden = !stored;
    if (stored && item.url) parts.link.href = item.url;
    else parts.link.removeAttribute("href");
    show(parts.text, item.answer);
    parts.answer.hidden = item.answer === "";
    show(parts.retry, item.notStored ? words.sendAgain : words.retry);
    parts.retry.hidden = !failed && state !== "cancelled" && !item.canAsk;
    parts.more.hidden = [...parts.more.children].every((child) => child.hidden);
    if (parts.text.scrollHeight > parts.text.clientHeight) parts.text.tabIndex = 0;
    if (file.size === 0) parts.progress.value = state === "answering" ? 1 : 0;
  }

  updateProgress() {
    const { item, parts } = this;
    const { file, state } = item;
    const sending = state === "sending";
    parts.progress.hidden = !item.running || state === "waiting";
    parts.progress.value = item.progress;
    const rate = item.rate();
    show(parts.facts, join([
      sending && percent.format(item.progress),
      sending ? words.bytes(size(item.sent), size(file.size)) : size(file.size),
      ...pace(rate, file.size - item.sent),
      state === "queued" && this.twin && words.twin,
    ]));
  }
}

/** Returns the sentence under a file that did not simply succeed: what happened, and what to do. */
function explainState({ state, error, complete, notStored, canAsk }) {
  if (state === "untold") return canAsk ? words.untoldAskHint : words.untoldHint;
  if (state === "unsure") return words.unsureHint;
  if (state === "cancelled") return complete ? words.cancelledLate : "";
  if (state !== "failed") return "";
  if (notStored) return words.notStoredHint;
  return [explain(error, words), error.complete && words.completeHint].filter(Boolean).join(words.sentences);
}

// ---------------------------------------------------------------- all files

function updateBar() {
  const totals = uploader.totals;
  const { files, queued, running, stored, untold, failed, cancelled } = totals;
  const askable = uploader.items.filter((item) => item.canAsk).length;
  const done = stored + untold;
  const progress = totals.bytes > 0 ? totals.sent / totals.bytes : files > 0 ? done / files : 0;

  let summary = words.nothing;
  if (running > 0) summary = words.doing(done, files);
  else if (files + cancelled > 0) summary = words.result(totals);
  else if (queued > 0) summary = words.ready(queued, size(totals.queuedBytes));
  show($("summary"), join([summary, files + cancelled > 0 && queued > 0 && words.moreReady(queued)]));
  show($("pace"), running === 0 ? "" : join([
    words.bytes(size(totals.sent), size(totals.bytes)),
    ...pace(totals.rate, totals.bytes - totals.sent),
  ]));

  $("total").hidden = running === 0;
  $("total").value = progress;
  $("stop").hidden = running === 0;
  $("again").hidden = running > 0 || failed + cancelled + askable < 2;
  $("clear").hidden = running > 0 || stored + untold + cancelled < 2;
  $("upload").setAttribute("aria-disabled", String(queued === 0));
  $("rows").hidden = rows.size === 0;
  document.body.classList.toggle("has-files", rows.size > 0);
  document.title = running > 0 ? `${percent.format(progress)} · ${words.title}` : words.title;
}

function remove(item) {
  const { element } = rows.get(item);
  const next = element.nextElementSibling ?? element.previousElementSibling;
  const focused = element.contains(document.activeElement);
  uploader.remove(item);
  if (focused) (next?.querySelector(".icon-button") ?? $("file")).focus();
}

// ---------------------------------------------------------------- screen readers

/** Events of the last moment, announced together: 100 files must not make 100 announcements. */
const news = { stored: [], untold: [], unsure: [], failed: [], cancelled: [] };
let newsTimer = 0;
let newsIdle = false;

function announce(...sentences) {
  $("live").textContent = sentences.join(words.sentences);
}

function addNews(item) {
  news[item.state].push(item);
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
    sentences.push(words.news[state](items.length, file.name, error ? explain(error, words) : ""));
    items.length = 0;
  }
  const totals = uploader.totals;
  if (newsIdle && totals.running === 0 && totals.files > 1) sentences.push(words.news.idle(words.result(totals)));
  newsIdle = false;
  if (sentences.length > 0) announce(...sentences);
}

// ---------------------------------------------------------------- events of the uploader

uploader.addEventListener("add", ({ detail: { item } }) => {
  const row = new Row(item);
  rows.set(item, row);
  $("rows").append(row.element);
});

uploader.addEventListener("remove", ({ detail: { item } }) => {
  const row = rows.get(item);
  row.release();
  row.element.remove();
  rows.delete(item);
  updateBar();
});

uploader.addEventListener("state", ({ detail: { item } }) => {
  rows.get(item).update();
  updateBar();
});

uploader.addEventListener("progress", ({ detail: { item } }) => {
  rows.get(item).updateProgress();
  updateBar();
});

for (const type of ["done", "fail", "cancel"]) {
  uploader.addEventListener(type, ({ detail: { item } }) => addNews(item));
}

uploader.addEventListener("idle", () => {
  newsIdle = true;
  updateBar();
  announceLater();
});

/** A stalled upload sends no events, but its displayed speed must still fall. */
setInterval(() => {
  if (!uploader.running) return;
  for (const row of rows.values()) if (row.item.state === "sending") row.updateProgress();
  updateBar();
}, 1000);

addEventListener("beforeunload", (event) => {
  if (!uploader.running) return;
  event.preventDefault();
  event.returnValue = true; // older browsers
});

// ---------------------------------------------------------------- input

/** Buttons move when files end, so the second click of a double click may hit another button: ignore it. */
function isDeliberate(event) {
  return event.detail < 2;
}

function add(files, unreadable = 0) {
  const added = uploader.add(files);
  updateBar();
  const sentences = [];
  if (added.length > 0) sentences.push(words.news.added(added.length));
  if (unreadable > 0) sentences.push(words.news.unreadable(unreadable));
  if (sentences.length > 0) announce(...sentences);
}

$("file").addEventListener("change", ({ target }) => {
  add(target.files);
  target.value = ""; // otherwise choosing the same file again fires no event
});

$("upload").addEventListener("click", () => {
  const started = uploader.start();
  announce(started.length > 0 ? words.news.started(started.length) : words.nothingToSend);
  if (uploader.items.length === 0) $("file").focus();
});

$("stop").addEventListener("click", () => {
  for (const item of uploader.items.filter((item) => item.running).reverse()) uploader.cancel(item);
  $("upload").focus();
});

$("again").addEventListener("click", (event) => {
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
  if (clipboardData?.files.length > 0) add(clipboardData.files);
});

// A file dropped beside the zone would replace the page, so the whole window accepts files.
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
let depth = 0;

function drag(change) {
  depth = Math.max(0, depth + change);
  document.body.classList.toggle("dragging", depth > 0);
}

addEventListener("dragenter", (event) => carriesFiles(event) && drag(1));
addEventListener("dragleave", (event) => carriesFiles(event) && drag(-1));
addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
});
addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  drag(-depth);
  const { files, unreadable } = await filesIn(event.dataTransfer);
  add(files, unreadable);
});

/** Returns the dropped files and those inside dropped folders. Entries can be read only before the first await. */
async function filesIn({ items, files: plain }) {
  const entries = Array.from(items, (item) => item.kind === "file" && item.webkitGetAsEntry?.());
  const flat = [...plain];
  if (!entries.some((entry) => entry && entry.isDirectory)) return { files: flat, unreadable: 0 };
  const dropped = { files: [], unreadable: 0 };
  for (const entry of entries) if (entry) await walk(entry, dropped);
  return dropped;
}

async function walk(entry, dropped) {
  try {
    if (entry.isFile) {
      dropped.files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (batch.length === 0) return;
      for (const child of batch) await walk(child, dropped);
    }
  } catch {
    dropped.unreadable += 1;
  }
}

updateBar();
