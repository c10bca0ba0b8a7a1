// FilePond, whose own form has a `file` field without the file: `ondata` replaces the form.
import { create } from "filepond";
import { formData, main, report, sign } from "../page.js";

const pond = create({
  beforeAddFile: async ({ file }) => {
    const { url, fields } = await sign(file);
    pond.setOptions({ server: { process: { url, ondata: () => formData(fields, file) } } });
    return true;
  },
  onprocessfile: (error, { serverId }) => report(error ? "error" : "processed", error?.body ?? serverId),
});
main.append(pond.element);
