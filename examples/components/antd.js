import { upload } from "./oss.js";

/** For Ant Design: `<Upload customRequest={customRequest} />`; `file.response` is then the application's answer. */
export function customRequest({ file, onProgress, onSuccess, onError }) {
  const controller = new AbortController();
  upload(file, {
    onProgress: (fraction) => onProgress({ percent: 100 * fraction }),
    signal: controller.signal,
  }).then(onSuccess, onError);
  return { abort: () => controller.abort() };
}
