// fetch, as in the README.
import { formData, onFile, report, sign } from "../page.js";

onFile(async (file) => {
  const { url, fields } = await sign(file);
  const answer = await fetch(url, { method: "POST", body: formData(fields, file) });
  report(answer.status, await answer.text());
});
