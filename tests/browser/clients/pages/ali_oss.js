// ali-oss in the browser signs our policy again; its signature is sent.
import OSS from "ali-oss/dist/aliyun-oss-sdk.min.js";
import { formData, onFile, report, secret, sign } from "../page.js";

onFile(async (file) => {
  const { url, fields, accessid } = await sign(file);
  const client = new OSS({ region: "oss-cn-hangzhou", accessKeyId: accessid, accessKeySecret: secret });
  const [, year, month, day, hour, minute, second] = fields["x-oss-date"].match(/(....)(..)(..)T(..)(..)(..)Z/);
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  const policy = new TextDecoder().decode(Uint8Array.from(atob(fields.policy), (byte) => byte.charCodeAt(0)));
  const signature = client.signPostObjectPolicyV4(policy, date);
  const body = formData({ ...fields, "x-oss-signature": signature }, file);
  const answer = await fetch(url, { method: "POST", body });
  report(answer.status, await answer.text(), signature === fields["x-oss-signature"] ? "alike" : "different");
});
