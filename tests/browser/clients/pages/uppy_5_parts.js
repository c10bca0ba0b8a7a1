// Uppy 5 with aws-s3, whose endpoint is our prefix.
import { AwsS3, GoldenRetriever, Uppy } from "uppy-5";
import { start } from "../uppy_parts.js";

start({ Uppy, AwsS3, GoldenRetriever, options: { endpoint: "/oss" } });
