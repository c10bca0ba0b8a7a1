// The example of Uppy 5 with its dashboard.
import { main } from "../page.js";

main.id = "uppy";
import("../../../../examples/large-files/uppy_5.js");
