"""Environs as real servers made them of one set of requests, recorded over sockets; a few are written from a survey.

Each file holds one family of ways of hosting: the environ that the application got for the plain callback, and for
every other request how the environ differed (null: the key was missing), or the status with which the server itself
refused it (null: it closed the connection). In the values {A} and {B} stand for a first and a second Authorization, {U}
for OSS's x-oss-pub-key-url and {V} for a stranger's. "raises" is the exception that the body's stream raised; "seen as"
is the target as the application sees it, if it cannot see the target as it was sent.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
BODY = (b"bucket=examplebucket&object=user%2Feric%2F%E4%B8%AD.txt&size=6&mimeType=text%2Fplain&x=" + b"1" * 90)[:90]


def _load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


#: The target of each request, as it was sent.
TARGETS: dict[str, str] = _load("requests")
FAMILIES = {name: _load(name) for name in ("python", "gateways", "apache", "recipes")}


@dataclass(frozen=True)
class Recorded:
    """One request that reached an application, and its environ there."""

    family: str
    way: str
    request: str

    def __str__(self) -> str:
        return f"{self.family}: {self.way}: {self.request}"

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = FAMILIES[self.family][self.way]
        return found

    @property
    def difference(self) -> dict[str, Any]:
        found: dict[str, Any] = {} if self.request == "callback" else self.data["requests"][self.request]
        return found

    @property
    def values(self) -> dict[str, Any]:
        """Return the recorded keys, with the placeholders still in them."""
        differing = {key: value for key, value in self.difference.items() if key not in ("body", "raises")}
        return {key: value for key, value in {**self.data["environ"], **differing}.items() if value is not None}

    @property
    def sent(self) -> str:
        """Return the target as it was sent, without authority and fragment, which are no part of it."""
        return TARGETS[self.request].partition("#")[0].removeprefix("http://app.example.com")

    @property
    def seen(self) -> str:
        """Return the target as the application can see it."""
        seen: str = self.data.get("seen as", {}).get(self.request, self.sent)
        return seen

    def environ(self, *, a: str = "A", b: str = "B", u: str = "U", v: str = "V") -> dict[str, Any]:
        texts = {"{A}": a, "{B}": b, "{U}": u, "{V}": v, "{A1}": a[:40], "{A2}": a[40:]}
        made: dict[str, Any] = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/x-www-form-urlencoded"}
        for key, value in self.values.items():
            if isinstance(value, str):
                for placeholder, text in texts.items():
                    value = value.replace(placeholder, text)
            made[key] = value
        if "asgi.scope" in made:
            made["asgi.scope"] = {key: value.encode() for key, value in made["asgi.scope"].items()}
        made["wsgi.input"] = self._stream(made.get("wsgi.input", "io.BytesIO"))
        return made

    def _stream(self, name: str) -> Any:
        """Return the stream of the body: its class has the recorded one's name, and refuses to read to the end."""
        # Without a length and without chunks HTTP/1.1 has no body (RFC 9112 section 6.3).
        body = "" if self.request == "no length" else self.difference.get("body", BODY.decode())
        data, raises = io.BytesIO(body.encode()), self.difference.get("raises")

        def read(self: Any, size: int) -> bytes:
            assert size > 0, "never read() without a size"
            piece = data.read(size)
            if raises and not piece:
                raise type(raises, (Exception,), {})("as the server does")
            return piece

        module, _, kind = name.rpartition(".")
        return type(kind, (), {"__module__": module, "read": read})()


ALL = [
    Recorded(family, way, request)
    for family, ways in FAMILIES.items()
    for way, data in ways.items()
    for request in ("callback", *(name for name, found in data["requests"].items() if isinstance(found, dict)))
]
CALLBACKS = [recorded for recorded in ALL if recorded.request == "callback"]
