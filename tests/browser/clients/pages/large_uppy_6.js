// The example of Uppy 6 with its dashboard.
import { main } from "../page.js";

main.id = "uppy";
import("../../../../examples/large-files/uppy_6.js");
