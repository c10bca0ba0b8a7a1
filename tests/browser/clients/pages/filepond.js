// FilePond, which has a form of its own with a `file` that is none: ours replaces it.
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
