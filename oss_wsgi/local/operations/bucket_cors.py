"""Operations on the CORS rules of a bucket: PutBucketCors, GetBucketCors, DeleteBucketCors."""

from __future__ import annotations

from ..answer import Answer
from ..bucket_rules import keep_rules
from ..cors_document import MAX_BODY_SIZE, read_rules, rule_nodes
from ..errors import OSSError
from ..request import Request
from ..xml_document import xml_answer
from .small_body import read_small_body


def put_bucket_cors(request: Request) -> Answer:
    body = read_small_body(request.environ, MAX_BODY_SIZE)
    keep_rules(request.storage, *read_rules(body, request.service.rules.max_rules))
    return Answer(200)


def get_bucket_cors(request: Request) -> Answer:
    rules, vary = request.service.rules.of(request.storage.name)
    if not rules:
        message = "The CORS Configuration does not exist."
        raise OSSError(404, "NoSuchCORSConfiguration", message, BucketName=request.bucket)
    return xml_answer("CORSConfiguration", rule_nodes(rules, vary))


def delete_bucket_cors(request: Request) -> Answer:
    keep_rules(request.storage, (), vary=False)
    return Answer(204)
