"""The pytest plugin as users get it, in a project and a process of its own."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]

APPLICATION = """
from oss_wsgi import DirectUpload, Grant, Settings

def legacy(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"legacy"]

def finished(environ):
    return DirectUpload(legacy, Settings.from_environ(environ), authorize=lambda request: Grant(user="eric"))
"""


def test_the_fixtures_work_in_another_project(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        application=APPLICATION,
        test_uploads="""
        import urllib.request
        from webtest import TestApp
        from application import finished, legacy

        def test_any_application(oss_upload, local_oss):
            upload, answer = oss_upload(legacy, "cat.png", b"meow", user="eric", dir="users/eric")
            assert answer.json["Status"] == "Ok"
            assert upload.user == "eric"
            assert TestApp(local_oss).get(local_oss.signed_url(upload.object)).body == b"meow"

        def test_a_finished_one(oss_upload, oss_environ):
            assert oss_upload(finished(oss_environ), "cat.png", b"meow").upload.user == "eric"

        def test_with_a_socket(local_oss_server):
            url = local_oss_server.oss.public_key_url
            request = urllib.request.Request(url, headers={"Origin": "http://a.example"})
            with urllib.request.urlopen(request) as key:
                assert key.read().decode() == local_oss_server.oss.public_key_pem
                assert key.headers["Access-Control-Allow-Origin"] == "*"

        def test_nothing_is_left_from_the_test_before(local_oss):
            assert "/_inspect/objects" in TestApp(local_oss).get("/", headers={"Accept": "text/html"}).text
        """,
    )
    result = pytester.runpytest_subprocess("-W", "error", "-W", "ignore:'cgi' is deprecated:DeprecationWarning")
    result.assert_outcomes(passed=4)


def test_the_fixtures_are_listed_with_their_help(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--fixtures")
    result.stdout.fnmatch_lines_random(
        ["local_oss -- *", "local_oss_server -- *", "oss_upload -- *", "oss_environ -- *"]
    )


def test_a_project_that_does_not_use_the_plugin_loads_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_loaded():
            assert "oss_wsgi.pytest_plugin" in sys.modules
            ours = {name for name in sys.modules if name.startswith("oss_wsgi.")}
            assert ours == {"oss_wsgi.pytest_plugin"}
            assert not {"webob", "waitress", "cryptography", "multipart"} & sys.modules.keys()
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_without_the_extra_a_fixture_names_what_is_missing(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import sys; sys.modules['fastcrc'] = None")
    pytester.makepyfile("def test_one(local_oss): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fastcrc*"])
