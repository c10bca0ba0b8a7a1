// The example of ali-oss with temporary keys.
import { uploadWithSTS } from "../../../../examples/large-files/ali_oss.js";
import { onFile, report } from "../page.js";

onFile(async (file) => report("uploaded", await uploadWithSTS(file)));
