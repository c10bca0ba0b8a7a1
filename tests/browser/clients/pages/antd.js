// Upload of Ant Design.
import { Upload } from "antd";
import { createElement } from "react";
import { createRoot } from "react-dom/client";
import { main, report, sign } from "../page.js";

const forms = new Map();
const upload = createElement(Upload, {
  beforeUpload: async (file) => void forms.set(file.uid, await sign(file)),
  action: ({ uid }) => forms.get(uid).url,
  data: ({ uid }) => forms.get(uid).fields,
  onChange: ({ file: { status, response } }) => status !== "uploading" && report(status, response),
});
createRoot(main).render(upload);
