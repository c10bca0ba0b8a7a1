import { upload } from "./oss.js";

/** For Element Plus: `<el-upload :http-request="httpRequest" />`. */
export const httpRequest = ({ file, onProgress }) =>
  upload(file, { onProgress: (fraction) => onProgress({ percent: 100 * fraction }) });
