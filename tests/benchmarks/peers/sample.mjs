// The least that a sample does in Node: a V4 form for a new name, and a callback verified with a kept key.
import { createHmac, createPublicKey, randomBytes, verify } from "node:crypto";
import { createServer } from "node:http";

const KEY = createPublicKey(`-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAK6OjU5GSzz6/IoO/aqrVYyKD2ZmtD2R
ud9KNyN/3hRDVeYfhxwhVGyOVI3fmacey/pvOcs4LXGOdKzht4rT2jMCAwEAAQ==
-----END PUBLIC KEY-----
`);

const hmac = (key, text) => createHmac("sha256", key).update(text);
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString("base64");

function signature() {
  const now = new Date();
  const date = now.toISOString().replace(/[-:]|\.\d+/g, "");
  const day = date.slice(0, 8);
  const key = `user-dir-prefix/${day}/${randomBytes(16).toString("hex")}.png`;
  const credential = `id/${day}/cn-hangzhou/oss/aliyun_v4_request`;
  const callback = base64({
    callbackUrl: "https://app.example.com/oss/callback",
    callbackBody:
      "filename=${object}&size=${size}&mimeType=${mimeType}&height=${imageInfo.height}&width=${imageInfo.width}",
    callbackBodyType: "application/x-www-form-urlencoded",
  });
  const policy = base64({
    expiration: new Date(now.getTime() + 300_000).toISOString(),
    conditions: [
      { bucket: "examplebucket" },
      ["eq", "$key", key],
      { callback },
      { "x-oss-signature-version": "OSS4-HMAC-SHA256" },
      { "x-oss-credential": credential },
      { "x-oss-date": date },
      ["content-length-range", 0, 1048576000],
    ],
  });
  let secret = "aliyun_v4secret";
  for (const step of [day, "cn-hangzhou", "oss", "aliyun_v4_request"]) secret = hmac(secret, step).digest();
  return {
    host: "https://examplebucket.oss-cn-hangzhou.aliyuncs.com", dir: "user-dir-prefix/", key, policy,
    x_oss_signature_version: "OSS4-HMAC-SHA256", x_oss_credential: credential, x_oss_date: date,
    signature: hmac(secret, policy).digest("hex"), callback, security_token: "",
    expire: Math.floor(now.getTime() / 1000) + 300,
  };
}

function answer(response, status, value) {
  const body = JSON.stringify(value);
  response.writeHead(status, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

createServer((request, response) => {
  if (request.method !== "POST") return answer(response, 200, signature());
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const signed = Buffer.concat([Buffer.from(`${decodeURIComponent(request.url)}\n`), ...pieces]);
    const given = Buffer.from(request.headers.authorization ?? "", "base64");
    const good = verify("md5", signed, KEY, given);
    answer(response, good ? 200 : 403, { Status: good ? "Ok" : "no" });
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
