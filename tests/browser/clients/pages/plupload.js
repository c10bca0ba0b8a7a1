// plupload, which gets a signature before it sends each file.
import plupload from "plupload";
import { main, report, sign } from "../page.js";

const button = main.appendChild(document.createElement("button"));
const uploader = new plupload.Uploader({ browse_button: button, runtimes: "html5", url: "/replaced" });
const signed = new Set();

uploader.bind("FilesAdded", () => uploader.start());
uploader.bind("BeforeUpload", (_, file) => {
  if (signed.has(file.id)) return true;
  sign(file).then(({ url, fields }) => {
    signed.add(file.id);
    uploader.setOption({ url, multipart_params: fields });
    file.status = plupload.UPLOADING;
    uploader.trigger("UploadFile", file);
  });
  return false;
});
uploader.bind("FileUploaded", (_, file, { status, response }) => report("FileUploaded", status, response));
uploader.bind("Error", (_, { status, response }) => report("Error", status, response));
uploader.init();
