import { uploadInParts } from "./parts.js";

/** For Element Plus: `<el-upload :http-request="httpRequest" />`. */
export const httpRequest = ({ file, onProgress }) =>
  uploadInParts(file, { onProgress: (fraction) => onProgress({ percent: 100 * fraction }) });
