// What oss_wsgi does on a callback, in Node: the signature of one of the trusted keys, a ticket of the same bytes as
// ours opened and compared with the report, and the answer kept for each ticket, object and ETag.
//
//     node ticketed.mjs PORT        with OSS_BUCKET, OSS_TICKET_SECRET and OSS_TRUSTED_KEYS as server.py reads them
import { createDecipheriv, createPublicKey, hkdfSync, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { parse } from "node:querystring";

const BUCKET = process.env.OSS_BUCKET;
const MAX_BODY = 64 * 1024, MAX_TICKET = 6000, MAX_KEY = 1023, MAX_ETAG = 64, UPLOAD_SECONDS = 12 * 3600;
const MAX_ANSWERS = 10_000;
const OK = '{"Status": "Ok"}';
const HEADERS = {
  "Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer",
};

const keys = new Map();
for (const pair of process.env.OSS_TRUSTED_KEYS.split(",")) {
  const at = pair.lastIndexOf("=");
  const url = Buffer.from(pair.slice(0, at)).toString("base64");
  keys.set(url, createPublicKey(readFileSync(pair.slice(at + 1))));
}

const derived = Buffer.from(hkdfSync("sha256", process.env.OSS_TICKET_SECRET, "", "oss_wsgi upload ticket", 36));
const secretID = derived.subarray(0, 4), root = derived.subarray(4);
const dayKeys = new Map();

function dayKey(day) {
  let key = dayKeys.get(day);
  if (key === undefined) {
    if (dayKeys.size > 8) dayKeys.clear();
    key = Buffer.from(hkdfSync("sha256", root, "", `day ${day}`, 32));
    dayKeys.set(day, key);
  }
  return key;
}

class Refusal extends Error {
  constructor(status) { super(); this.status = status; }
}

function refuse(status) { throw new Refusal(status); }

function openTicket(text) {
  if (typeof text !== "string" || text.length > MAX_TICKET || text.length % 4 || !/^[\w-]+$/.test(text)) refuse(403);
  const sealed = Buffer.from(text, "base64url");
  if (sealed.length < 36 || !sealed.subarray(0, 4).equals(secretID)) refuse(403);
  const header = sealed.subarray(0, 8), nonce = sealed.subarray(8, 20), end = sealed.length - 16;
  const cipher = createDecipheriv("aes-256-gcm", dayKey(header.readUInt32BE(4)), nonce);
  cipher.setAAD(header);
  cipher.setAuthTag(sealed.subarray(end));
  let plain;
  try {
    plain = cipher.update(sealed.subarray(20, end), undefined, "utf8") + cipher.final("utf8");
  } catch {
    refuse(403);
  }
  const [bucket, key, prefix, low, high, types, expires, user, data] = JSON.parse(plain);
  const until = expires + UPLOAD_SECONDS;
  if (Date.now() / 1000 > until) refuse(403);
  return { id: nonce.toString("hex"), bucket, key, prefix, low, high, types, until, user, data };
}

function check(ticket, report) {
  const { bucket, filename: name, etag, size, mimeType } = report;
  if (bucket !== ticket.bucket || !name || !/^\d{1,19}$/.test(size)) refuse(403);
  if (ticket.key !== null ? name !== ticket.key : !name.startsWith(ticket.prefix)) refuse(403);
  if (Buffer.byteLength(name) > MAX_KEY || etag.length > MAX_ETAG) refuse(403);
  if (Number(size) < ticket.low || Number(size) > ticket.high) refuse(403);
  if (ticket.types.length && !ticket.types.includes(mimeType.split(";", 1)[0].trim().toLowerCase())) refuse(403);
}

// By ticket, in the order of their expiry, near enough: forms of one server live equally long.
const ledger = new Map();

function answerOnce(ticket, name, etag) {
  const uses = ledger.get(ticket.id);
  if (uses !== undefined) {
    if (uses.name !== name) refuse(409);
    const answer = uses.answers.get(etag);
    if (answer !== undefined) return answer;
    if (ticket.key !== null) refuse(409);
    uses.answers.set(etag, OK);
    return OK;
  }
  const now = Date.now() / 1000;
  for (const [id, oldest] of ledger) {
    if (ledger.size < MAX_ANSWERS && oldest.until >= now) break;
    ledger.delete(id);
  }
  ledger.set(ticket.id, { name, until: ticket.until, answers: new Map([[etag, OK]]) });
  return OK;
}

function callback(request, body) {
  const key = keys.get(request.headers["x-oss-pub-key-url"]);
  if (key === undefined) refuse(403);
  const [path, ...query] = request.url.split("?");
  const target = [decodeURIComponent(path), ...query].join("?");
  const signature = Buffer.from(request.headers.authorization ?? "", "base64");
  if (!verify("md5", Buffer.concat([Buffer.from(`${target}\n`), body]), key, signature)) refuse(403);
  const report = parse(body.toString(), "&", "=", { maxKeys: 1000 });
  for (const name in report) if (typeof report[name] !== "string") refuse(400);
  if (report.bucket !== BUCKET) refuse(403);
  report.etag = (report.etag ?? "").toUpperCase();
  report.mimeType ??= "";
  const ticket = openTicket(report.ticket);
  check(ticket, report);
  return answerOnce(ticket, report.filename, report.etag);
}

function respond(response, status, body) {
  response.writeHead(status, { ...HEADERS, "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

createServer((request, response) => {
  if (request.method !== "POST") return respond(response, 405, '{"error": {"code": "method_not_allowed"}}');
  const pieces = [];
  let length = 0;
  request.on("data", (piece) => {
    length += piece.length;
    if (length <= MAX_BODY) pieces.push(piece);
  });
  request.on("end", () => {
    let status = 200, body;
    try {
      if (length > MAX_BODY) refuse(413);
      body = callback(request, pieces.length === 1 ? pieces[0] : Buffer.concat(pieces));
    } catch (error) {
      status = error instanceof Refusal ? error.status : 400;
      body = '{"error": {"code": "refused"}}';
    }
    respond(response, status, body);
  });
}).listen(Number(process.argv[2]), "127.0.0.1");
