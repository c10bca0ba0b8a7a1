// el-upload of Element Plus; `data` is a function, because an object would be copied too early.
import { ElUpload } from "element-plus";
import { createApp, h } from "vue";
import { main, report, sign } from "../page.js";

const { host } = await sign();
const upload = h(ElUpload, {
  action: host,
  data: async (file) => (await sign(file)).fields,
  onSuccess: (response) => report("success", response),
  onError: ({ status, message }) => report("error", status, message),
});
createApp({ render: () => upload }).mount(main);
