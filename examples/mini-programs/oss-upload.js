/**
 * Uploads files of a mini program straight to OSS. One file for WeChat (`wx`), uni-app (`uni`) and Taro (`Taro`), whose
 * `request` and `uploadFile` have the same shape:
 *
 *     import { uploader } from "./oss-upload.js";
 *     const upload = uploader(wx, "https://app.example.com/oss/signature");
 *     const answer = await upload({ path: file.tempFilePath, size: file.size });
 */

const TYPES = {
  bmp: "image/bmp", gif: "image/gif", heic: "image/heic", jpeg: "image/jpeg", jpg: "image/jpeg", png: "image/png",
  webp: "image/webp", mov: "video/quicktime", mp4: "video/mp4", aac: "audio/aac", m4a: "audio/mp4", mp3: "audio/mpeg",
  wav: "audio/wav", pdf: "application/pdf", txt: "text/plain",
};

/** What people read where an upload fails: `uploader(wx, url, { texts: TEXTS.zh })`, or texts of your own. */
export const TEXTS = {
  en: {
    unsigned: "The server signs no upload of this file.",
    untold: "The file is stored, but the application was not told of it.",
    refused: "OSS refuses the file: ",
  },
  zh: {
    unsigned: "服务器不允许上传这个文件。",
    untold: "文件已存储，但应用未收到通知。",
    refused: "OSS 拒绝了这个文件：",
  },
};

/** Seconds for one file. By default the platforms end an upload after 60. */
const TIMEOUT = 600;

/** An upload that failed. `stored` is true where OSS has the file, but your application was not told. */
export class UploadError extends Error {
  constructor(message, { status = 0, code = "", stored = false } = {}) {
    super(message);
    this.name = "UploadError";
    Object.assign(this, { status, code, stored });
  }
}

/**
 * Returns a function that uploads one file and resolves to what your application returned for it.
 *
 * `header()` returns headers for the signature, such as the login of your application: a mini program has no cookies.
 */
export function uploader(api, signatureUrl, { header = () => ({}), timeout = TIMEOUT, texts = TEXTS.en } = {}) {
  async function sign({ path, name = baseName(path), size }) {
    const data = { filename: name };
    if (size !== undefined) data.size = size;
    const type = TYPES[name.split(".").pop().toLowerCase()];
    if (type) data.content_type = type;
    const { statusCode, data: answer } = await call(api.request, {
      url: signatureUrl, data, method: "GET", header: header(), dataType: "json",
    });
    if (statusCode !== 200) throw new UploadError(texts.unsigned, { status: statusCode });
    return answer;
  }

  /** Reports a stored file where OSS does not: with OSS_REPORT_BY=page the signature has a ticket. */
  async function report(ticket, object) {
    const url = signatureUrl.replace(/signature(\?.*)?$/, "recover");
    const headers = { ...header(), "Content-Type": "application/json" };
    for (const pause of [1, 2, 4, 0]) {
      const { statusCode, data } = await call(api.request, {
        url, data: { ticket, object }, method: "POST", header: headers, dataType: "json",
      }).catch(() => ({ statusCode: 0 }));
      if (statusCode === 200) return data;
      const isPassing = statusCode === 0 || statusCode === 429 || statusCode >= 500;
      if (!isPassing || !pause) throw new UploadError(texts.untold, { status: statusCode, stored: true });
      await new Promise((resolve) => setTimeout(resolve, pause * 1000));
    }
  }

  return async function upload(file, onProgress) {
    const { url, fields, ticket } = await sign(file);
    const answer = await call(api.uploadFile, {
      url,
      filePath: file.path,
      // OSS takes the part with this name, and nothing behind it.
      name: "file",
      formData: fields,
      timeout: timeout * 1000,
      // Taro's H5 sends cookies by default, which a CORS rule for any origin forbids.
      withCredentials: false,
    }, onProgress);
    const own = result(answer, texts);
    return ticket ? report(ticket, fields.key) : own;
  };
}

/** Returns the answer of `uploadFile` as your application's own, or throws an UploadError. */
function result({ statusCode, data }, texts) {
  if (statusCode === 200) return data ? JSON.parse(data) : {};
  // 204: a form without success_action_status, so not one of oss_wsgi. The file is stored, and nobody was told.
  const stored = statusCode === 203 || statusCode === 204;
  const code = inside(data, "Code");
  const message = stored ? texts.untold : texts.refused + (inside(data, "Message") || statusCode);
  throw new UploadError(message, { status: statusCode, code, stored });
}

/** Calls a function of the platform and returns a promise: Taro and uni return one of their own, and wx does not. */
function call(method, options, onProgress) {
  return new Promise((resolve, reject) => {
    const fail = ({ errMsg }) => reject(new UploadError(errMsg));
    const task = method({ ...options, success: resolve, fail });
    if (onProgress) (task.onProgressUpdate || task.progress)?.call(task, ({ progress }) => onProgress(progress));
    // A promise of its own would be rejected beside `fail`, with nobody who listens.
    task?.catch?.(() => {});
  });
}

function baseName(path) {
  return path.split(/[?#]/)[0].split("/").pop();
}

function inside(xml, tag) {
  return new RegExp(`<${tag}>([^<]*)</${tag}>`).exec(xml)?.[1] ?? "";
}
