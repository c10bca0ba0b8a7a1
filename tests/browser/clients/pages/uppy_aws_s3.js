// Uppy with aws-s3, whose signRequest takes the response of our endpoint; it knows only the key of the file.
import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";
import { onFile, report, sign } from "../page.js";

const uppy = new Uppy({ autoProceed: true }).use(AwsS3, {
  generateObjectKey: ({ name }) => name,
  signRequest: ({ key, contentType }) => sign({ name: key, type: contentType }),
});
uppy.on("upload-success", (_, { status, body: { location } }) =>
  report("upload-success", status, decodeURI(new URL(location).pathname)),
);
uppy.on("upload-error", (_, { message }) => report("upload-error", message));
onFile((file) => uppy.addFile(file));
