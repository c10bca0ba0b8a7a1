"""Django's admin with an inline, and applications of others, as they are: their files go straight to OSS."""

from __future__ import annotations

import html
import re

import pytest

from oss_wsgi.testing.clients import ask

from ..support.absent import skip_or_fail
from ..support.browser_form import File
from . import project
from .gallery.models import Album, Photo
from .site import Entry, Site, answer, picture

COVER = File("cover.pdf", "application/pdf", b"%PDF" * 1000)


def album_form(*photos: File | None, initial: int = 0, more: list[Entry] | None = None) -> list[Entry]:
    """Return the fields that the admin's page of an album posts."""
    names = {"TOTAL": str(len(photos)), "INITIAL": str(initial), "MIN_NUM": "0", "MAX_NUM": "1000"}
    entries: list[Entry] = [("title", "Summer")]
    entries += [(f"photo_set-{name}_FORMS", value) for name, value in names.items()]
    entries += [(f"photo_set-{n}-image", photo) for n, photo in enumerate(photos) if photo is not None]
    return [*entries, *(more or [])]


def save(site: Site, path: str, entries: list[Entry]) -> None:
    response = site.post(path, entries)
    assert response.status_int == 302, response.text


def test_the_admin_adds_an_album_with_photos_of_an_inline(site: Site) -> None:
    cats = [picture(30, 20, name="1.png"), picture(40, 10, name="猫 2.png")]
    save(site, "/admin/gallery/album/add/", album_form(*cats, more=[("cover", COVER)]))
    assert len(site.asked("read")) == 2, "each picture is read once, and the cover never"
    assert len(site.asked("copy")) == 3 and site.asked("put") == []
    album = Album.objects.get()
    photos = Photo.objects.order_by("width")
    assert [(photo.album, photo.width, photo.height) for photo in photos] == [(album, 30, 20), (album, 40, 10)]
    assert [site.data(photo.image.name) for photo in photos] == [cat.data for cat in cats]
    assert album.cover.name == "covers/cover.pdf" and site.data(album.cover.name) == COVER.data
    assert site.stored() == sorted([album.cover.name, *(photo.image.name for photo in photos)])


def test_the_admin_replaces_and_clears_files(site: Site) -> None:
    save(site, "/admin/gallery/album/add/", album_form(picture(), more=[("cover", COVER)]))
    album, photo = Album.objects.get(), Photo.objects.get()
    before = (album.cover.name, photo.image.name)
    inline: list[Entry] = [("photo_set-0-id", str(photo.pk)), ("photo_set-0-album", str(album.pk))]
    page = site.ask(f"/admin/gallery/album/{album.pk}/change/").text
    assert album.cover.name in page and "x-oss-signature" in page
    replaced = album_form(picture(50, 60), initial=1, more=[*inline, ("cover-clear", "on")])
    save(site, f"/admin/gallery/album/{album.pk}/change/", replaced)
    photo.refresh_from_db()
    album.refresh_from_db()
    assert (photo.width, photo.height) == (50, 60) and photo.image.name != before[1]
    assert not album.cover
    save(site, f"/admin/gallery/album/{album.pk}/change/", album_form(None, initial=1, more=inline))
    photo.refresh_from_db()
    assert photo.width == 50, "an input without a file leaves the file"


def test_the_admin_shows_a_form_again_that_has_a_mistake(site: Site) -> None:
    entries = [entry for entry in album_form(more=[("cover", COVER)]) if entry[0] != "title"]
    response = site.post("/admin/gallery/album/add/", entries)
    assert response.status_int == 200 and "This field is required" in response.text
    assert site.asked("copy", "read", "delete") == []


@pytest.mark.servers
def test_rest_framework_takes_files_by_its_api_and_its_browsable_page(site: Site) -> None:
    if "rest_framework" not in project.OTHERS:
        skip_or_fail("rest_framework")
    page = site.ask("/api/photos", accept="text/html")
    assert 'enctype="multipart/form-data"' in page.text and 'type="file"' in page.text
    response = site.post("/api/photos", [("image", picture())])
    assert response.status_int == 201 and response.json["width"] == 30
    assert len(site.asked("read")) == 1 and len(site.asked("copy")) == 1
    assert ask(site.client.local_oss, response.json["image"]).body == picture().data
    assert site.post("/api/photos", [("image", COVER)]).status_int == 400
    assert [photo["width"] for photo in answer(site.ask("/api/photos"))] == [30]


@pytest.mark.servers
def test_import_export_imports_a_table(site: Site) -> None:
    if "import_export" not in project.OTHERS:
        skip_or_fail("import_export")
    table = File("albums.csv", "text/csv", "id,title,cover\n,Sommer 猫,\n,Winter,\n".encode())
    preview = site.post("/imports/gallery/album/import/", [("format", "0"), ("import_file", table)])
    assert preview.status_int == 200 and "Sommer 猫" in preview.text
    assert len(site.asked("read")) == 1
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', preview.text)
    fields: list[Entry] = [(name, html.unescape(value)) for name, value in hidden if name != "csrfmiddlewaretoken"]
    save(site, "/imports/gallery/album/process_import/", fields)
    assert sorted(Album.objects.values_list("title", flat=True)) == ["Sommer 猫", "Winter"]
