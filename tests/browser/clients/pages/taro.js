// Taro's uploadFile for H5: a blob: URL, which has no name; it sends credentials by default.
import { uploadFile } from "@tarojs/taro-h5/dist/api/network/upload.js";
import { onFile, report, sign } from "../page.js";

onFile(async (file) => {
  const { url, fields } = await sign(file);
  uploadFile({
    url,
    filePath: URL.createObjectURL(file),
    name: "file",
    formData: fields,
    success: ({ errMsg, statusCode, data }) => report(errMsg, statusCode, data),
    fail: ({ errMsg }) => report(errMsg),
  });
});
