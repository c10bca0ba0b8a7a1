// Upload of Ant Design with the customRequest that sends by our module.
import { Upload } from "antd";
import { createElement } from "react";
import { createRoot } from "react-dom/client";
import { customRequest } from "../../../../examples/components/antd.js";
import { main, report } from "../page.js";

const onChange = ({ file: { status, percent, response, error } }) =>
  status === "uploading" ? report("percent", percent) : report(status, response ?? error?.message ?? "");
createRoot(main).render(createElement(Upload, { customRequest, onChange }));
