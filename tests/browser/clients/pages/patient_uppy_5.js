// Uppy 5 that asks again after 503, as our example says.
import "../../../../examples/large-files/patience.js";
import "./uppy_5_parts.js";
