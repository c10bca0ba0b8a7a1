// Run the steps of the configuration on the command line with ali-oss, and print the result of each as JSON.
import { createRequire } from 'node:module';

const OSS = createRequire(import.meta.url)('ali-oss');
const { client: options, bucket, key, callback, steps } = JSON.parse(process.argv[2]);
const client = new OSS({ ...options, retryMax: 0, timeout: 60000 });
const content = Buffer.from('hello 中');
const big = Buffer.alloc(250 * 1024, 'x');

async function send(url, init) {
  const response = await fetch(url, init);
  return [response.status, await response.text()];
}

function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  data.append('file', new Blob([content]), 'a.txt');
  return data;
}

function policy(extra) {
  const expiration = new Date(Date.now() + 60000).toISOString();
  return { expiration, conditions: [{ bucket }, ['starts-with', '$key', ''], ...extra] };
}

const all = {
  // buckets
  list: async () => (await client.listBuckets()).buckets.map(entry => entry.name),
  make: async () => (await client.putBucket('made-by-node', { acl: 'public-read', storageClass: 'IA' })).bucket,
  info: async () => (await client.getBucketInfo('made-by-node')).bucket.StorageClass,
  acl: async () => {
    await client.putBucketACL('made-by-node', 'private');
    return (await client.getBucketACL('made-by-node')).acl;
  },
  location: async () => (await client.getBucketLocation('made-by-node')).location,
  cors: async () => {
    await client.putBucketCORS('made-by-node', [
      { allowedOrigin: 'https://shop.example', allowedMethod: ['GET', 'PUT'], allowedHeader: '*', maxAgeSeconds: '9' },
    ]);
    return (await client.getBucketCORS('made-by-node')).rules;
  },
  nocors: async () => {
    await client.deleteBucketCORS('made-by-node');
    return (await client.getBucketCORS('made-by-node')).rules;
  },
  drop: async () => (await client.deleteBucket('made-by-node')).res.status,
  // objects
  put: async () => (await client.put(key, content, { mime: 'text/plain', meta: { who: 'node' } })).res.status,
  get: async () => (await client.get(key)).content.toString(),
  head: async () => {
    const head = await client.head(key);
    return [head.res.headers['content-length'], head.res.headers['content-type'], head.meta.who];
  },
  objects: async () => (await client.listV2({ prefix: key.slice(0, 3) })).objects.map(entry => entry.name),
  objectsV1: async () => (await client.list({ prefix: key.slice(0, 3), 'max-keys': 10 })).objects.map(entry => entry.name),
  objectAcl: async () => {
    await client.putACL(key, 'public-read');
    return (await client.getACL(key)).acl;
  },
  copy: async () => {
    await client.copy('copied', key);
    return (await client.get('copied')).content.toString();
  },
  multipart: async () => {
    await client.multipartUpload('big', big, { partSize: 100 * 1024, parallel: 2 });
    return (await client.get('big')).content.equals(big);
  },
  putCallback: async () =>
    (await client.put('called', content, { callback: { url: callback, body: 'object=${object}&size=${size}' } })).data,
  remove: async () => [(await client.delete(key)).res.status, await client.get(key).catch(error => error.code)],
  removeMulti: async () => (await client.deleteMulti(['big', 'copied', 'called'], { quiet: false })).deleted.length,
  // signed URLs
  urlPut: async () => {
    const headers = { 'Content-Type': 'text/plain' };
    return send(await sign('PUT', headers), { method: 'PUT', headers, body: content });
  },
  urlGet: async () => send(await sign('GET')),
  urlWrongMethod: async () => (await send(await sign('GET'), { method: 'DELETE' }))[0],
  urlAltered: async () => (await send((await sign('GET')).replace(/.$/, end => (end === '0' ? '1' : '0'))))[0],
  // forms
  postV1: async () => {
    const fields = client.calculatePostSignature(policy([]));
    return send(`${options.endpoint}/${bucket}`, { method: 'POST', body: form({ key: 'posted', ...fields }) });
  },
  postV4: async () => {
    const date = new Date();
    const stamp = date.toISOString().replace(/[-:]|\.\d+/g, '');
    const fields = {
      'x-oss-signature-version': 'OSS4-HMAC-SHA256',
      'x-oss-credential': `${options.accessKeyId}/${stamp.slice(0, 8)}/cn-hangzhou/oss/aliyun_v4_request`,
      'x-oss-date': stamp,
    };
    const document = policy(Object.entries(fields).map(([name, value]) => ({ [name]: value })));
    const signature = client.signPostObjectPolicyV4(document, date);
    const encoded = Buffer.from(JSON.stringify(document)).toString('base64');
    const formFields = { key: 'posted', ...fields, policy: encoded, 'x-oss-signature': signature, callback: callbackField() };
    return send(`${options.endpoint}/${bucket}`, { method: 'POST', body: form(formFields) });
  },
};

function callbackField() {
  return Buffer.from(JSON.stringify({ callbackUrl: callback, callbackBody: 'object=${object}' })).toString('base64');
}

async function sign(method, headers = {}) {
  if (options.authorizationV4) return client.signatureUrlV4(method, 60, { headers }, key);
  return client.signatureUrl(key, { method, expires: 60, ...headers });
}

const results = {};
for (const step of steps) {
  try {
    results[step] = (await all[step]()) ?? null;
  } catch (error) {
    results[step] = `${error.name}: ${error.message}`;
  }
}
process.stdout.write(JSON.stringify(results));
process.exit(0);
