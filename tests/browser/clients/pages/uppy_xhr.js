// Uppy with xhr-upload: the fields are the file's metadata; Uppy also sends some of its own.
import Uppy from "@uppy/core";
import XHRUpload from "@uppy/xhr-upload";
import { onFile, report, sign } from "../page.js";

const forms = new Map();
const uppy = new Uppy({ autoProceed: true }).use(XHRUpload, { endpoint: ({ id }) => forms.get(id).url });
uppy.addPreProcessor(async ([id]) => {
  const form = await sign(uppy.getFile(id));
  forms.set(id, form);
  uppy.setFileMeta(id, form.fields);
});
uppy.on("upload-success", (_, { status, body }) => report("upload-success", status, body));
uppy.on("upload-error", (_, { message }) => report("upload-error", message));
onFile((file) => uppy.addFile(file));
