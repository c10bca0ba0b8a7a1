// The official V4 sample with a callback: fetch, a hard-coded version, and `ok` for success.
import { onFile, report, sign } from "../page.js";

onFile(async (file) => {
  const form = await sign();
  const data = new FormData();
  data.append("success_action_status", "200");
  data.append("policy", form.policy);
  data.append("x-oss-signature", form.signature);
  data.append("x-oss-signature-version", "OSS4-HMAC-SHA256");
  data.append("x-oss-credential", form.x_oss_credential);
  data.append("x-oss-date", form.x_oss_date);
  data.append("key", form.dir + file.name);
  data.append("x-oss-security-token", form.security_token);
  data.append("callback", form.callback);
  data.append("file", file);
  try {
    const answer = await fetch(form.host, { method: "POST", body: data });
    report(answer.ok ? "ok" : "not ok", await answer.json());
  } catch (error) {
    report(error.name);
  }
});
