"""The lifecycle rules of a bucket (protocol.md 16.3): stored and returned as they are, and obeyed on demand.

OSS obeys the rules once a day, the local OSS on `LocalOSS.apply_lifecycle()` and on a POST of `?lifecycle`, which a
real OSS does not have. The local OSS obeys AbortMultipartUpload and Expiration. It only stores Transition, and rules
that Tag or Filter limit.
"""

from __future__ import annotations

import calendar
import itertools
import re
import secrets
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ..bodies import read_small_body
from ..errors import OSSError, Response, anonymous_access, invalid_argument
from ..request import Request
from ..storage.index import StoredObject
from ..storage.storage import Bucket
from ..xml_document import Node, malformed_xml, read_xml, write_xml, xml_response

MAX_RULES = 1000

MAX_BODY_SIZE = 4 * 1024 * 1024

#: The header that allows rules of the same action with overlapping prefixes.
OVERLAP = "x-oss-allow-same-action-overlap"

#: The bucket's settings that hold its rules as XML, and whether their prefixes may overlap.
_SETTING = "lifecycle"
_OVERLAP_SETTING = "lifecycle-overlap"

_DAY = 24 * 3600
_ALL = 10**9
_MAX_DAYS = 36500
_MAX_ID_LENGTH = 255
_ACTIONS = frozenset(
    {
        "Expiration",
        "AbortMultipartUpload",
        "Transition",
        "NoncurrentVersionExpiration",
        "NoncurrentVersionTransition",
    }
)
_CLASS = {"StorageClass", "IsAccessTime", "ReturnToStdWhenVisit", "AllowSmallFile"}
#: Element -> the child elements that it may have.
_CHILDREN = {
    # Days and Date in the rule itself belong to an old API: ali-oss sends them beside an Expiration.
    "Rule": {"ID", "Prefix", "Status", "Filter", "Tag", "Days", "Date", *_ACTIONS},
    "Expiration": {"Days", "CreatedBeforeDate", "Date", "ExpiredObjectDeleteMarker"},
    "AbortMultipartUpload": {"Days", "CreatedBeforeDate", "Date"},
    "Transition": {"Days", "CreatedBeforeDate", *_CLASS},
    "NoncurrentVersionExpiration": {"NoncurrentDays"},
    "NoncurrentVersionTransition": {"NoncurrentDays", *_CLASS},
    "Tag": {"Key", "Value"},
    "Filter": {"Not", "ObjectSizeGreaterThan", "ObjectSizeLessThan"},
    "Not": {"Prefix", "Tag"},
}
_REPEATED = {"Transition", "NoncurrentVersionTransition", "Tag"}
#: The classes that a rule may move objects to, in the only order allowed.
_CLASSES = ("IA", "Archive", "ColdArchive", "DeepColdArchive")
_MAX_TAGS = 20
_TAG = re.compile(r"[\w +=.:/-]*")
_BOOLEANS = {"ExpiredObjectDeleteMarker", "IsAccessTime", "ReturnToStdWhenVisit", "AllowSmallFile"}
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T00:00:00(\.000)?Z")

#: Takes the last change of an object and the present, in Unix seconds; returns whether the object has expired.
Expiry = Callable[[float, float], bool]


@dataclass(frozen=True)
class LifecycleRule:
    """The parts of a rule that the local OSS obeys; `node` is the whole rule."""

    id: str
    prefix: str
    actions: frozenset[str]
    abort: Expiry | None
    expiration: Expiry | None
    node: Node = field(repr=False)


@dataclass
class LifecycleReport:
    """What the rules removed: unfinished uploads in parts as (key, upload ID), and objects by key."""

    aborted: list[tuple[str, str]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


def put_bucket_lifecycle(request: Request) -> Response:
    overlap = request.headers.get(OVERLAP, "false").lower()
    if overlap not in ("true", "false"):
        raise invalid_argument(f"The {OVERLAP} is neither true nor false.", name=OVERLAP, value=overlap)
    rules = read_rules(read_small_body(request.environ, MAX_BODY_SIZE))
    if overlap != "true":
        _check_overlap(rules)
    text = write_xml("LifecycleConfiguration", [rule.node for rule in rules]).decode()
    request.storage.change({_SETTING: text, _OVERLAP_SETTING: overlap})
    return Response(200)


def get_bucket_lifecycle(request: Request) -> Response:
    settings = request.storage.settings
    if _SETTING not in settings:
        message = "No Row found in Lifecycle Table."
        raise OSSError(404, "NoSuchLifecycle", message, BucketName=request.bucket)
    rules = read_rules(settings[_SETTING].encode())
    headers = [(OVERLAP, settings.get(_OVERLAP_SETTING, "false"))]
    return xml_response("LifecycleConfiguration", [rule.node for rule in rules], headers)


def delete_bucket_lifecycle(request: Request) -> Response:
    request.storage.change({_SETTING: None, _OVERLAP_SETTING: None})
    return Response(204)


def post_bucket_lifecycle(request: Request) -> Response:
    """POST `?lifecycle`: obey the rules, as if `days` more had passed. In test mode it needs no signature."""
    if not (request.signed or request.oss.options.test_mode):
        raise anonymous_access()
    days = request.whole_number("days", 0, 0, _MAX_DAYS)
    report = apply_rules(request.storage, request.exchange.started + days * _DAY)
    aborted: list[Node] = [("Aborted", [("Key", key), ("UploadId", upload)]) for key, upload in report.aborted]
    deleted: list[Node] = [("Deleted", [("Key", key)]) for key in report.deleted]
    return xml_response("LifecycleResult", [*aborted, *deleted])


def apply_rules(bucket: Bucket, now: float) -> LifecycleReport:
    """Remove everything that has expired at `now`, in Unix seconds, by the rules of a bucket."""
    report = LifecycleReport()
    text = bucket.settings.get(_SETTING)
    for rule in read_rules(text.encode()) if text else ():
        if rule.abort:
            for upload in bucket.uploads(rule.prefix):
                if rule.abort(upload.started, now):
                    with suppress(OSSError):  # the upload was completed or aborted meanwhile
                        bucket.abort(upload)
                        report.aborted.append((upload.key, upload.id))
        if rule.expiration:
            for stored in bucket.page(prefix=rule.prefix, limit=_ALL)[0]:
                if not isinstance(stored, StoredObject) or not rule.expiration(stored.last_modified, now):
                    continue
                if bucket.get(stored.key) == stored:
                    bucket.delete(stored.key)
                    report.deleted.append(stored.key)
    return report


def read_rules(body: bytes) -> list[LifecycleRule]:
    """Return the rules of a LifecycleConfiguration; raise OSSError for a document that OSS does not accept."""
    root = read_xml(body, "LifecycleConfiguration")
    if not len(root):
        raise malformed_xml("0014-00000013")
    if not 1 <= len(root) <= MAX_RULES or {child.tag for child in root} != {"Rule"}:
        raise malformed_xml()
    rules = [_read_rule(element) for element in root]
    ids = [rule.id for rule in rules]
    for number, rule in enumerate(rules):
        if rule.id in ids[:number]:
            raise _invalid("ID", rule.id)
    return rules


def _read_rule(element: ElementTree.Element) -> LifecycleRule:
    for inner in element.iter():
        if inner.tag in _CHILDREN and {child.tag for child in inner} - _CHILDREN[inner.tag]:
            raise malformed_xml()
        if inner.tag == "ExpiredObjectDeleteMarker":
            inner.text = (inner.text or "").lower()  # oss2 writes True
        if inner.tag in _BOOLEANS and inner.text not in ("true", "false"):
            raise malformed_xml()
    _move_to_expiration(element)
    tags = [child.tag for child in element]
    actions, status = _ACTIONS.intersection(tags), _text(element, "Status")
    is_repeated = any(tags.count(tag) > 1 for tag in set(tags) - _REPEATED)
    if is_repeated or status not in ("Enabled", "Disabled") or not actions:
        raise malformed_xml()
    _check_times(element)
    _check_tags(element)
    identifier = _text(element, "ID") or secrets.token_hex(16)
    if len(identifier) > _MAX_ID_LENGTH:
        raise _invalid("ID", identifier)
    children = (element.find(name) for name in ("Expiration", "AbortMultipartUpload"))
    expiration, abort = (None if child is None else _read_expiry(child) for child in children)
    is_obeyed = status == "Enabled" and not {"Tag", "Filter"} & set(tags)
    others = [_node(child) for child in element if child.tag != "ID"]
    return LifecycleRule(
        id=identifier,
        prefix=_text(element, "Prefix"),
        actions=actions if status == "Enabled" else frozenset(),
        abort=abort if is_obeyed else None,
        expiration=expiration if is_obeyed else None,
        node=("Rule", [("ID", identifier), *others]),
    )


def _move_to_expiration(rule: ElementTree.Element) -> None:
    """Turn the Days or the Date of the rule itself into an Expiration; drop both if the rule has an Expiration."""
    for name in ("Days", "Date"):
        for child in rule.findall(name):
            rule.remove(child)
            if rule.find("Expiration") is None:
                ElementTree.SubElement(rule, "Expiration").append(child)


def _check_times(rule: ElementTree.Element) -> None:
    """Raise OSSError if objects would change classes in a wrong order, or expire before they change.

    Only days are compared, not dates; a rule must not mix both.
    """
    last = _text(rule, "Expiration/Days")
    for name, time_name in (("Transition", "Days"), ("NoncurrentVersionTransition", "NoncurrentDays")):
        days_of: dict[str, int] = {}
        for transition in rule.iterfind(name):
            storage_class, days = _text(transition, "StorageClass"), _text(transition, time_name)
            if storage_class not in _CLASSES:
                raise _invalid("StorageClass", storage_class)
            if days.isdecimal():
                days_of[storage_class] = int(days)
        in_order = [days_of[storage_class] for storage_class in _CLASSES if storage_class in days_of]
        if in_order != sorted(set(in_order)):
            raise _invalid(name, f"{in_order[0]} days")
        if name == "Transition" and in_order and last.isdecimal() and int(last) <= in_order[-1]:
            raise _invalid("Expiration", f"{last} days")
    times = {child.tag for name in ("Expiration", "Transition") for each in rule.iterfind(name) for child in each}
    if "Days" in times and times & {"Date", "CreatedBeforeDate"}:
        message = (
            "Found mixed CreatedBeforeDate and Days based Expiration and Transition for StorageClass"
            f" {_text(rule, 'Transition/StorageClass')} actions"
        )
        raise OSSError(400, "InvalidRequest", message, "0014-00000080")


def _check_tags(rule: ElementTree.Element) -> None:
    tags = rule.findall("Tag")
    if len(tags) > _MAX_TAGS:
        raise _invalid("number of Tag", str(len(tags)))
    for tag in tags:
        for name in ("Key", "Value"):
            if not _TAG.fullmatch(_text(tag, name)):
                raise _invalid("Tag", _text(tag, name))


def _read_expiry(element: ElementTree.Element) -> Expiry:
    """Return the expiry of an Expiration or AbortMultipartUpload; raise OSSError unless it names exactly one time."""
    names = [child.tag for child in element if child.tag != "ExpiredObjectDeleteMarker"]
    if not names and len(element):  # there are no versions here
        return lambda moment, now: False
    if len(names) != 1:
        raise malformed_xml()
    text = _text(element, names[0])
    if names == ["Days"]:
        if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= _MAX_DAYS:
            raise _invalid("Days", text)
        seconds = int(text) * _DAY
        return lambda moment, now: moment + seconds <= now
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        date = calendar.timegm(time.strptime(text[:10], "%Y-%m-%d"))
    except ValueError:
        raise _invalid(names[0], text) from None
    return (lambda moment, now: date <= now) if names == ["Date"] else (lambda moment, now: moment < date)


def _check_overlap(rules: Sequence[LifecycleRule]) -> None:
    """Raise OSSError if two rules share an action, and the prefix of one begins with the other's prefix."""
    for one, other in itertools.combinations(rules, 2):
        alike = one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
        common = sorted(one.actions & other.actions)
        if alike and common:
            raise invalid_argument(f"Overlap for same action type {common[0]}", name="Prefix", value=other.prefix)


def _text(element: ElementTree.Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _node(element: ElementTree.Element) -> Node:
    return element.tag, [_node(child) for child in element] if len(element) else (element.text or "").strip()


def _invalid(name: str, value: str) -> OSSError:
    return invalid_argument(f"The {name} of a lifecycle rule is not valid.", name=name, value=value)
