// FilePond with the example's process.
import { create } from "filepond";
import { process } from "../../../../examples/large-files/filepond.js";
import { main, report } from "../page.js";

const pond = create({
  server: { process },
  onprocessfile: (error, { serverId }) => report(error ? "error" : "processed", error?.body ?? serverId),
});
main.append(pond.element);
window.pond = pond;
