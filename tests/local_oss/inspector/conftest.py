"""The inspector as a browser on this machine asks it."""

import re

import pytest

from ..form_client import form, policy, post, sign_v1


class Browser:
    """Asks for pages, and sends their forms."""

    def __init__(self, app):
        self.app = app

    def page(self, path="", **arguments):
        return self.app.get(f"/_inspect{path}", **arguments)

    def newest(self, **filters):
        """Return the ids of the exchanges, the newest first."""
        return re.findall(r'<li id="s-(\w+)"', self.page("", params=filters).text)

    def exchange(self, index=0):
        return self.page(f"/requests/{self.newest()[index]}")

    @property
    def token(self):
        return re.search(r'name="token" value="([^"]+)"', self.page("/faults").text)[1]

    def act(self, path, fields=(), *, token=None, **arguments):
        fields = {"token": self.token if token is None else token, **dict(fields)}
        return self.app.post(f"/_inspect{path}", fields, **arguments)


@pytest.fixture
def browser(app):
    return Browser(app)


@pytest.fixture
def upload(app, oss):
    def upload(key="dir/a.txt", content=b"hi oss", *, conditions=(), status="*", headers=None, **fields):
        fields = {"key": key, **fields, **sign_v1(oss, policy(*conditions))}
        return post(app, form(fields, content), status=status, headers=headers)

    return upload
