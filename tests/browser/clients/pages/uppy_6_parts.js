// Uppy 6 with aws-s3, whose Companion is our prefix.
import AwsS3 from "@uppy/aws-s3";
import Uppy from "@uppy/core";
import GoldenRetriever from "@uppy/golden-retriever";
import { start } from "../uppy_parts.js";

start({ Uppy, AwsS3, GoldenRetriever, options: { companionEndpoint: "/oss" } });
