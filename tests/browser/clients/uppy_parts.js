/** Shared by the pages of Uppy with uploads in parts: the options of the page's address, and what Uppy reports. */
import { onFile, report } from "./page.js";

/** Starts an Uppy as its documentation says. `always`: all files in parts; `remember`: with the Golden Retriever. */
export function start({ Uppy, AwsS3, GoldenRetriever, options }) {
  const { always, remember } = Object.fromEntries(new URLSearchParams(location.search));
  const uppy = new Uppy({ autoProceed: true }).use(AwsS3, always ? { ...options, shouldUseMultipart: true } : options);
  if (remember) uppy.use(GoldenRetriever);
  uppy.on("upload-success", (_, { status, body }) => report("upload-success", status, body?.answer ?? ""));
  uppy.on("upload-error", (_, { message }) => report("upload-error", message));
  uppy.on("restored", () => report("restored"));
  onFile((file) => uppy.addFile(file));
  window.uppy = uppy;
}
