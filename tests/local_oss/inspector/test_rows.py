from itertools import count

import pytest

from local_oss.inspector.exchange import Exchange
from local_oss.inspector.rows import rows_of
from local_oss.storage.index import StoredObject

PAGE = "http://page.example"
STORED = StoredObject("a", 5, "", 0, "text/plain", 0.0, {})
NUMBERS = count()


def exchange(operation, method="GET", key="a", query=(), status=200, origin="", asked="", **facts):
    """Return an exchange that has ended; OSS allows the origin of a page."""
    target = f"/examplebucket/{key}" if operation != "PostObject" else "/examplebucket"
    headers = [("Origin", origin)] if origin else []
    headers += [("Access-Control-Request-Method", asked)] if asked else []
    allowed = (("Access-Control-Allow-Origin", "*"),) if origin else ()
    facts = {"bucket": "examplebucket", "key": key, "headers": tuple(headers), "answer_headers": allowed, **facts}
    return Exchange(f"{next(NUMBERS)}", 0.0, method, operation, target, query=query, status=status, **facts)


def preflight(method="POST", key="", status=200, query=()):
    target = f"/examplebucket/{key}" if key else "/examplebucket"
    made = exchange("Preflight", "OPTIONS", "", query, status, PAGE, method)
    made.target = target + ("?x" if query else "")
    return made


def post(key="a", **facts):
    return exchange("PostObject", "POST", key, origin=PAGE, stored=STORED, **facts)


def rows(*exchanges):
    """Return of exchanges in their order each row's operation and key, and what is folded into it."""
    shown = [
        [(row.exchange.operation, row.exchange.key), *(each.operation for each in reversed(row.folded))]
        for row in rows_of(exchanges[::-1])
    ]
    return shown[::-1]


def test_preflights_fold_into_the_requests_that_follow_them_one_by_one():
    made = [preflight(), preflight(), post("a"), post("b"), post("c")]
    assert rows(*made) == [
        [("PostObject", "a"), "Preflight"],
        [("PostObject", "b"), "Preflight"],
        [("PostObject", "c")],
    ]
    assert [row.folded for row in rows_of(made[::-1])] == [(), [made[1]], [made[0]]]


@pytest.mark.parametrize(
    "other",
    [
        exchange("PostObject", "POST", stored=STORED),
        exchange("PostObject", "POST", origin="http://other.example", stored=STORED),
        exchange("PutObject", "PUT", origin=PAGE, stored=STORED),
    ],
    ids=["of no page", "of another page", "of another method and path"],
)
def test_a_preflight_folds_into_no_other_request(other):
    assert len(rows(preflight(), other)) == 2


def test_reads_fold_into_the_last_upload_of_their_object_before_them():
    uploads = [post("a"), post("a"), exchange("PostObject", "POST", status=403)]
    made = [exchange("GetObject"), *uploads, exchange("HeadObject"), exchange("GetObject", key="b")]
    assert rows(*made) == [
        [("GetObject", "a")],
        [("PostObject", "a")],
        [("PostObject", "a"), "HeadObject"],
        [("PostObject", "a")],
        [("GetObject", "b")],
    ]


def parts(upload_id="X", key="a"):
    query = ("uploadId", upload_id)
    answer = f"<InitiateMultipartUploadResult><UploadId>{upload_id}</UploadId>".encode()
    return [
        exchange("InitiateMultipartUpload", "POST", key, (("uploads", ""),), answer=answer),
        preflight("PUT", key, query=(query,)),
        exchange("UploadPart", "PUT", key, (query, ("partNumber", "1")), origin=PAGE),
        exchange("UploadPart", "PUT", key, (query, ("partNumber", "2")), origin=PAGE),
        exchange("CompleteMultipartUpload", "POST", key, (query,), stored=STORED),
    ]


def test_parts_fold_into_the_beginning_of_their_upload_and_into_its_end_once_that_has_come():
    begun = [*parts()[:-1], *parts("Y", "b")[:2]]
    assert rows(*begun) == [
        [("InitiateMultipartUpload", "a"), "Preflight", "UploadPart", "UploadPart"],
        [("InitiateMultipartUpload", "b")],
        [("Preflight", "")],
    ]
    assert rows(*parts()) == [
        [("CompleteMultipartUpload", "a"), "InitiateMultipartUpload", "Preflight", "UploadPart", "UploadPart"]
    ]


def test_parts_fold_into_the_end_that_stored_their_upload():
    begun, _, part, _, end = parts()
    early = parts()[-1]
    early.status, early.stored = 400, None
    assert rows(begun, part, early, end) == [
        [("CompleteMultipartUpload", "a")],
        [("CompleteMultipartUpload", "a"), "InitiateMultipartUpload", "UploadPart"],
    ]


def test_what_failed_has_a_row_of_its_own():
    begun, _, part, _, end = parts()
    part.status = 503
    made = [preflight(status=403), post(), exchange("GetObject", status=404), begun, part, end]
    assert [len(row) for row in rows(*made)] == [1, 1, 1, 1, 2]


def test_what_is_folded_is_counted_by_its_sort():
    (row,) = rows_of(parts()[::-1])
    assert row.counts == ["1 preflight", "2 parts", "1 other call"]
