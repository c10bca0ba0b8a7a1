/** A server with oss_wsgi and a bucket, as far as a browser sees them. A test lets any step go wrong. */

{
  const BUCKET = "https://examplebucket.oss-cn-hangzhou.aliyuncs.com";
  const faults = [];
  const now = () => Math.floor(Date.now() / 1000);
  const json = (exchange, value, status = 200, headers = {}) =>
    exchange.reply(status, JSON.stringify(value), { "Content-Type": "application/json", ...headers });
  const refuse = (exchange, status, code, headers) =>
    json(exchange, { error: { code, message: `${code}: see the log` } }, status, headers);

  globalThis.json = json;
  globalThis.refuse = refuse;
  globalThis.xml = (code, message = "", more = "") =>
    `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message><RequestId>6A2F</RequestId>${more}</Error>`;

  globalThis.cloud = {
    bucket: BUCKET,
    /** What GET /oss/limits tells. */
    limits: {
      max_size: 5 * 2 ** 30,
      min_size: 0,
      content_types: [],
      expires: 600,
      methods: ["post", "put"],
      multipart_from: null,
      part_size: null,
      recover: true,
      forms: true,
    },
    hasCallback: true,
    /** OSS_REPORT_BY=page. */
    pagesReport: false,
    objects: new Map(),
    uploads: new Map(),
    handled: [],
    names: 0,

    /** The signed ID of an object, which the real cloud seals. */
    signedId: (key) => `signed-${key.replace(/[^A-Za-z0-9]/g, "_")}`,

    /** Lets the next requests of a step, such as "form", go another way: `act(exchange)`, or held if it does nothing. */
    next(step, act = () => {}, times = 1) {
      faults.push({ step, act, times });
    },

    always(step, act = () => {}) {
      this.next(step, act, Infinity);
    },

    /** Ends what `next` and `always` have said. */
    heal() {
      faults.length = 0;
    },

    /** The requests of a step, the oldest first. */
    asked: (step) => network.sent.filter((exchange) => stepOf(exchange) === step),

    /** The last request of a step. */
    last: (step) => cloud.asked(step).at(-1),

    /** Stores the file of a form, whose answer may get lost; returns the answer. */
    store(exchange) {
      const { key, file } = exchange.fields;
      if (cloud.hasCallback && !cloud.pagesReport) return handle(key, file.size);
      cloud.objects.set(key, cloud.pagesReport ? { size: file.size } : { size: file.size, answer: "" });
      return "";
    },

    /** Does what the healthy cloud does with a request. */
    serve: (exchange) => STEPS[stepOf(exchange)](exchange),

    inParts(partSize = 2 ** 20) {
      Object.assign(this.limits, { multipart_from: partSize, part_size: partSize });
    },
  };

  /** The steps by method and path, the bucket's and then the server's. */
  const STORAGE = [
    ["PUT", /\?.*partNumber=/, "part"],
    ["POST", /^https:/, "form"],
  ];
  const SERVER = [
    ["GET", /^\/oss\/limits$/, "limits"],
    ["GET", /^\/oss\/signature$/, "signature"],
    ["POST", /^\/oss\/recover$/, "recover"],
    ["POST", /^\/oss\/s3\/multipart$/, "begin"],
    ["POST", /\/multipart\/[^/]+\/complete$/, "complete"],
    ["DELETE", /\/multipart\/[^/]+$/, "abort"],
    ["GET", /\/multipart\/[^/]+\/\d+$/, "sign"],
    ["GET", /\/multipart\/[^/]+$/, "list"],
  ];

  function stepOf({ origin, method, path, url }) {
    const [steps, place] = origin === BUCKET ? [STORAGE, url] : [SERVER, path];
    return steps.find(([expected, pattern]) => expected === method && pattern.test(place))?.[2] ?? "elsewhere";
  }

  network.answer = (exchange) => {
    exchange.step = stepOf(exchange);
    const fault = faults.find(({ step, times }) => step === exchange.step && times > 0);
    if (fault) {
      fault.times -= 1;
      fault.act(exchange);
    } else if (STEPS[exchange.step]) STEPS[exchange.step](exchange);
    else exchange.reply(404, "no such page");
  };

  function handle(key, size) {
    cloud.handled.push(key);
    const answer = { Status: "Ok", number: cloud.handled.length, signed_id: cloud.signedId(key) };
    cloud.objects.set(key, { size, answer: JSON.stringify(answer) });
    return cloud.objects.get(key).answer;
  }

  const idIn = ({ path }) => decodeURIComponent(path.split("/")[4]);
  const uploadOf = (exchange) => {
    const { query } = exchange;
    const upload = cloud.uploads.get(idIn(exchange));
    return upload?.key === query.key ? upload : undefined;
  };
  const isWhole = (upload) => [...upload.parts.values()].reduce((sum, { size }) => sum + size, 0) === upload.size;
  const etag = (number) => `"PART-${number}"`;

  const STEPS = {
    limits: (exchange) => json(exchange, cloud.limits),

    signature(exchange) {
      const key = `uploads/${(cloud.names += 1)}-${exchange.query.filename}`;
      const fields = { key, policy: "cG9saWN5", "x-oss-signature": "5f1e", "x-oss-forbid-overwrite": "true" };
      if (cloud.hasCallback && !cloud.pagesReport) fields.callback = `ticket-of-${key}`;
      const ticket = cloud.pagesReport ? { ticket: `ticket-of-${key}` } : {};
      json(exchange, { method: "POST", url: BUCKET, host: BUCKET, fields, headers: {}, expire: now() + 600, ...ticket });
    },

    form(exchange) {
      const isThere = cloud.objects.has(exchange.fields.key);
      if (isThere) exchange.reply(409, xml("FileAlreadyExists", "The object you specified already exists."));
      else exchange.reply(200, cloud.store(exchange));
    },

    recover(exchange) {
      const { ticket, object } = exchange.json;
      const stored = cloud.objects.get(object);
      if (ticket !== `ticket-of-${object}`) refuse(exchange, 403, "ticket_not_valid");
      else if (!stored) refuse(exchange, 404, "not_stored");
      else exchange.reply(200, stored.answer ?? handle(object, stored.size));
    },

    begin(exchange) {
      const { filename, size, part_size } = exchange.json;
      const key = `uploads/${(cloud.names += 1)}-${filename}`;
      const uploadId = `id/${cloud.names}`;
      cloud.uploads.set(uploadId, { key, size, part_size, parts: new Map() });
      json(exchange, {
        key,
        uploadId,
        bucket: "examplebucket",
        part_size,
        parts: Math.ceil(size / part_size),
        headers: {},
        expire: now() + 7 * 86400,
      });
    },

    sign(exchange) {
      const upload = uploadOf(exchange);
      if (!upload) return refuse(exchange, 404, "upload_gone");
      const number = Number(exchange.path.split("/").at(-1));
      const url = `${BUCKET}/${upload.key}?partNumber=${number}&uploadId=${encodeURIComponent(idIn(exchange))}`;
      return json(exchange, { method: "PUT", url, headers: { "x-oss-meta-part": `${number}` }, expires: 600 });
    },

    part(exchange) {
      const { partNumber, uploadId } = exchange.query;
      const upload = cloud.uploads.get(uploadId);
      if (!upload) return exchange.reply(404, xml("NoSuchUpload"));
      const number = Number(partNumber);
      upload.parts.set(number, { size: exchange.body.size, start: exchange.body.start });
      return exchange.reply(200, "", { ETag: etag(number) });
    },

    list(exchange) {
      const upload = uploadOf(exchange);
      if (!upload) return refuse(exchange, 404, "upload_gone");
      const parts = [...upload.parts].map(([number, { size }]) => ({ PartNumber: number, ETag: etag(number), Size: size }));
      return json(exchange, parts);
    },

    complete(exchange) {
      const upload = uploadOf(exchange);
      if (!upload) return refuse(exchange, 404, "upload_gone");
      const said = exchange.json.parts.map(({ PartNumber: number, ETag: tag }) => `${number} ${tag}`).join();
      const listed = [...upload.parts.keys()]
        .sort((a, b) => a - b)
        .map((number) => `${number} ${etag(number)}`)
        .join();
      if (said !== listed || !isWhole(upload)) return refuse(exchange, 409, "parts_missing");
      cloud.uploads.delete(idIn(exchange));
      const answer = JSON.parse(handle(upload.key, upload.size));
      return json(exchange, { location: `${BUCKET}/${upload.key}`, bucket: "examplebucket", key: upload.key, answer });
    },

    abort(exchange) {
      cloud.uploads.delete(idIn(exchange));
      json(exchange, {});
    },
  };
}
