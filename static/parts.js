/** Sends a large file in parts, and goes on with one that was interrupted. `upload.js` loads this for the first such file. */

/** How many parts of a file are sent at a time. */
const PARALLEL = 3;

/** Seconds before each further attempt of a part. */
const DELAYS = [1, 3, 8, 20, 40];

const DATABASE = "oss-wsgi-uploads";

/**
 * Sends the parts of `item.file` that OSS lacks, completes the upload, and returns what changes in the item.
 * `item.upload` is the upload that has begun. `tools` are the Uploader's.
 */
export async function sendParts(item, tools, signal) {
  try {
    for (let round = 0; ; round += 1) {
      try {
        const { answer, location: url, key } = await sendOnce(item, tools, signal);
        signal.throwIfAborted();
        forget(item.upload.id);
        const text = typeof answer === "string" ? answer : JSON.stringify(answer) ?? "";
        return { key, url, status: 200, answer: text, upload: null, sent: item.file.size, progress: 1, error: null };
      } catch (error) {
        signal.throwIfAborted();
        const isGone = error.code === "upload_gone" || error.code === "crc64_mismatch";
        if (isGone) {
          forget(item.upload.id);
          item.upload = null;
        }
        // A part may have been lost on the way: OSS's own list says which.
        if (round > 0 || !(isGone || error.code === "parts_missing")) throw error;
      }
    }
  } finally {
    if (item.state === "cancelled") abortParts(item, tools); // it was cancelled while it began
  }
}

async function sendOnce(item, tools, signal) {
  const isNew = !item.upload;
  if (isNew) await begin(item, tools, signal);
  const done = isNew ? new Map() : await list(item, tools, signal);
  await send(item, done, tools, signal);
  signal.throwIfAborted();
  tools.setState(item, "answering");
  const parts = [...done].sort(([a], [b]) => a - b).map(([number, etag]) => ({ PartNumber: number, ETag: etag }));
  parts.toJSON = undefined; // old versions of Prototype make JSON.stringify quote arrays
  const { answer } = await tools.call(place(item, "/complete"), { method: "POST", body: JSON.stringify({ parts }), signal });
  return answer;
}

/** Aborts an unwanted upload, so that nothing of it stays in the bucket. */
export async function abortParts(item, tools) {
  const { upload } = item;
  if (!upload) return;
  item.upload = null;
  forget(upload.id);
  // If this fails, a rule of the bucket removes the parts some days later.
  await tools.call(place({ upload }), { method: "DELETE", keepalive: true }).catch(() => {});
}

/** Sets `item.resumable` to the upload that an earlier page has begun of this file; `isChanged` if the file has changed. */
export async function offer(item, tools) {
  const { file } = item;
  const [known] = await recordsOf(item, tools);
  if (!known || item.state !== "queued") return;
  item.resumable = { ...known, isChanged: known.size !== file.size || known.modified !== file.lastModified };
  tools.emit("resumable", item);
}

/** All notes, read once for files that are added together. */
let snapshot = null;

function readAll() {
  snapshot ??= transact("readonly", (store) => store.getAll()).catch(() => []);
  setTimeout(() => (snapshot = null));
  return snapshot;
}

/** Returns what is noted of a file of this name, newest first. */
async function recordsOf({ file, path }, tools) {
  const now = Date.now() / 1000;
  const records = await readAll();
  for (const { id } of records.filter(({ until }) => until <= now)) forget(id);
  const isSame = (record) => record.name === file.name && record.path === path && record.server === tools.server();
  return records.filter((record) => record.until > now && isSame(record)).sort((a, b) => b.until - a.until);
}

function forget(id) {
  transact("readwrite", (store) => store.delete(id)).catch(() => {});
}

async function begin(item, tools, signal) {
  const { file, path } = item;
  const body = { filename: file.name, type: file.type, size: file.size, part_size: tools.partSize() };
  if (path.includes("/")) body.relative_path = path;
  // This request is not cancelled: otherwise an upload that OSS has begun could not be aborted.
  const isBegun = (begun) => begun?.uploadId && begun.part_size > 0;
  const { answer } = await tools.call("", { method: "POST", body: JSON.stringify(body) }, isBegun);
  item.upload = { id: answer.uploadId, key: answer.key, partSize: answer.part_size, until: answer.expire };
  signal.throwIfAborted();
  for (const { id } of await recordsOf(item, tools)) forget(id); // one upload is offered for a file
  remember(item, 0, tools);
}

async function list(item, tools, signal) {
  const { answer } = await tools.call(place(item), { signal }, Array.isArray);
  const count = countOf(item);
  return new Map(answer
    .filter(({ PartNumber: number, Size: size }) => number <= count && size === sliceOf(item, number).size)
    .map(({ PartNumber: number, ETag: etag }) => [number, etag]));
}

/** Sends the missing parts, a few at a time. The progress shown never goes back when a part begins again. */
async function send(item, done, tools, signal) {
  const missing = [];
  for (let number = 1; number <= countOf(item); number += 1) if (!done.has(number)) missing.push(number);
  const loaded = new Map([...done.keys()].map((number) => [number, sliceOf(item, number).size]));
  const show = () => {
    let sum = 0;
    for (const bytes of loaded.values()) sum += bytes;
    item.note(Math.max(item.sent, Math.min(sum, item.file.size)), item.file.size);
    tools.emit("progress", item);
  };
  let working = Math.min(PARALLEL, missing.length);
  let resting = 0;
  const settle = () => {
    const state = resting > 0 && resting === working ? "retrying" : "sending";
    if (!signal.aborted && (item.state !== state || state === "retrying")) tools.setState(item, state);
  };
  const stop = new AbortController(); // when one part fails, all stop
  const isOver = () => stop.signal.aborted || signal.aborted;
  signal.addEventListener("abort", () => stop.abort(), { signal: stop.signal });

  const sendOne = async (number) => {
    for (let tries = 0, waits = 0; ; ) {
      try {
        const { answer } = await tools.call(place(item, `/${number}`), { signal: stop.signal }, (signed) => signed?.url);
        const { url, headers } = answer;
        const body = sliceOf(item, number);
        const progress = (bytes) => {
          loaded.set(number, bytes);
          show();
        };
        const request = { method: "PUT", url, headers, body, file: item.file, progress, signal: stop.signal };
        done.set(number, await tools.transfer(request));
        progress(body.size);
        remember(item, item.sent, tools);
        return;
      } catch (error) {
        if (isOver()) throw error;
        loaded.delete(number);
        error.complete = false; // a complete part is not a complete file
        const isPatience = error.retryAfter !== null && waits++ < 50;
        if (!error.passing || (!isPatience && tries >= DELAYS.length)) throw Object.assign(error, { isFinal: true });
        resting += 1;
        await tools.rest(item, error, isPatience ? error.retryAfter : DELAYS[tries++], stop.signal, settle);
        resting -= 1;
        if (isOver()) throw error;
        settle();
      }
    }
  };

  const work = async () => {
    try {
      while (missing.length > 0 && !isOver()) await sendOne(missing.shift());
    } catch (error) {
      if (!isOver()) stop.abort(error);
      throw error;
    } finally {
      working -= 1;
      if (!isOver() && working > 0) settle();
    }
  };
  tools.setState(item, "sending");
  show();
  try {
    await Promise.all([...Array(working)].map(work));
  } catch (error) {
    signal.throwIfAborted();
    throw stop.signal.reason?.kind ? stop.signal.reason : error;
  } finally {
    stop.abort();
  }
}

function countOf({ file, upload }) {
  return Math.max(1, Math.ceil(file.size / upload.partSize));
}

function sliceOf({ file, upload }, number) {
  return file.slice((number - 1) * upload.partSize, Math.min(file.size, number * upload.partSize));
}

function place({ upload }, rest = "") {
  return `/${encodeURIComponent(upload.id)}${rest}?key=${encodeURIComponent(upload.key)}`;
}

/** Notes an upload that has begun, so that it can go on after a reload or a crash, once the file is chosen again. */
function remember({ file, path, upload }, sent, tools) {
  const { name, size, lastModified: modified } = file;
  transact("readwrite", (store) => store.put({ ...upload, name, path, size, modified, sent, server: tools.server() })).catch(() => {});
}

/** Does one thing with the store, and returns its result. */
async function transact(mode, act) {
  const database = await open();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(DATABASE, mode);
      const request = act(transaction.objectStore(DATABASE));
      transaction.addEventListener("complete", () => resolve(request.result));
      for (const type of ["error", "abort"]) transaction.addEventListener(type, () => reject(transaction.error));
    });
  } finally {
    database.close();
  }
}

function open() {
  return new Promise((resolve, reject) => {
    const request = globalThis.indexedDB.open(DATABASE, 1);
    request.addEventListener("upgradeneeded", () => request.result.createObjectStore(DATABASE, { keyPath: "id" }));
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}
