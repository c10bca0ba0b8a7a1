// Uppy 6 that asks again after 503, as our example says.
import "../../../../examples/large-files/patience.js";
import "./uppy_6_parts.js";
