"""PostedFilesHandler: what Django's request has of files that went straight to OSS."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, HttpResponse
from django.test import override_settings

from ..support.browser_form import File
from . import project
from .gallery import urls
from .gallery.models import Photo
from .site import Site, answer, picture

HANDLER = "oss_wsgi.django.PostedFilesHandler"


class Seen:
    """A view that keeps the files of its request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[Any] = []
        self.errors: list[Exception] = []
        monkeypatch.setattr(urls.urlpatterns[2], "callback", self)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        self.files = list(request.FILES.values())
        return HttpResponse("seen")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    return Seen(monkeypatch)


def test_a_file_knows_its_object_and_is_not_read(site: Site, seen: Seen) -> None:
    cat = picture()
    assert site.post("/echo", [("photo", cat)]).text == "seen"
    (file,) = seen.files
    assert (file.name, file.size, file.content_type) == ("cat.png", len(cat.data), "image/png")
    assert (file.upload.user, file.upload.filename) == ("1", "cat.png")
    assert site.asked("head") == [file.upload.object]
    assert site.asked("read") == [], "neither the CSRF check nor the end of the request has read it"
    assert file.closed, "Django closes the files of a request"


def test_looking_at_a_file_reads_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def look(request: HttpRequest) -> HttpResponse:
        photo = request.FILES["photo"]
        assert photo and photo.file and not photo.closed and photo.seekable() and photo.readable()
        assert (photo.tell(), photo.seek(0, 2), photo.multiple_chunks()) == (0, photo.size, False)
        assert not hasattr(photo, "temporary_file_path")
        repr(photo), str(photo)
        photo.close()
        return HttpResponse("seen")

    monkeypatch.setattr(urls.urlpatterns[2], "callback", look)
    assert site.post("/echo", [("photo", picture())]).text == "seen"
    assert site.asked("read") == []


FORMS: dict[str, tuple[list[Any], str]] = {
    "several files of a field, in order with others": (
        [
            ("title", "a"),
            ("photo", File("1.txt", "text/plain", b"one")),
            ("photo", File("stays.txt", "text/plain", b"two")),
            ("title", "b"),
            ("photo", File("3.txt", "text/plain; charset=gbk", b"")),
            ("other", File("stays too.bin", "", b"four")),
            ("photo", File("5.txt", "", b"\r\n--x five")),
        ],
        "utf-8",
    ),
    "names as browsers and Django treat them": (
        [
            ("f", File(name, "text/plain", b"x"))
            for name in ('a"b;c.png', "猫 😀.png", "C:\\Users\\eric\\a.png", "a/b.png", "&lt;.txt", "a%22b", "x" * 250)
        ],
        "utf-8",
    ),
    "a page in GBK": ([("f", File("cat.png", "image/png", b"x")), ("title", "猫")], "gbk"),
    "a name that Django drops": ([("f", File("..", "", b"x")), ("f", File("a", "", b"y"))], "utf-8"),
}


@pytest.mark.parametrize("form", FORMS)
def test_django_reads_the_form_that_it_would_read_without_us(site: Site, form: str) -> None:
    entries, charset = FORMS[form]
    stay = [value for _, value in entries if isinstance(value, File) and value.name.startswith("stays")]
    ours = answer(site.post("/echo", entries, stay=stay, charset=charset))
    everything = [value for _, value in entries if isinstance(value, File)]
    assert ours == answer(site.post("/echo", entries, stay=everything, charset=charset))
    assert ours["files"]
    assert charset == "utf-8" or ["title", ["猫"]] in ours["fields"]


@pytest.mark.parametrize("limit", ["DATA_UPLOAD_MAX_NUMBER_FILES", "DATA_UPLOAD_MAX_NUMBER_FIELDS"])
def test_the_limits_of_django_count_all_files_and_fields(site: Site, limit: str) -> None:
    entries: list[Any] = [("f", File(f"{n}.txt", "text/plain", b"x")) for n in range(3)]
    entries += [("a", "b"), ("c", "d")]
    with override_settings(**{limit: 3}):
        assert site.post("/echo", entries).status_int == 200
    with override_settings(**{limit: 2 if limit.endswith("FILES") else 1}):
        assert site.post("/echo", entries).status_int == 400
    assert site.asked("read") == []


def test_other_handlers_see_the_posted_files_alone(site: Site) -> None:
    with override_settings(FILE_UPLOAD_HANDLERS=[f"{__name__}.Counting", HANDLER, *default_handlers()]):
        Counting.files = []
        entries = [("f", File("posted.txt", "", b"12345")), ("f", picture())]
        names = [
            file[0] for _, files in answer(site.post("/echo", entries, stay=[entries[0][1]]))["files"] for file in files
        ]
    assert names == ["posted.txt", "cat.png"]
    assert Counting.files == ["posted.txt"]


def test_other_handlers_see_the_size_of_the_posted_files_alone(site: Site, seen: Seen) -> None:
    with override_settings(FILE_UPLOAD_MAX_MEMORY_SIZE=5000):
        large, small = File("large.bin", "", b"x" * 5000), File("small.bin", "", b"x")
        site.post("/echo", [("f", large), ("g", small)], stay=[small])
    assert [type(file).__name__ for file in seen.files] == ["PostedFile", "InMemoryUploadedFile"]


class Counting(FileUploadHandler):
    files: list[str] = []

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.files.append(self.file_name)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None


def default_handlers() -> list[str]:
    return [f"django.core.files.uploadhandler.{name}" for name in project.HANDLERS]


def test_a_client_cannot_pass_a_posted_file_off_as_an_upload(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from ..support import browser_form

    signed_id = site.upload(picture())
    body = browser_form.browser_form(
        [("oss_wsgi.files", "photo"), *site.token, ("photo", signed_id), ("f", File("a.txt", "text/plain", b"bytes"))]
    )
    for number in (0, 1, -1, 2**64):
        forged = body.replace(b"Content-Type: text/plain", b"Content-Length: %d\r\nContent-Type: text/plain" % number)
        response = site.ask("/echo", method="POST", body=forged, content_type=browser_form.CONTENT_TYPE)
        assert [file[-1] for name, files in answer(response)["files"] for file in files if name == "f"] == ["bytes"]


def test_without_posted_files_around_django_nothing_changes(make_site: Any) -> None:
    site = make_site(forms=False)
    site.log_in()
    cat = picture()
    ((name, ((*facts, data),)),) = answer(site.post("/echo", [("photo", cat)], stay=[cat]))["files"]
    assert (name, facts) == ("photo", ["cat.png", "image/png", str(len(cat.data)), "None"])
    assert data.encode("latin-1") == cat.data


def test_a_handler_alone_says_what_is_missing(site: Site) -> None:
    with override_settings(FILE_UPLOAD_HANDLERS=[HANDLER], DEBUG_PROPAGATE_EXCEPTIONS=True):
        assert site.post("/echo", [("photo", picture())]).status_int == 200
        with pytest.raises(ImproperlyConfigured, match="add Django's own after"):
            site.post("/echo", [("photo", picture())], stay=[picture()])


def test_a_body_that_was_read_before_is_not_read_twice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{request.FILES['photo'].upload.size} {request.POST['title']}")

    monkeypatch.setattr(urls.urlpatterns[2], "callback", read)
    cat = picture()
    assert site.post("/echo", [("title", "x"), ("photo", cat)]).text == f"{len(cat.data)} x"


def test_a_model_form_with_a_picture_reads_it_once_and_copies_it(site: Site) -> None:
    cat = picture(300, 200)
    saved = answer(site.post("/photo", [("image", cat)]))
    assert (saved["width"], saved["height"]) == (300, 200)
    assert saved["name"].startswith("photos/") and saved["name"].endswith("/cat.png")
    assert len(site.asked("read")) == 1 and len(site.asked("copy")) == 1 and site.asked("put") == []
    assert site.data(saved["name"]) == cat.data
    assert Photo.objects.get().image.size == len(cat.data)


def test_a_picture_that_is_none_is_refused_by_the_form(site: Site) -> None:
    response = site.post("/photo", [("image", File("a.png", "image/png", b"no picture"))])
    assert response.status_int == 400 and "valid image" in response.text
    assert site.asked("copy", "delete") == []


def test_a_file_of_another_user_does_not_reach_the_view(site: Site, seen: Seen) -> None:
    signed_id = site.upload(picture())
    site.cookies.clear()
    site.log_in("mallory")
    body = [("photo", picture())]
    site.upload = lambda file: signed_id  # type: ignore[method-assign]
    assert site.post("/echo", body).status_int == 403
    assert seen.files == []
