import pytest
from webtest import TestApp

from local_oss.errors import OSSError
from local_oss.operations.lifecycle import read_rules

from ..form_client import NOW
from ..signed_client import SignedClient, code
from ..stored import put

DAY = 24 * 3600
TRANSITION = "<Transition><Days>30</Days><StorageClass>IA</StorageClass></Transition>"
ABORT = "<AbortMultipartUpload><Days>7</Days></AbortMultipartUpload>"


def document(*rules):
    inner = "".join(f"<Rule>{rule}</Rule>" for rule in rules)
    return f"<LifecycleConfiguration>{inner}</LifecycleConfiguration>".encode()


def rule(actions=ABORT, prefix="user/", status="Enabled", name="one"):
    return f"<ID>{name}</ID><Prefix>{prefix}</Prefix><Status>{status}</Status>{actions}"


@pytest.fixture
def put_rules(client):
    def put_rules(*rules, **options):
        return client("PUT", "examplebucket", "lifecycle", document(*rules), **options)

    return put_rules


def uploads(bucket):
    return [upload.key for upload in bucket.uploads()]


def test_rules_are_kept_and_deleted(client, put_rules):
    assert code(client("GET", "examplebucket", "lifecycle", status=404)) == (404, "NoSuchLifecycle")
    transition = "<Transition><Days>30</Days><StorageClass>IA</StorageClass></Transition>"
    put_rules(rule(), rule(transition, prefix="old/", name="two"))
    response = client("GET", "examplebucket", "lifecycle")
    first, second = response.xml
    assert [(child.tag, child.text) for child in first][:3] == [
        ("ID", "one"),
        ("Prefix", "user/"),
        ("Status", "Enabled"),
    ]
    assert first.findtext("AbortMultipartUpload/Days") == "7"
    assert second.findtext("Transition/StorageClass") == "IA"
    assert response.headers["x-oss-allow-same-action-overlap"] == "false"
    assert client("DELETE", "examplebucket", "lifecycle").status_int == 204
    assert code(client("GET", "examplebucket", "lifecycle", status=404)) == (404, "NoSuchLifecycle")


def test_an_upload_is_aborted_after_its_days_and_not_before(oss, bucket, put_rules):
    put_rules(rule())
    for key in ("user/a", "other/a"):
        bucket.begin(key, "text/plain", {}, now=NOW)
    assert oss.apply_lifecycle(NOW + 7 * DAY - 1).aborted == []
    report = oss.apply_lifecycle(NOW + 7 * DAY)
    assert [key for key, _ in report.aborted] == ["user/a"]
    assert uploads(bucket) == ["other/a"]


@pytest.mark.slow
def test_more_than_a_page_of_uploads_is_aborted(oss, bucket, put_rules):
    put_rules(rule())
    for number in range(1002):
        bucket.begin(f"user/{number}", "text/plain", {}, now=NOW)
    assert len(oss.apply_lifecycle(NOW + 8 * DAY).aborted) == 1002
    assert uploads(bucket) == []


def test_objects_expire(oss, bucket, put_rules):
    put_rules(rule("<Expiration><Days>1</Days></Expiration>"))
    put(bucket, "user/a")
    put(bucket, "a")
    assert oss.apply_lifecycle().deleted == []
    assert oss.apply_lifecycle(bucket.get("user/a").last_modified + DAY).deleted == ["user/a"]
    assert bucket.get("user/a") is None
    assert bucket.get("a")


@pytest.mark.parametrize(
    ("name", "date", "count"),
    [
        ("CreatedBeforeDate", "2100-01-01T00:00:00.000Z", 1),
        ("CreatedBeforeDate", "2000-01-01T00:00:00.000Z", 0),
        ("Date", "2000-01-01T00:00:00.000Z", 1),
        ("Date", "2100-01-01T00:00:00Z", 0),
    ],
)
def test_a_rule_may_name_a_date(oss, bucket, put_rules, name, date, count):
    put_rules(rule(f"<AbortMultipartUpload><{name}>{date}</{name}></AbortMultipartUpload>"))
    bucket.begin("user/a", "text/plain", {}, now=NOW)
    assert len(oss.apply_lifecycle(NOW).aborted) == count


@pytest.mark.parametrize(
    "limited",
    [
        rule(status="Disabled"),
        rule(f"{ABORT}<Tag><Key>a</Key><Value>b</Value></Tag>"),
        rule(f"{ABORT}<Filter><Not><Prefix>user/b</Prefix></Not></Filter>"),
        rule("<Transition><Days>1</Days><StorageClass>IA</StorageClass></Transition>"),
    ],
    ids=["disabled", "tag", "filter", "transition"],
)
def test_other_rules_are_only_kept(oss, bucket, put_rules, limited):
    put_rules(limited)
    bucket.begin("user/a", "text/plain", {}, now=NOW)
    put(bucket, "user/b")
    assert oss.apply_lifecycle(NOW + 1000 * DAY).aborted == []
    assert bucket.get("user/b")


def test_without_rules_nothing_is_removed(oss, bucket):
    bucket.begin("user/a", "text/plain", {}, now=0)
    assert oss.apply_lifecycle(NOW + 1000 * DAY).aborted == []


def test_a_rule_without_an_id_gets_one_that_stays(client, put_rules):
    put_rules(f"<Status>Enabled</Status>{ABORT}")
    first, second = (client("GET", "examplebucket", "lifecycle").xml.findtext("Rule/ID") for _ in range(2))
    assert first
    assert first == second


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], "MalformedXML"),
        ([rule("")], "MalformedXML"),
        ([rule(status="On")], "MalformedXML"),
        ([rule(ABORT * 2)], "MalformedXML"),
        ([rule(f"{ABORT}<Unknown/>")], "MalformedXML"),
        ([rule("<Expiration/>")], "MalformedXML"),
        ([rule("<AbortMultipartUpload><ExpiredObjectDeleteMarker/></AbortMultipartUpload>")], "MalformedXML"),
        ([rule("<AbortMultipartUpload><Days>0</Days></AbortMultipartUpload>")], "InvalidArgument"),
        ([rule("<AbortMultipartUpload><Days>x</Days></AbortMultipartUpload>")], "InvalidArgument"),
        ([rule("<Expiration><CreatedBeforeDate>2024-01-01T01:00:00.000Z</CreatedBeforeDate></Expiration>")], "Inv"),
        ([rule(), rule(prefix="b/")], "InvalidArgument"),
        ([rule(), rule(prefix="user/a", name="two")], "InvalidArgument"),
        ([rule(name="x" * 256)], "InvalidArgument"),
        # Expiration has to come after Transition; elements and truths are those of the schema (issue 29, 1.14).
        ([rule(TRANSITION + "<Expiration><Days>30</Days></Expiration>")], "InvalidArgument"),
        ([rule(TRANSITION.replace("</Days>", "</Days><Unknown/>"))], "MalformedXML"),
        ([rule(TRANSITION.replace("</Days>", "</Days><IsAccessTime>True</IsAccessTime>"))], "MalformedXML"),
        ([rule(f"{ABORT}<Filter><Unknown/></Filter>")], "MalformedXML"),
        ([rule(name=str(number), prefix=f"{number}/") for number in range(1001)], "MalformedXML"),
    ],
)
def test_a_document_that_oss_does_not_accept_changes_nothing(client, put_rules, rules, expected):
    status, name = code(put_rules(*rules, status=400))
    assert (status, name.startswith(expected)) == (400, True)
    assert client("GET", "examplebucket", "lifecycle", status=404)


def test_overlapping_prefixes_need_a_header(put_rules, client):
    overlapping = rule(), rule(prefix="user/a", name="two")
    put_rules(*overlapping, headers={"x-oss-allow-same-action-overlap": "true"})
    assert client("GET", "examplebucket", "lifecycle").headers["x-oss-allow-same-action-overlap"] == "true"
    assert code(put_rules(rule(), headers={"x-oss-allow-same-action-overlap": "1"}, status=400))[1] == "InvalidArgument"
    put_rules(rule(), rule("<Expiration><Days>1</Days></Expiration>", name="two"))
    put_rules(rule(), rule(status="Disabled", name="two"))
    put_rules(rule(TRANSITION + "<Expiration><Days>31</Days></Expiration>"))
    put_rules(rule(TRANSITION.replace("</Days>", "</Days><IsAccessTime>true</IsAccessTime>")))


def test_a_post_obeys_the_rules_as_if_days_had_passed(client, bucket, put_rules):
    put_rules(rule())
    upload = bucket.begin("user/a", "text/plain", {}, now=NOW)
    assert len(client("POST", "examplebucket", "lifecycle").xml) == 0
    response = client("POST", "examplebucket", "lifecycle&days=8")
    assert response.xml.findtext("Aborted/UploadId") == upload.id
    assert uploads(bucket) == []
    assert code(client("POST", "examplebucket", "lifecycle&days=-1", status=400))[1] == "InvalidArgument"


def test_only_in_test_mode_the_post_needs_no_signature(make_oss):
    oss = make_oss()
    assert code(TestApp(oss).post("/examplebucket?lifecycle", status=403)) == (403, "AccessDenied")
    oss.close()
    oss = make_oss(test_mode=True)
    SignedClient(oss)("PUT", "examplebucket", "lifecycle", document(rule("<Expiration><Days>1</Days></Expiration>")))
    put(oss.storage.bucket("examplebucket"), "user/a")
    assert TestApp(oss).post("/examplebucket?lifecycle&days=9999").xml.findtext("Deleted/Key") == "user/a"


def test_each_bucket_has_rules_of_its_own(oss, client):
    client("PUT", "newbucket")
    client("PUT", "newbucket", "lifecycle", document(rule(prefix="")))
    oss.storage.bucket("newbucket").begin("a", "text/plain", {}, now=NOW)
    assert oss.apply_lifecycle(NOW + 8 * DAY).aborted == []
    assert len(oss.apply_lifecycle(NOW + 8 * DAY, bucket="newbucket").aborted) == 1
    with pytest.raises(OSSError, match="NoSuchBucket"):
        oss.apply_lifecycle(bucket="absent")


def test_namespaces_are_ignored():
    body = document(rule()).replace(b"<LifecycleConfiguration>", b'<LifecycleConfiguration xmlns="http://a.b">')
    assert read_rules(body)[0].prefix == "user/"
