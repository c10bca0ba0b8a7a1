// A plain form, which the browser sends into a frame; the page only sees that the frame has loaded.
import { main, onFile, report, sign } from "../page.js";

onFile(async (file, input) => {
  const { url, fields } = await sign(file);
  const frame = Object.assign(document.createElement("iframe"), { name: "answer" });
  const form = Object.assign(document.createElement("form"), {
    action: url,
    method: "post",
    enctype: "multipart/form-data",
    target: frame.name,
  });
  for (const [name, value] of Object.entries(fields)) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  }
  form.append(Object.assign(input, { name: "file" }));
  main.append(frame, form);
  frame.onload = () => report("load");
  form.submit();
});
