"""The application that `--app` names: how it is found, and the sentence if it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from oss_wsgi.cli.load_application import load_application
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


def test_only_what_can_be_imported_from_the_current_folder_is_suggested(folder: Path) -> None:
    for path in ("photos/page.html", "uploadz/page.py", "project/wsgi.py", "parcel/__init__.py", "deep/er/upload.py"):
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_text("")
    assert "Did you mean" not in sentence("photo:application")
    assert "Did you mean" not in sentence("uploads:application")
    assert "Did you mean 'parcel'?" in sentence("parcl:application")
    assert "Did you mean 'project'?" in sentence("projct.wsgi:application")


def test_a_module_in_a_package_is_found(folder: Path) -> None:
    (folder / "site").mkdir()
    (folder / "project").mkdir()
    (folder / "project" / "wsgi.py").write_text(SHOP)
    assert load_application("project.wsgi:application")


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("shop", "shop:application"),
        ("shop.py", "shop:application"),
        ("shop.py:make", "shop:make"),
        ("./web/shop.py:app", "web.shop:app"),
        ("", "shop:application"),
        (":x", "shop:application"),
        ("shop:make('x')", "shop:application"),
    ],
)
def test_another_spelling_is_refused_with_the_right_one(name: str, better: str) -> None:
    text = sentence(name)
    assert text.startswith(f"write MODULE:NAME, such as {better}, ")
    assert repr(name) in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shp:application", "Did you mean 'shop'? If not, start in the folder that holds it, or set PYTHONPATH."),
        ("shop.wsgi:application", "there is no module 'wsgi' in 'shop'"),
        ("shop.wsgi:application", "Start in the folder that holds it, or set PYTHONPATH."),
        ("nowhere:application", "there is no module 'nowhere'"),
        ("nowhere:application", "Start in the folder that holds it, or set PYTHONPATH."),
        ("shp.wsgi:application", "start in the folder that holds it, or set PYTHONPATH."),
        ("shop:aplication", "shop.py has no 'aplication': did you mean shop:application?"),
        ("shop:xyz", "did you mean shop:application?"),
        ("shop:mke", "did you mean shop:make?"),
        ("shop:text", "shop:text is of type str, not a WSGI application"),
        ("shop:text()", "shop:text is of type str and cannot be called"),
        ("shop:make", "write shop:make()"),
        ("shop:make_nothing()", "shop:make_nothing() is None, not a WSGI application"),
        ("shop:asgi", "shop:asgi is an ASGI application. This command serves WSGI applications: start it"),
        ("shop:fast", "shop:fast is an ASGI application, of type FastAPI. This command serves WSGI applications: sta"),
        ("shop:fast", "start it with `uvicorn shop:fast`, and mount oss_wsgi.asgi.DirectUpload in it."),
        ("shop:make_fast()", "`uvicorn --factory shop:make_fast`"),
        ("shop:django", "usually in the project's wsgi.py: name that, or start it with `uvicorn shop:django`"),
        ("shop:Holder", "is a class"),
    ],
)
def test_what_is_no_application_is_said_in_a_sentence(name: str, text: str) -> None:
    message = sentence(name)
    assert text in message
    assert "Error" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import flsk", "in own.py, line 1: there is no module 'flsk': install it in this environment"),
        ("\nx = (", "in own.py, line 2: '(' was never closed.\n    x = ("),
        ("import os\nkey = os.environ['SHOP_KEY']", "line 2: the environment variable SHOP_KEY is not set."),
        ("prices = {}\nprices['cat']", "in own.py, line 2: the key 'cat' is missing.\n    prices['cat']"),
        ("import sys\nsys.exit('no database')", "the code ends the program while it is loaded, and says: no database."),
        ("import json\njson.loads('{')", "in own.py, line 2: Expecting property name"),
        ("open('/nonexistent/x')", "in own.py, line 1: No such file or directory: '/nonexistent/x'."),
        ("1 / 0", "in own.py, line 1: division by zero.\n    1 / 0"),
    ],
)
def test_a_failing_import_shows_the_persons_own_line(source: str, text: str) -> None:
    message = written(source)
    assert text in message
    assert "Traceback" not in message
    assert "Error" not in message


def test_the_line_is_that_of_the_module_where_it_fails() -> None:
    Path("deep.py").write_text("def fail():\n    raise ValueError('no such shop')\n")
    message = written("import deep\ndeep.fail()")
    assert "in deep.py, line 2: no such shop.\n    raise ValueError('no such shop')" in message


def test_a_failing_factory_is_named() -> None:
    text = sentence("shop:broken()")
    assert text.startswith("the call of shop:broken() fails in shop.py, line ")
    assert "division by zero" in text


def test_wrong_settings_stay_what_they_are() -> None:
    Path("own.py").write_text("from oss_wsgi import Settings\nSettings(bucket='x')")
    with pytest.raises(SettingsError, match="OSS_BUCKET must be"):
        load_application("own:application")


def test_ctrl_c_during_the_import_is_no_failure_of_the_module() -> None:
    Path("own.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_application("own:application")
