// Dropzone, which gets a signature in its `accept` hook.
import Dropzone from "dropzone";
import { main, report, sign } from "../page.js";

const forms = new Map();
new Dropzone(main, {
  accept: async (file, done) => {
    forms.set(file, await sign(file));
    done();
  },
  url: ([file]) => forms.get(file).url,
  params: ([file]) => forms.get(file).fields,
  success: ({ xhr }, response) => report("success", xhr.status, response),
  error: (_, message) => report("error", message),
});
