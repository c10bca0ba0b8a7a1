"""What the test suites of official clients find in the operations that the local OSS claims: one table.

The suites themselves need a checkout of each client, and minutes. A row has one of their requests, who sends it, and
what OSS answers by those tests: a status, and texts that the answer has, or headers.
"""

from typing import Any, NamedTuple

import pytest

from ..signed_client import code

CRYPTO = "x-oss-meta-client-side-encryption"
TAGS = "".join(f"<Tag><Key>{number}</Key><Value>a</Value></Tag>" for number in range(21))


class Finding(NamedTuple):
    """:param texts: by the path of the element, or, with a colon before it, by the name of the header."""

    claim: str
    client: str
    method: str
    query: str = ""
    key: str = ""
    headers: dict[str, str] | None = None
    body: bytes = b""
    status: int = 200
    texts: dict[str, Any] | None = None
    #: Requests before this one; each puts what its answer has for UploadId into `{id}`.
    before: tuple[tuple[Any, ...], ...] = ()


def rule(inner: str, name: str = "a", prefix: str = "a/") -> str:
    return f"<Rule><ID>{name}</ID><Prefix>{prefix}</Prefix><Status>Enabled</Status>{inner}</Rule>"


def lifecycle(*rules: str) -> bytes:
    return f"<LifecycleConfiguration>{''.join(rules)}</LifecycleConfiguration>".encode()


def transition(days: int, storage_class: str) -> str:
    return f"<Transition><Days>{days}</Days><StorageClass>{storage_class}</StorageClass></Transition>"


def refused_rule(claim: str, client: str, *rules: str, code: str = "InvalidArgument", **texts: str) -> Finding:
    texts = {"Code": code, **texts}
    return Finding(claim, client, "PUT", "lifecycle", body=lifecycle(*rules), status=400, texts=texts)


DATED = "<Expiration><CreatedBeforeDate>2016-12-25T00:00:00.000Z</CreatedBeforeDate></Expiration>"
BEGUN = (("POST", "uploads", "a"),)

FINDINGS = [
    Finding("max-parts means nothing to ListMultipartUploads", "ossutil", "GET", "uploads&max-parts=1"),
    Finding(
        "completing takes sequential",
        "Go SDK 2",
        "POST",
        "sequential&uploadId={id}",
        "a",
        {"x-oss-complete-all": "yes"},
        before=(("POST", "uploads&sequential", "a"),),
    ),
    Finding(
        "aborting takes sequential", "Go SDK 2", "DELETE", "sequential&uploadId={id}", "a", status=204, before=BEGUN
    ),
    Finding(
        "days of a rule itself become its expiration",
        "ali-oss",
        "GET",
        "lifecycle",
        texts={"Rule/Expiration/Days": "1", "Rule/Days": None},
        before=(("PUT", "lifecycle", "", None, lifecycle(rule("<Days>1</Days>"))),),
    ),
    Finding(
        "days beside an expiration do not count",
        "ali-oss",
        "GET",
        "lifecycle",
        texts={"Rule/Expiration/Days": "2", "Rule/Days": None},
        before=(
            ("PUT", "lifecycle", "", None, lifecycle(rule("<Days>1</Days><Expiration><Days>2</Days></Expiration>"))),
        ),
    ),
    Finding(
        "a date of a rule itself becomes its expiration",
        "ali-oss",
        "GET",
        "lifecycle",
        texts={"Rule/Expiration/Date": "2020-02-18T00:00:00.000Z"},
        before=(("PUT", "lifecycle", "", None, lifecycle(rule("<Date>2020-02-18T00:00:00.000Z</Date>"))),),
    ),
    Finding(
        "the delete marker may be True",
        "oss2",
        "GET",
        "lifecycle",
        texts={"Rule/Expiration/ExpiredObjectDeleteMarker": "true"},
        before=(
            (
                "PUT",
                "lifecycle",
                "",
                None,
                lifecycle(rule("<Expiration><ExpiredObjectDeleteMarker>True</ExpiredObjectDeleteMarker></Expiration>")),
            ),
        ),
    ),
    refused_rule("days and dates do not mix", "oss2", rule(DATED + transition(356, "IA")), code="InvalidRequest"),
    refused_rule("a rule moves to Archive after IA", "oss2", rule(transition(5, "IA") + transition(2, "Archive"))),
    refused_rule("a rule moves on one day to one class", "oss2", rule(transition(5, "IA") + transition(5, "Archive"))),
    refused_rule("a rule does not move to Standard", "oss2", rule(transition(5, "Standard"))),
    refused_rule(
        "former versions have an order of classes too",
        "oss2",
        rule(
            transition(20, "IA")
            .replace("Transition>", "NoncurrentVersionTransition>")
            .replace("Days", "NoncurrentDays")
            + transition(12, "Archive")
            .replace("Transition>", "NoncurrentVersionTransition>")
            .replace("Days", "NoncurrentDays")
        ),
    ),
    refused_rule("a rule has not too many tags", "oss2", rule(DATED + TAGS)),
    refused_rule("a tag has not every character", "oss2", rule(f"{DATED}<Tag><Key>%&amp;</Key><Value>a</Value></Tag>")),
    refused_rule(
        "an overlap names its action",
        "oss2",
        rule(DATED),
        rule(DATED, "b", "a/b"),
        Message="Overlap for same action type Expiration",
    ),
    Finding(
        "transitions with later days are taken",
        "oss2",
        "PUT",
        "lifecycle",
        body=lifecycle(rule(transition(30, "IA") + transition(60, "Archive") + transition(90, "ColdArchive"))),
    ),
    *(
        Finding(f"PutBucket names {name}", "oss2", "PUT", headers={name: "KMS"}, status=501, texts={"Message": name})
        for name in ("x-oss-server-side-encryption", "x-oss-bucket-tagging", "x-oss-resource-group-id")
    ),
    Finding(
        "an ACL of an object has OSS's error",
        "Swift SDK 2",
        "PUT",
        "",
        "a",
        {"x-oss-object-acl": "public"},
        b"hi",
        400,
        {"Message": "no such object access control exists", "ArgumentValue": "public", "EC": "0017-00000104"},
    ),
    Finding(
        "a class of a bucket has OSS's error",
        "Swift SDK 2",
        "PUT",
        body=b"<CreateBucketConfiguration><StorageClass>Cold</StorageClass></CreateBucketConfiguration>",
        status=400,
        texts={"Message": "No such bucket storage class exists.", "EC": "0013-00000101"},
    ),
    Finding(
        "the group of all buckets is found",
        "oss2",
        "PUT",
        headers={"x-oss-resource-group-id": "rg-acfmlocal0000000"},
        texts={":Location": "/examplebucket"},
    ),
    *(
        Finding(
            f"{method} ?{query} names an unknown header", "oss2", method, query, key, {"x-oss-unknown": "1"}, body, 501
        )
        for method, query, key, body in (
            ("PUT", "", "a", b"hi"),
            ("GET", "", "a", b""),
            ("HEAD", "", "a", b""),
            ("DELETE", "", "a", b""),
            ("POST", "uploads", "a", b""),
            ("POST", "delete", "", b"<Delete/>"),
            ("GET", "", "", b""),
            ("PUT", "cors", "", b"<CORSConfiguration/>"),
            ("PUT", "acl", "", b""),
            ("DELETE", "lifecycle", "", b""),
        )
    ),
    Finding(
        "the size and the price of an archive differ",
        "oss2",
        "GET",
        "stat",
        texts={
            "ArchiveRealStorage": "2",
            "ArchiveStorage": "65536",
            "Storage": "2",
            "StandardRealStorage": None,
            "LastModifiedTime": "1733227932",
        },
        before=(("PUT", "", "a", {"x-oss-storage-class": "Archive"}, b"hi"),),
    ),
    Finding(
        "the parts of an upload are counted",
        "Python SDK 2",
        "GET",
        "stat",
        texts={"MultipartPartCount": "1", "MultipartUploadCount": "1"},
        before=(*BEGUN, ("PUT", "partNumber=1&uploadId={id}", "a", None, b"hi")),
    ),
    Finding("an empty bucket was never counted", "Go SDK 2", "GET", "stat", texts={"LastModifiedTime": "0"}),
    Finding(
        "the intranet endpoint is OSS's",
        "ali-oss",
        "GET",
        "bucketInfo",
        texts={"Bucket/IntranetEndpoint": "oss-cn-hangzhou-internal.aliyuncs.com"},
    ),
    Finding(
        "the last upload is named though nothing was cut",
        "Python SDK 2",
        "GET",
        "uploads",
        texts={"NextKeyMarker": "a", "IsTruncated": "false"},
        before=BEGUN,
    ),
    Finding(
        "a method of CORS becomes upper case, a header lower",
        "ali-oss, Python SDK 2",
        "GET",
        "cors",
        texts={"CORSRule/AllowedMethod": "GET", "CORSRule/AllowedHeader": "x-a"},
        before=(
            (
                "PUT",
                "cors",
                "",
                None,
                b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>get</AllowedMethod>"
                b"<AllowedHeader>X-A</AllowedHeader></CORSRule></CORSConfiguration>",
            ),
        ),
    ),
    Finding(
        "the beginning of an upload tells its encryption",
        "ali-oss",
        "POST",
        "uploads",
        "a",
        {"x-oss-server-side-encryption": "AES256"},
        texts={":x-oss-server-side-encryption": "AES256"},
    ),
    Finding(
        "a part tells its encryption",
        "oss2",
        "PUT",
        "partNumber=1&uploadId={id}",
        "a",
        body=b"hi",
        texts={":x-oss-server-side-encryption": "KMS"},
        before=(("POST", "uploads", "a", {"x-oss-server-side-encryption": "KMS"}),),
    ),
    Finding(
        "the list of parts tells how a client encrypts",
        "Python SDK 2",
        "GET",
        "uploadId={id}",
        "a",
        texts={"ClientEncryptionKey": "k", "ClientEncryptionPartSize": "102400"},
        before=(("POST", "uploads", "a", {f"{CRYPTO}-key": "k", f"{CRYPTO}-part-size": "102400"}),),
    ),
    Finding(
        "a part may repeat the metadata",
        "oss2",
        "PUT",
        "partNumber=1&uploadId={id}",
        "a",
        {f"{CRYPTO}-key": "k", "x-oss-object-acl": "private", "x-oss-complete-all": "yes"},
        b"hi",
        before=BEGUN,
    ),
    Finding(
        "a read ignores what describes an object",
        "oss2",
        "GET",
        "",
        "a",
        {"x-oss-forbid-overwrite": "true"},
        before=(("PUT", "", "a", None, b"hi"),),
    ),
    *(
        Finding(
            f"Range: bytes={text}",
            "ossutil",
            "GET",
            "",
            "a",
            {"Range": f"bytes={text}"},
            status=206 if part else 200,
            texts={":Content-Length": "2" if part else "6"},
            before=(("PUT", "", "a", None, b"hi oss"),),
        )
        for text, part in (("1-2,", True), ("1-2,a-c", True), ("1-2,abc", True), (",1-2", False), ("1-2,4-5", False))
    ),
]


def ask(client, method, query="", key="", headers=None, body=b"", *, upload="", status="*"):
    return client(method, "examplebucket", query.format(id=upload), body, key=key, headers=headers, status=status)


@pytest.mark.parametrize("finding", [pytest.param(each, id=f"{each.client}: {each.claim}") for each in FINDINGS])
def test_a_client_gets_what_its_suite_expects(client, finding):
    upload = ""
    for earlier in finding.before:
        response = ask(client, *earlier, upload=upload, status=200)
        if earlier[:2] == ("POST", "uploads") or "uploads" in earlier[1]:
            upload = response.xml.findtext("UploadId")
    response = ask(client, *finding[2:6], finding.body, upload=upload)
    assert response.status_int == finding.status, response.body
    if finding.status == 501 and response.body:
        assert code(response) == (501, "NotImplemented")
        assert next(iter(finding.headers)) in response.xml.findtext("Message")
    for name, text in (finding.texts or {}).items():
        found = response.headers.get(name[1:]) if name.startswith(":") else response.xml.findtext(name)
        assert found == text or (finding.status == 501 and text in found), name
