/**
 * Uploads the files that a person chooses in an `<input type="file" data-oss-upload>`. `upload.js` loads this where a page
 * has such an input. The `<output>` of the input, if there is one, has a line for each file.
 */

import { explain, loadWords, visible } from "./words.js";

/** Cancels the uploads of an input's earlier choice. */
const stopRound = new WeakMap();

/** Returns the words in the language of the nearest `data-language`, or else of the browser. */
export function wordsOf(input) {
  const language = input.closest("[data-language]")?.dataset.language;
  return loadWords(language ? [language] : navigator.languages);
}

/**
 * Starts to upload the chosen files; those of an earlier choice that still run are cancelled.
 *
 * While files run, and after one failed or has no answer, the input is invalid, so that its form is not submitted. If the
 * input has a name, a hidden field of this name holds each stored file's signed ID, and the form does not send the files
 * themselves; a file of which the application was not told has no signed ID, so it makes the input invalid too. The
 * input forgets its choice as soon as its form no longer needs it: only then does the browser report a choice of the same
 * file.
 * More files than `data-oss-max-files` says are refused together, and none is sent.
 * `oss:progress`, `oss:done` and `oss:fail` bubble from the input; `detail.item` is the file's `UploadItem`.
 */
export function uploadChosen(input, Uploader, defaultUrl, outputOf, words) {
  stopRound.get(input)?.();
  const uploader = new Uploader({ serverUrl: input.dataset.ossUpload || defaultUrl });
  const output = outputOf(input);
  const lines = new Map();
  const name = input.name || input.dataset.ossName;
  const fields = [];
  const stop = () => {
    stopRound.delete(input);
    for (const item of uploader.items) uploader.remove(item);
    for (const field of fields) field.remove();
  };
  stopRound.set(input, stop);

  const limit = limitOf(input);
  if (input.files.length > limit) {
    const text = words("errors.tooMany", { n: input.files.length, limit });
    input.setCustomValidity(text);
    input.value = "";
    if (output) output.textContent = text;
    return;
  }

  const show = () => {
    if (stopRound.get(input) !== stop) return;
    const running = uploader.items.find((item) => item.running);
    const failures = name ? ["failed", "unsure", "untold"] : ["failed", "unsure"];
    const failed = uploader.items.find((item) => failures.includes(item.state));
    input.setCustomValidity(running ? words("states.sending") : failed ? stateOf(failed, words) : "");
    const isSettled = uploader.items.every(({ state }) => state === "stored" || state === "failed");
    if (isSettled && (failed || !input.required)) input.value = "";
    for (const item of uploader.items) lines.get(item)?.show(item);
  };
  const tell = (type, item) => {
    input.dispatchEvent(new CustomEvent(`oss:${type}`, { bubbles: true, composed: true, detail: { item } }));
  };

  uploader.addEventListener("state", show);
  uploader.addEventListener("progress", ({ detail: { item } }) => {
    show();
    tell("progress", item);
  });
  uploader.addEventListener("done", ({ detail: { item } }) => {
    if (name && item.state === "stored") {
      input.removeAttribute("name");
      input.dataset.ossName = name;
      const field = Object.assign(document.createElement("input"), { type: "hidden", name, value: item.signedId });
      fields.push(field);
      input.after(field);
    }
    tell("done", item);
  });
  uploader.addEventListener("fail", ({ detail: { item } }) => {
    show();
    tell("fail", item);
  });
  for (const item of uploader.add(input.files)) lines.set(item, new Line(item, words));
  const elements = [...lines.values()].map(({ element }) => element);
  for (const element of elements.slice(0, -1)) element.append("\n"); // for programs that read the text
  output?.replaceChildren(...elements);
  if (!name && !input.required) input.value = "";
  uploader.start();
  show();
}

/** Uploads the files that an input had before the module was loaded; an empty input says how many files it takes. */
export function uploadHeld(input, Uploader, defaultUrl, outputOf, words) {
  const output = outputOf(input);
  if (input.files.length > 0) uploadChosen(input, Uploader, defaultUrl, outputOf, words);
  else if (output && Number.isFinite(limitOf(input))) output.textContent = words("maxFiles", { n: limitOf(input) });
}

/** Returns how many files may be chosen at once: `data-oss-max-files`. */
function limitOf(input) {
  return Number(input.dataset.ossMaxFiles) || Infinity;
}

/**
 * The line of a file in an `<output>`: its name, and its state or, while it is sent, a bar with the share. It has the font and
 * the colors of the page. Screen readers say the whole line when its state changes, and nothing while the bar moves.
 */
class Line {
  #words;
  #bar = Object.assign(document.createElement("progress"), { max: 1 });
  #share = document.createElement("data"); // no style sheet means it
  #state = document.createElement("span");

  constructor({ file }, words) {
    this.#words = words;
    const name = document.createElement("bdi");
    name.textContent = visible(file.name);
    this.#bar.setAttribute("aria-label", name.textContent);
    this.#share.setAttribute("aria-hidden", "true"); // the bar says it
    this.element = Object.assign(document.createElement("span"), { lang: words.lang, dir: words.dir });
    this.element.setAttribute("aria-atomic", "true");
    this.element.append(name, ": ", this.#state);
    // A Content-Security-Policy may forbid attributes with styles, but never these.
    Object.assign(this.element.style, { display: "block", marginTop: "0.25em", overflowWrap: "anywhere" });
    Object.assign(this.#bar.style, { accentColor: "currentColor", maxWidth: "100%" });
    Object.assign(this.#share.style, { fontVariantNumeric: "tabular-nums" });
  }

  show(item) {
    const isSent = item.state === "sending";
    this.#bar.value = item.progress;
    this.#share.textContent = `${Math.floor(item.progress * 100)} %`;
    const text = isSent ? "" : stateOf(item, this.#words);
    if (isSent && !this.#bar.parentNode) this.#state.replaceChildren(this.#bar, " ", this.#share);
    else if (!isSent && this.#state.textContent !== text) this.#state.textContent = text;
  }
}

function stateOf(item, words) {
  if (item.state === "failed") return explain(item.error, words, item.file);
  if (item.state !== "retrying") return words(`states.${item.state}`);
  return [explain(item.error, words, item.file), words("states.retrying")].join(words("sentences"));
}
