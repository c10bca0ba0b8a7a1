"""A dishonest uploader drops, changes, repeats and adds form fields: each form is refused or harmless.

The tests check which object OSS stores, with which headers, and which upload the application gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import webtest

from oss_wsgi import Grant, Upload
from oss_wsgi.exceptions import NotConfirmedError
from oss_wsgi.testing import callback_body

from ..support.linted_client import LintedClient
from .attacks import Pairs, Site, changed, headers_of, legacy, post_form, refused, stored

DATA = b"hello"
GRANT = Grant(user="eric", dir="users/eric")
RICH = Grant(
    user="eric",
    dir="users/eric",
    content_types=["text/plain"],
    storage_class="Standard",
    content_disposition="attachment",
    metadata={"owner": "eric"},
    custom={"order": "1"},
)
TOKEN = "CAISexample+Token/With=Padding=="


class Attack:
    """A client, the uploads that its application got, and a form to change."""

    def __init__(
        self, version: str, form: str, grant: Grant | None = None, *, content_type: str = "text/plain", **values: Any
    ) -> None:
        self.uploads: list[Upload] = []
        self.exact = form == "exact"
        grant = grant or (RICH if self.exact else GRANT)
        values = {"signature_version": version, "session_token": TOKEN, **values}
        self.client = LintedClient(legacy, values, authorize=lambda request: grant, on_upload=self.uploads.append)
        parameters = {"content_type": content_type, "size": len(DATA)} if self.exact else {}
        self.signed = self.client.sign("a.txt" if self.exact else None, **parameters).json
        self.fields: dict[str, str] = self.signed["fields"]

    def post(self, pairs: Pairs | None = None, data: bytes = DATA, **more: Any) -> webtest.TestResponse:
        return post_form(self.client, self.fields.items() if pairs is None else pairs, data, **more)

    def refused(self, answer: webtest.TestResponse) -> bool:
        """Return whether OSS refused the form, stored nothing and called nobody."""
        return answer.status_int in (400, 403) and b"<Error>" in answer.body and not stored(self.client) + self.uploads

    def accepted(self, answer: webtest.TestResponse) -> Upload:
        """Return the one upload, which is stored and reported exactly as granted."""
        assert answer.status_int == 200, answer.text
        (upload,) = self.uploads
        assert stored(self.client) == [upload.object]
        assert upload.user == "eric"
        assert str(upload.object).startswith("users/eric/")
        return upload


@pytest.fixture(params=["v1", "v4"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def attack(version: str, form: str) -> Iterator[Attack]:
    attack = Attack(version, form)
    with attack.client:
        yield attack


FORMS = ("exact", "prefix")
both_forms = pytest.mark.parametrize("form", FORMS)


#: Fields that a form may lack: the callback's response counts in any case, and the part's own type replaces the other
#: in the policy, while OSS stores x-oss-content-type, which is pinned.
HARMLESS = ("success_action_status", "Content-Type")


def test_the_attacked_fields_include_every_issued_field() -> None:
    names: set[str] = set()
    for version, form in (("v1", "exact"), ("v4", "exact")):
        attack = Attack(version, form)
        names |= set(attack.fields)
        attack.client.close()
    assert {"key", "policy", "callback", "Signature", "OSSAccessKeyId", "x-oss-security-token"} <= names
    assert {"x-oss-signature", "x-oss-signature-version", "x-oss-credential", "x-oss-date"} <= names
    assert {"x-oss-object-acl", "x-oss-forbid-overwrite", "x-oss-content-type", "Content-Type", "x:order"} <= names
    assert {"x-oss-storage-class", "Content-Disposition", "x-oss-meta-owner", "success_action_status"} <= names


def without(attack: Attack, name: str) -> Pairs:
    return [pair for pair in attack.fields.items() if pair[0] != name]


@both_forms
def test_a_form_without_a_field_is_refused(attack: Attack) -> None:
    for name in attack.fields.keys() - set(HARMLESS):
        assert attack.refused(attack.post(without(attack, name))), name


@pytest.mark.parametrize("name", HARMLESS)
def test_a_form_may_lack_what_pins_nothing(version: str, name: str) -> None:
    attack = Attack(version, "exact")
    with attack.client:
        upload = attack.accepted(attack.post(without(attack, name)))
        assert headers_of(attack.client, str(upload.object))["Content-Type"] == "text/plain"


@both_forms
def test_a_form_with_a_changed_field_is_refused(attack: Attack) -> None:
    for name, value in attack.fields.items():
        if name == "success_action_status" or (name == "key" and not attack.exact):
            continue
        for other in {value + "x", value[:-1], "", value.upper(), " " + value} - {value}:
            assert attack.refused(attack.post([*{**attack.fields, name: other}.items()])), (name, other)


@both_forms
def test_the_browser_chooses_the_status_and_a_name_below_the_prefix(attack: Attack) -> None:
    """The object is reported as it is stored."""
    changes = {"success_action_status": "200x"} if attack.exact else {"key": attack.fields["key"] + "x"}
    upload = attack.accepted(attack.post([*{**attack.fields, **changes}.items()]))
    assert attack.exact or upload.object == "users/eric/a.txtx"


@both_forms
def test_a_key_outside_the_grant_is_refused(attack: Attack) -> None:
    names = ["users/bob/a.txt", "users/eric", "users/ericb/a.txt", "/users/eric/a.txt", "", "Users/eric/a.txt"]
    if attack.exact:
        names += ["users/eric/a.txt", "users/eric/${filename}", f"{attack.fields['key']}/../b.txt"]
    for name in names:
        assert attack.refused(attack.post([*{**attack.fields, "key": name}.items()])), name


def test_a_climbing_file_name_stays_below_the_prefix() -> None:
    """Names are flat texts to OSS. The README says that an open ``upload.object`` is text from a stranger."""
    name = "../../users/bob/a.txt"
    attack = Attack("v4", "prefix")
    with attack.client:
        assert attack.accepted(attack.post(filename=name)).object == f"users/eric/{name}"
        directory = attack.client.local_oss.directory
        (content,) = (path for path in directory.rglob("*") if path.is_file() and path.read_bytes() == DATA)
        assert content.parent == directory / "examplebucket"


ADDED: dict[str, tuple[str, str]] = {
    "public": ("x-oss-object-acl", "public-read-write"),
    "overwriting": ("x-oss-forbid-overwrite", "false"),
    "type": ("x-oss-content-type", "text/html"),
    "plain type": ("Content-Type", "text/html"),
    "disposition": ("Content-Disposition", "inline"),
    "storage class": ("x-oss-storage-class", "DeepColdArchive"),
    "metadata": ("x-oss-meta-owner", "mallory"),
    "variable": ("x:order", "2"),
    "callback": ("callback", ""),
    "signature version": ("x-oss-signature-version", "OSS4-HMAC-SHA256"),
    "token": ("x-oss-security-token", "another"),
}


def test_a_form_for_an_exact_name_takes_no_other_fields(version: str) -> None:
    attack = Attack(version, "exact")
    with attack.client:
        for added in ADDED.values():
            assert attack.refused(attack.post([*attack.fields.items(), added])), added


@pytest.mark.parametrize("what", ["overwriting", "storage class", "disposition", "metadata"])
def test_not_pinned_a_form_for_a_prefix_takes_some_fields(what: str) -> None:
    """The README's table says so: the bucket's own rules must forbid what matters. The report stays true."""
    attack = Attack("v4", "prefix")
    with attack.client:
        upload = attack.accepted(attack.post([*attack.fields.items(), ADDED[what]]))
        assert (upload.size, upload.user, upload.custom) == (len(DATA), "eric", {})


def test_block_public_access_refuses_a_public_acl_in_a_form_for_a_prefix() -> None:
    attack = Attack("v4", "prefix")
    with attack.client:
        assert attack.refused(attack.post([*attack.fields.items(), ADDED["public"]]))


UNKNOWN = {
    "Cache-Control": "max-age=31536000",
    "x-oss-meta-other": "mine",
    "success_action_redirect": "https://evil.example/",
    "x:other": "1",
    "dir": "users/bob/",
    "user": "admin",
    "ticket": "another",
}


@pytest.mark.parametrize(("version", "form"), [("v4", "exact"), ("v4", "prefix")])
def test_not_pinned_other_added_fields_change_no_report(attack: Attack) -> None:
    answer = attack.post([*attack.fields.items(), *UNKNOWN.items()])
    upload = attack.accepted(answer)
    assert "Location" not in answer.headers
    assert (upload.size, upload.user, upload.data) == (len(DATA), "eric", {})
    assert upload.custom == ({"order": "1"} if attack.exact else {})
    if attack.exact:
        headers = headers_of(attack.client, str(upload.object))
        assert (headers["Content-Type"], headers["Content-Disposition"]) == ("text/plain", "attachment")


def test_a_request_header_does_not_change_a_pinned_acl(version: str) -> None:
    attack = Attack(version, "exact")
    with attack.client:
        assert attack.fields["x-oss-object-acl"] == "default"
        attack.accepted(attack.post(headers={"x-oss-object-acl": "public-read-write"}))


# With a bucket of their own, users can have OSS sign any report of their granted upload.


class StoredObjects:
    """A ``confirm`` that knows the objects in OSS, as SDKConfirmation does."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, str]] = {}

    def __call__(self, upload: Upload) -> bool:
        if self.objects.get(str(upload.object)) != (upload.size, upload.etag):
            raise NotConfirmedError("not_confirmed", "it is not there")
        return True


def test_only_confirm_detects_another_size_within_the_limits() -> None:
    for confirm, statuses in ((None, [200, 403, 403]), (StoredObjects(), [403, 403, 403])):
        site = Site({"upload_max_size": 100}, authorize=lambda request: GRANT, confirm=confirm)
        signed = site.sign(filename="a.txt")
        if isinstance(confirm, StoredObjects):
            confirm.objects[signed["fields"]["key"]] = (6, "5B3C1A2E053D763E1B002CC607C5A0FE")
        body = callback_body(signed, size=6)
        sizes = ("7", "101", str(2**64 - 1))
        assert [site.report(changed(body, size=size)).status_int for size in sizes] == statuses
        assert site.report(body).status_int == 200


def test_a_report_can_change_custom_but_not_data() -> None:
    """``custom`` is pinned in the form, but another report may change it. Only ``data`` is reliable."""
    grant = Grant(user="eric", custom={"order": "1"}, data={"order": 1})
    site = Site(authorize=lambda request: grant)
    body = changed(callback_body(site.sign(filename="a.txt"), size=6), **{"x:order": "2", "width": "9"})
    assert site.report(body).status_int == 200
    (upload,) = site.uploads
    assert (upload.data, upload.user) == ({"order": 1}, "eric")
    assert (upload.custom, upload.image_width) == ({"order": "2"}, 9)


def test_in_a_shared_folder_a_user_can_report_anothers_object() -> None:
    """A ticket for a prefix says who may upload there, not who did. The README says to give each user a folder."""
    objects_in_oss = StoredObjects()
    users = iter(["eric", "mallory"])
    site = Site(authorize=lambda request: Grant(user=next(users), dir="shared"), confirm=objects_in_oss)
    objects_in_oss.objects["shared/a.txt"] = (6, "5B3C1A2E053D763E1B002CC607C5A0FE")
    for user in ("eric", "mallory"):
        assert site.report(callback_body(site.sign(), size=6, filename="a.txt")).status_int == 200
        assert site.uploads[-1].user == user
    own = Site(authorize=lambda request: Grant(user="mallory", dir="users/mallory"), confirm=objects_in_oss)
    stolen = changed(callback_body(own.sign(), size=6, filename="a.txt"), filename="shared/a.txt")
    assert refused(own, own.report(stolen))
