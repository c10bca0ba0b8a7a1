"""Albums with photos."""

from __future__ import annotations

from typing import Any

from django.db import models


class Album(models.Model):
    title: Any = models.CharField(max_length=40)
    cover: Any = models.FileField(upload_to="covers", blank=True)

    class Meta:
        app_label = "gallery"

    def __str__(self) -> str:
        return str(self.title)


class Photo(models.Model):
    album: Any = models.ForeignKey(Album, on_delete=models.CASCADE, null=True, blank=True)
    image: Any = models.ImageField(upload_to="photos/%Y", width_field="width", height_field="height")
    width: Any = models.IntegerField(editable=False, null=True)
    height: Any = models.IntegerField(editable=False, null=True)

    class Meta:
        app_label = "gallery"
