"""The road of the package, with webtest's check of PEP 3333 around both ends."""

from __future__ import annotations

from functools import partial

from webtest.lint import middleware

from oss_wsgi.testing import Road

LintedRoad = partial(Road, wrap=middleware)
