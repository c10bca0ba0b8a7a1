"""Small applications that take files, each written as its framework's documentation shows; none of them knows of us.

Each module has ``make(folder)``, which returns a WSGI application: a GET of ``/`` shows its form, and a POST stores the
file in the folder. Its response says what name and type the application saw.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from ..absent import skip_or_fail

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: Where the form of an application is, if not at its root.
PAGES = {"flask_admin_model": "/file/new/"}

#: The modules, each with the packages that it needs.
NEEDS = {
    "flask_files": ["flask"],
    "flask_wtf_form": ["flask_wtf"],
    "flask_admin_model": ["flask_admin", "flask_sqlalchemy"],
    "bottle_files": ["bottle"],
    "cherrypy_files": ["cherrypy"],
    "pyramid_deform": ["deform", "pyramid"],
    "webpy_input": ["web"],
    "werkzeug_alone": ["werkzeug"],
    "webob_alone": ["webob"],
    "cgi_form": [],
}


def make_application(name: str, folder: Path) -> WSGIApplication:
    """Return the application of a module, which stores files in ``folder``; skip if a package is missing."""
    for package in NEEDS[name]:
        if importlib.util.find_spec(package) is None:
            skip_or_fail(package)
    application: WSGIApplication = importlib.import_module(f"{__name__}.{name}").make(folder)
    return application


def stored_files(folder: Path) -> dict[str, bytes]:
    """Return what an application has stored in its folder, by the paths of the files."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}
