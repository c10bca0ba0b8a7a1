import { AwsS3, Dashboard, GoldenRetriever, Uppy } from "uppy";

new Uppy()
  .use(Dashboard, { inline: true, target: "#uppy" })
  .use(AwsS3, { endpoint: "/oss", shouldUseMultipart: true })
  .use(GoldenRetriever)
  .on("upload-success", (file, { body }) => console.log(file.name, body.answer));
