"""What MODULE:NAME names: how it is found, and Python's error with a line of advice if it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.cli.loader import load, load_application, load_authorize
from oss_wsgi.exceptions import SettingsError
from oss_wsgi.serving.until_stopped import CannotStartError

SHOP = """
text = "hello"

def application(environ, start_response):
    return [b"shop"]

def make():
    return application

def make_nothing():
    pass

def broken():
    return 1 / 0

async def asgi(scope, receive, send):
    pass

class Holder:
    app = application

holder = Holder

class FastAPI:
    async def __call__(self, scope, receive, send):
        pass

fast = FastAPI()
django = type("ASGIHandler", (FastAPI,), {"__module__": "django.core.handlers.asgi"})()

def make_fast():
    return fast

def authorize(request):
    return request

async def authorize_later(request):
    return request

class Allowed:
    def __call__(self, request):
        return request
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to a folder with a module, and forget the imported modules afterwards."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def sentence(name: str) -> str:
    with pytest.raises(CannotStartError) as caught:
        load_application(name)
    return str(caught.value)


def written(source: str, name: str = "own") -> str:
    Path(f"{name}.py").write_text(source)
    return sentence(f"{name}:application")


@pytest.mark.parametrize("name", ["shop:application", "shop:make()", "shop:holder.app"])
def test_an_application_or_its_factory_is_found_from_the_current_folder(name: str) -> None:
    app = load_application(name)
    assert app({}, lambda *arguments: None) == [b"shop"]  # type: ignore[arg-type, return-value]


def test_a_module_in_a_package_is_found(folder: Path) -> None:
    (folder / "site").mkdir()
    (folder / "project").mkdir()
    (folder / "project" / "wsgi.py").write_text(SHOP)
    assert load_application("project.wsgi:application")


@pytest.mark.parametrize("name", ["shop", "shop.py", "./web/shop.py:app", "", ":x", "shop:make('x')", "shop:"])
def test_another_spelling_is_refused_with_the_right_one(name: str) -> None:
    with pytest.raises(CannotStartError) as caught:
        load(name)
    assert str(caught.value).startswith("write MODULE:NAME, such as shop:application, or MODULE:NAME() for a factory")
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "error", "advice"),
    [
        ("shp:application", "ModuleNotFoundError: No module named 'shp'", "Start in the folder that holds the module"),
        ("shop.wsgi:app", "ModuleNotFoundError: No module named 'shop.wsgi'; 'shop' is not a package", "PYTHONPATH"),
        ("shop:xyz", "AttributeError: module 'shop' has no attribute 'xyz'", "Name a variable of the module"),
        ("shop:text()", "TypeError: 'str' object is not callable", "Fix the module"),
        (
            "shop:text",
            "shop:text is no WSGI application: 'hello' is not a callable object.",
            "(environ, start_response)",
        ),
        ("shop:make_nothing()", "None is not a callable object.", "Name a callable"),
        ("shop:make", "shop:make is no WSGI application: too many positional arguments.", "NAME() calls a factory"),
        ("shop:asgi", "missing a required argument: 'send'.", "`uvicorn MODULE:NAME` serves an ASGI application"),
        ("shop:fast", "missing a required argument: 'send'.", "oss_wsgi.asgi.DirectUpload"),
        ("shop:make_fast()", "missing a required argument: 'send'.", "uvicorn"),
        ("shop:django", "missing a required argument: 'send'.", "uvicorn"),
        ("shop:Holder", "too many positional arguments.", "Name a callable"),
    ],
)
def test_what_is_no_application_is_an_error_of_python_with_one_line_of_advice(
    name: str, error: str, advice: str
) -> None:
    *python, last = sentence(name).splitlines()
    assert error in python[-1]
    assert advice in last


@pytest.mark.parametrize(
    ("source", "place", "error", "advice"),
    [
        ("import flsk", "line 1, in <module>", "No module named 'flsk'", "install what it imports"),
        ("\nx = (", "line 2", "SyntaxError: '(' was never closed", "Fix the module"),
        ("import os\nkey = os.environ['SHOP_KEY']", "line 2, in <module>", "KeyError: 'SHOP_KEY'", "Fix the module"),
        ("import sys\nsys.exit('no database')", "line 2", "SystemExit: no database", "if __name__ == '__main__'"),
        ("import os\nos.nothing", "line 2", "AttributeError: module 'os' has no attribute 'nothing'", "Fix the module"),
        ("def f():\n    1 / 0\nf()", "line 2, in f", "ZeroDivisionError: division by zero", "Fix the module"),
    ],
)
def test_a_failing_import_is_the_traceback_of_the_persons_own_code(
    source: str, place: str, error: str, advice: str
) -> None:
    *python, last = written(source).splitlines()
    assert any(f'own.py", {place}' in line for line in python)
    assert error in python[-1]
    assert advice in last
    assert not any("loader.py" in line or "importlib" in line for line in python)


def test_a_failing_factory_is_the_traceback_of_the_factory() -> None:
    text = sentence("shop:broken()")
    assert 'shop.py", line ' in text and "in broken" in text
    assert "ZeroDivisionError: division by zero" in text


@pytest.mark.parametrize("name", ["shop:authorize", "shop:Allowed()"])
def test_an_authorize_takes_a_request(name: str) -> None:
    request: Any = object()
    assert load_authorize(name)(request) is request


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("shop:text", "'hello' is not a callable object"),
        ("shop:application", "missing a required argument: 'start_response'"),
        ("shop:make", "too many positional arguments"),
        ("shop:authorize_later", "it is an async function"),
    ],
)
def test_what_is_no_authorize_is_an_error_with_one_line_of_advice(name: str, error: str) -> None:
    with pytest.raises(CannotStartError) as caught:
        load_authorize(name)
    assert str(caught.value).splitlines() == [
        f"{name} cannot say who may upload: {error}.",
        "Name a plain function that takes a webob.Request, and returns a Grant or None.",
    ]


def test_wrong_settings_stay_what_they_are() -> None:
    Path("own.py").write_text("from oss_wsgi import Settings\nSettings(bucket='x')")
    with pytest.raises(SettingsError, match="OSS_BUCKET must be"):
        load_application("own:application")


def test_ctrl_c_during_the_import_is_no_failure_of_the_module() -> None:
    Path("own.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_application("own:application")
