"""The package's upload client with webtest's check of PEP 3333 around the application and the local OSS."""

from __future__ import annotations

from functools import partial

from webtest.lint import middleware

from oss_wsgi.testing import UploadClient

LintedClient = partial(UploadClient, wrap=middleware)
