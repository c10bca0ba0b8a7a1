import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";
import Dashboard from "@uppy/dashboard";
import GoldenRetriever from "@uppy/golden-retriever";

new Uppy()
  .use(Dashboard, { inline: true, target: "#uppy" })
  .use(AwsS3, { companionEndpoint: "/oss" })
  .use(GoldenRetriever)
  .on("upload-success", (file, { body }) => console.log(file.name, body.key));
