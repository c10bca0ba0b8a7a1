"""Views and the admin of the gallery; those of REST framework and django-import-export where these are installed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from ..project import OTHERS
from .models import Album, Photo


class PhotoForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Photo
        fields = ("image",)


def add_photo(request: HttpRequest) -> HttpResponse:
    form = PhotoForm(request.POST, request.FILES)
    if not form.is_valid():
        return JsonResponse(form.errors, status=400)
    photo = form.save()
    return JsonResponse({"name": photo.image.name, "width": photo.width, "height": photo.height})


def log_in(request: HttpRequest) -> HttpResponse:
    from django.contrib.auth import authenticate, login

    login(request, authenticate(request, username=request.POST["user"], password=request.POST["password"]))
    return HttpResponse("hello")


def echo(request: HttpRequest) -> HttpResponse:
    """Answer with all that Django says of a form, in its order."""
    names = ("name", "content_type", "size", "charset")
    files = [
        (field, [[*(str(getattr(file, name)) for name in names), file.read().decode("latin-1")] for file in files])
        for field, files in request.FILES.lists()
    ]
    return JsonResponse({"fields": list(request.POST.lists()), "files": files})


class PhotoInline(admin.TabularInline):
    model = Photo
    extra = 2


class AlbumAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    inlines = (PhotoInline,)


site: Any = admin.AdminSite()
site.register(Album, AlbumAdmin)
urlpatterns = [path("photo", add_photo), path("login", log_in), path("echo", echo), path("admin/", site.urls)]

if "rest_framework" in OTHERS:
    from rest_framework.generics import ListCreateAPIView
    from rest_framework.serializers import ModelSerializer

    class PhotoSerializer(ModelSerializer):
        class Meta:
            model = Photo
            fields = ("id", "image", "width")

    class Photos(ListCreateAPIView):
        queryset = Photo.objects.all()
        serializer_class = PhotoSerializer

    urlpatterns.append(path("api/photos", Photos.as_view()))

if "import_export" in OTHERS:
    from import_export.admin import ImportExportModelAdmin
    from import_export.resources import modelresource_factory

    class ImportAlbumAdmin(ImportExportModelAdmin):
        resource_classes = (modelresource_factory(Album),)

    imports: Any = admin.AdminSite(name="imports")
    imports.register(Album, ImportAlbumAdmin)
    urlpatterns.append(path("imports/", imports.urls))
