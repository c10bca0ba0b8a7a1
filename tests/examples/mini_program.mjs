// A platform for the examples for mini programs: `request`, and `uploadFile` that writes the bytes of a given format.
import { readFileSync } from "node:fs";
import { basename } from "node:path";

export const { format, signatureUrl, file, action, language } = JSON.parse(process.argv[2]);

function part(headers, content) {
  return Buffer.concat([
    Buffer.from(`--${format.boundary}\r\n${headers.join("\r\n")}\r\n\r\n`),
    Buffer.from(content),
    Buffer.from("\r\n"),
  ]);
}

/** Returns the headers of a part, in which the format's templates have the name, the file's name and the length. */
function headers(templates, name, length, filename = "") {
  return templates.map((text) => text.replace("NAME", name).replace("LENGTH", length).replace("FILE", filename));
}

function body({ filePath, name, formData }) {
  const content = readFileSync(filePath);
  const filename = format.filename ?? basename(filePath);
  const texts = Object.entries(formData).map(([key, text]) => {
    if (typeof text !== "string") throw new TypeError(`formData.${key} is no text: platforms differ in what they make of it`);
    return part(headers(format.text, key, Buffer.byteLength(text)), text);
  });
  const bytes = part(headers(format.file, name, content.length, filename), content);
  const parts = format.fileFirst ? [bytes, ...texts] : [...texts, bytes];
  return Buffer.concat([...parts, Buffer.from(`--${format.boundary}--\r\n`)]);
}

async function answer(options, send, read) {
  try {
    const response = await send();
    options.success({ errMsg: "ok", statusCode: response.status, data: await read(response) });
  } catch (error) {
    options.fail({ errMsg: `fail ${error.message}` });
  }
}

export const platform = {
  sent: [],

  request({ url, method, header, data, ...options }) {
    const address = url.replace("https://app.example.com/oss/signature", signatureUrl);
    const send = () => (method === "POST"
      ? fetch(address, { method, headers: header, body: JSON.stringify(data) })
      : fetch(`${address}?${new URLSearchParams(data)}`, { headers: header }));
    answer(options, send, (response) => response.json());
    return {};
  },

  uploadFile(options) {
    platform.sent.push(options);
    const boundary = format.quoted ? `"${format.boundary}"` : format.boundary;
    const type = `multipart/form-data; boundary=${boundary}`;
    const progress = [];
    const send = () => {
      const bytes = body(options);
      progress.forEach((report) => report({ progress: 100 }));
      return fetch(options.url, { method: "POST", headers: { "Content-Type": type }, body: bytes });
    };
    // The caller registers for progress after this function has returned.
    setTimeout(() => answer(options, send, (response) => response.text()));
    return { onProgressUpdate: (report) => progress.push(report) };
  },

  getStorageSync: () => "the-session",
  chooseMedia: ({ success }) => success({ tempFiles: [{ tempFilePath: file.path, size: file.size }] }),
};

if (action === "upload") {
  const { TEXTS, uploader } = await import("./oss-upload.mjs");
  const result = {};
  try {
    const upload = uploader(platform, signatureUrl, { header: () => ({ "X-Session": "the-session" }), texts: TEXTS[language] });
    result.answer = await upload(file, (progress) => { result.progress = progress; });
  } catch (error) {
    Object.assign(result, { ...error, message: error.message, name: error.name });
  }
  result.key = platform.sent[0]?.formData.key;
  console.log(JSON.stringify(result));
} else {
  globalThis.wx = platform;
  globalThis.Page = (page) => Object.assign(page, {
    setData(data) {
      Object.assign(this.data, data);
      if (data.text) console.log(JSON.stringify(this.data));
    },
  }).choose();
  await import("./index.mjs");
}
