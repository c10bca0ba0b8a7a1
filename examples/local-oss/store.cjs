// Stores an object in the local OSS and reads it back: npm install ali-oss; node store.cjs http://127.0.0.1:8081
const OSS = require("ali-oss");

const [endpoint] = process.argv.slice(2);
const key = { accessKeyId: "ID", accessKeySecret: "SECRET" };
const options = { endpoint, sldEnable: true, region: "oss-cn-hangzhou", authorizationV4: true, bucket: "my-bucket" };
const client = new OSS({ ...options, ...key });

async function store() {
  await client.put("node.txt", Buffer.from("hello from Node"));
  const answer = await client.get("node.txt");
  return String(answer.content);
}

store().then((text) => console.log(text));
