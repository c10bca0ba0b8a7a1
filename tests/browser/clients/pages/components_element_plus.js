// el-upload of Element Plus with the httpRequest that sends by our module.
import { ElUpload } from "element-plus";
import { createApp, h } from "vue";
import { httpRequest } from "../../../../examples/components/element_plus.js";
import { main, report } from "../page.js";

const upload = h(ElUpload, {
  httpRequest,
  onProgress: ({ percent }) => report("percent", percent),
  onSuccess: (response) => report("success", response),
  onError: ({ message }) => report("error", message),
});
createApp({ render: () => upload }).mount(main);
