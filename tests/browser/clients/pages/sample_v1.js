// The official V1 sample: plupload, a blocking request for the signature, `eval` of its response, and `${filename}`.
import plupload from "plupload";
import { endpoint, main, report } from "../page.js";

const button = main.appendChild(document.createElement("button"));
const uploader = new plupload.Uploader({ browse_button: button, runtimes: "html5", url: "/replaced" });

uploader.bind("FilesAdded", () => {
  const request = new XMLHttpRequest();
  request.open("GET", endpoint, false);
  request.send();
  const { host, policy, accessid, signature, callback, dir } = (0, eval)(`(${request.responseText})`);
  uploader.setOption({
    url: host,
    multipart_params: {
      key: dir + "${filename}",
      policy,
      OSSAccessKeyId: accessid,
      success_action_status: "200",
      callback,
      signature,
    },
  });
  uploader.start();
});
uploader.bind("FileUploaded", (_, file, { status, response }) => {
  if (status === 200) report("uploaded", file.name, response);
  else if (status === 203) report("uploaded, but the callback failed:", response);
  else report(response);
});
uploader.bind("Error", (_, error) => report("error", error.response ?? error.message));
uploader.init();
