// The example for mini programs on Taro's own request and uploadFile for H5.
import { request } from "@tarojs/taro-h5/dist/api/network/request/index.js";
import { uploadFile } from "@tarojs/taro-h5/dist/api/network/upload.js";
import { uploader } from "../../../../examples/mini-programs/oss-upload.js";
import { endpoint, onFile, report } from "../page.js";

const upload = uploader({ request, uploadFile }, new URL(endpoint, location).href);

onFile(async (file) => {
  try {
    report("uploaded", await upload({ path: URL.createObjectURL(file), name: file.name, size: file.size }));
  } catch (error) {
    report(error.name, error.status, error.code, error.stored ? "stored" : "not stored");
  }
});
