import { uploadInParts } from "./parts.js";

/** For FilePond: `FilePond.create(input, { server: { process } })`; the signed ID becomes the field's value. */
export function process(field, file, metadata, load, error, progress, abort) {
  const controller = new AbortController();
  uploadInParts(file, {
    onProgress: (fraction) => progress(true, fraction * file.size, file.size),
    signal: controller.signal,
  }).then(
    (answer) => load(answer.signed_id),
    ({ message }) => error(message),
  );
  return { abort: () => (controller.abort(), abort()) };
}
