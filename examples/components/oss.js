/** Our own module, as your server has it. Its address is no literal, so that Vite and webpack leave it to the browser. */
const MODULE = "/oss/upload.js";
const loading = import(/* @vite-ignore */ /* webpackIgnore: true */ MODULE).then(({ Uploader }) => new Uploader());

/** Uploads a file; resolves to what your application returned, or rejects with a sentence in the browser's language. */
export async function upload(file, { onProgress = () => {}, signal } = {}) {
  const uploader = await loading;
  signal?.throwIfAborted();
  const [item] = uploader.add([file]);
  return new Promise((resolve, reject) => {
    const ended = new AbortController();
    const settle = async () => {
      ended.abort();
      uploader.remove(item);
      if (item.state === "stored") resolve(item.answer ? JSON.parse(item.answer) : {});
      else reject(new Error(await item.explain()));
    };
    const listen = (type, listener) =>
      uploader.addEventListener(type, ({ detail }) => detail.item === item && listener(), { signal: ended.signal });
    listen("progress", () => onProgress(item.progress));
    for (const type of ["done", "fail", "cancel"]) listen(type, settle);
    signal?.addEventListener("abort", () => uploader.cancel(item), { signal: ended.signal });
    // A file that is too large, or of a wrong type, has failed by now.
    if (item.ended) settle();
    else uploader.start([item]);
  });
}
