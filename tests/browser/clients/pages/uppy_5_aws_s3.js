// Uppy 5 with aws-s3, whose getUploadParameters takes the response of our endpoint.
import { AwsS3, Uppy } from "uppy-5";
import { onFile, report, sign } from "../page.js";

const uppy = new Uppy({ autoProceed: true }).use(AwsS3, { shouldUseMultipart: false, getUploadParameters: sign });
uppy.on("upload-success", (_, { status }) => report("upload-success", status));
uppy.on("upload-error", (_, { message }) => report("upload-error", message));
onFile((file) => uppy.addFile(file));
