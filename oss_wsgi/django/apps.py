"""The configuration by which Django finds the application and its migration."""

from __future__ import annotations

from django.apps import AppConfig


class OSSWSGIConfig(AppConfig):
    """``oss_wsgi.django`` in INSTALLED_APPS; its migrations have the label ``oss_wsgi``."""

    name = "oss_wsgi.django"
    label = "oss_wsgi"
    verbose_name = "Uploads to Alibaba Cloud OSS"
