// el-upload of Element Plus with the example's httpRequest.
import { ElUpload } from "element-plus";
import { createApp, h } from "vue";
import { httpRequest } from "../../../../examples/large-files/element_plus.js";
import { main, report } from "../page.js";

const upload = h(ElUpload, {
  httpRequest,
  onProgress: ({ percent }) => report("percent", percent),
  onSuccess: (response) => report("success", response),
  onError: ({ message }) => report("error", message),
});
createApp({ render: () => upload }).mount(main);
