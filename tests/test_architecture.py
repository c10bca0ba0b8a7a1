"""The rules of the architecture: who may import whom, what the core may not know, and where files belong."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import NEEDS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PRODUCT = ROOT / "oss_wsgi"
STAND_IN = ROOT / "local_oss"
TESTS = ROOT / "tests"


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def modules_of(house: Path) -> list[str]:
    return [module_name(path) for path in sorted(house.rglob("*.py"))]


MODULES = {module_name(path): path for house in (PRODUCT, STAND_IN) for path in sorted(house.rglob("*.py"))}

#: These make the whole: they may know the clock, the environment, webob and waitress.
JOINTS = (
    *("application", "asgi", "site", "paste_deploy", "cli", "django", "__main__"),
    *("serving", "sdk", "testing", "pytest_plugin"),
)
MAX_MODULES_AT_A_TOP = 17


def room(*names: str) -> list[str]:
    prefixes = tuple(f"oss_wsgi.{name}" for name in names)
    return [name for name in MODULES if name in prefixes or name.startswith(tuple(f"{p}." for p in prefixes))]


CORE = sorted(set(modules_of(PRODUCT)) - set(room(*JOINTS, "middleware", "endpoints")) - {"oss_wsgi"})


@functools.cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@functools.cache
def type_checking_nodes(tree: ast.Module) -> set[ast.AST]:
    """Return the nodes that only type checkers read."""
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }


@functools.cache
def imports(name: str, *, type_checking: bool = False) -> set[str]:
    """Return the full names of the modules that a module imports, and of what it imports from them."""
    tree = tree_of(name)
    skipped = set() if type_checking else type_checking_nodes(tree)
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    imported: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join(filter(None, [".".join(parts[: len(parts) - node.level + 1]), base]))
            imported |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return imported


def imported_from(name: str, *forbidden: str) -> list[str]:
    """Return, as `importer -> imported`, what a module imports from some modules and from everything below them."""
    return [
        f"{name} -> {imported}"
        for imported in sorted(imports(name))
        if any(imported == module or imported.startswith(f"{module}.") for module in forbidden)
    ]


def offences(names: list[str], *forbidden: str) -> list[str]:
    return [offence for name in names for offence in imported_from(name, *forbidden)]


@functools.cache
def attributes(name: str) -> list[ast.Attribute]:
    return [node for node in ast.walk(tree_of(name)) if isinstance(node, ast.Attribute)]


def test_the_core_imports_no_webob_no_waitress_and_no_room_above_it() -> None:
    above = ("middleware", "endpoints", "application", "site", "serving", "cli", "testing")
    assert offences(CORE, "webob", "waitress", "local_oss", *(f"oss_wsgi.{name}" for name in above)) == []
    assert offences(room("signing", "callback", "ledger"), "oss_wsgi.wsgi") == []


def test_the_core_calls_no_clock() -> None:
    clocks = {"time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "now", "utcnow", "today", "sleep"}
    assert offences(CORE, "time") == []
    assert [f"{name}: {node.attr}" for name in CORE for node in attributes(name) if node.attr in clocks] == []


def test_only_the_command_line_paste_deploy_and_djangos_storage_read_the_environment() -> None:
    readers = {
        name
        for name in modules_of(PRODUCT)
        if imported_from(name, "os.environ", "os.environb", "os.getenv", "os.getenvb")
        or any(
            node.attr in {"getenv", "getenvb", "environb"}
            or (node.attr == "environ" and isinstance(node.value, ast.Name) and node.value.id == "os")
            for node in attributes(name)
        )
    }
    # Django makes a storage by the name of its class, so nobody can give it the variables.
    assert readers == {"oss_wsgi.paste_deploy", "oss_wsgi.cli.main", "oss_wsgi.django.storage"}
    assert offences(list(MODULES), "paste") == [], "PasteDeploy calls us; nothing needs it"


def test_only_the_key_fetcher_opens_a_socket_in_the_core() -> None:
    network = ("socket", "http.client", "ssl", "urllib.request", "requests", "httpx")
    # A session of the ledger shuts down a socket of the database's driver, whose server is silent.
    others = ("oss_wsgi.callback.key_fetcher", "oss_wsgi.ledger.sql_session")
    assert offences([name for name in CORE if name not in others], *network) == []


def test_middleware_and_endpoints_know_neither_each_other_nor_what_joins_them() -> None:
    joints = ("oss_wsgi.application", "oss_wsgi.site", "oss_wsgi.testing")
    assert offences(room("middleware"), "oss_wsgi.endpoints", *joints) == []
    assert offences(room("endpoints"), "oss_wsgi.middleware", *joints) == []


def test_production_imports_neither_the_stand_in_nor_testing() -> None:
    production = sorted(set(modules_of(PRODUCT)) - set(room("testing", "pytest_plugin")))
    assert offences(production, "oss_wsgi.testing") == []
    starters = {offence.partition(" ")[0] for offence in offences(production, "local_oss")}
    assert starters == {"oss_wsgi.cli.local"}
    code = "import sys, oss_wsgi.cli.main, server; print('local_oss' in sys.modules)"
    environ = {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou"}
    environ |= {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": "secret"}
    command, environ = [sys.executable, "-c", code], {**os.environ, **environ}
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environ, check=True)
    assert process.stdout == "False\n", "loaded only by the command that starts it"


#: What the stand-in may use of the product: not OSS's protocol, because a shared misreading would pass every test.
SHARED = ("oss_wsgi.explanations", "oss_wsgi.private_file", "oss_wsgi.threads", "oss_wsgi.serving")


def test_the_stand_in_shares_no_code_of_the_protocol_that_it_checks() -> None:
    imported = {name for module in modules_of(STAND_IN) for name in imports(module, type_checking=True)}
    allowed = tuple(f"{name}." for name in SHARED)
    ours = sorted(name for name in imported if f"{name}.".startswith("oss_wsgi."))
    assert [name for name in ours if not f"{name}.".startswith(allowed)] == []
    protocol = tuple(f"local_oss.{name}" for name in ("signatures", "forms", "callbacks"))
    assert offences([name for name in MODULES if name.startswith(protocol)], "oss_wsgi") == []


def test_only_the_application_knows_a_url_path() -> None:
    paths = ("/oss", "/signature", "/callback", "/health", "/health/ready", "/metrics")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for name in sorted(set(modules_of(PRODUCT)) - {"oss_wsgi.application"}):
        nodes = list(ast.walk(tree_of(name)))
        docstrings = {ast.get_docstring(node, clean=False) for node in nodes if isinstance(node, documented)}
        texts = {node.value for node in nodes if isinstance(node, ast.Constant)} - docstrings
        assert [text for text in texts if isinstance(text, str) and text.endswith(paths)] == [], name


def test_no_module_imports_from_the_facade() -> None:
    for name in sorted(set(modules_of(PRODUCT)) - {"oss_wsgi"}):
        package_depth = name.count(".") + (MODULES[name].name == "__init__.py")
        for node in ast.walk(tree_of(name)):
            if isinstance(node, ast.ImportFrom):
                assert not (node.level == 0 and node.module == "oss_wsgi"), name
                if node.level == package_depth and node.module is None:
                    assert all(f"oss_wsgi.{alias.name}" in MODULES for alias in node.names), name


def test_no_module_imports_itself_through_others() -> None:
    """No circle, counted with what only type checkers import."""
    graph = {
        name: {imported for imported in imports(name, type_checking=True) if imported in MODULES} - {name}
        for name in MODULES
        if name not in ("oss_wsgi", "local_oss")  # a façade imports its rooms, and no room imports it
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for imported in sorted(graph.get(name, ())):
                visit(imported, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_a_stranger_finds_the_rooms_at_a_glance() -> None:
    for folder in (PRODUCT, STAND_IN):
        assert len(list(folder.glob("*.py"))) <= MAX_MODULES_AT_A_TOP, folder.name
    assert max(name.count(".") for name in MODULES) <= 3, "three levels at the most"
    words = {word for name in MODULES for part in name.split(".") for word in part.split("_")}
    assert not words & {"util", "utils", "common", "helper", "helpers", "misc"}
    for name, tree in ((name, tree_of(name)) for name in MODULES):
        docstring = ast.get_docstring(tree)
        assert docstring, f"{name} says what it holds"
        assert docstring.split("\n")[0].endswith((".", ":")), f"{name} begins with one sentence"


def test_the_top_level_holds_what_the_design_lists() -> None:
    listed = {"oss_wsgi", "local_oss", "static", "tests", "docs", "examples", "server.py", "setup.cfg"}
    listed |= {"pyproject.toml", "README.zh-CN.md"}
    listed |= {"README.md", "CHANGES.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "MANIFEST.in", "CITATION.cff"}
    made_by_tools = {"build", "dist", "node_modules"}
    names = {p.name for p in ROOT.iterdir() if not p.name.startswith((".", "__")) and p.suffix != ".egg-info"}
    assert names - made_by_tools <= listed


def test_tests_mirror_the_package() -> None:
    """A test file in a room of the package is named for a module there, or for a module and an aspect of it."""
    assert [place for places in NEEDS.values() for place in places if not (TESTS / place).exists()] == []
    for path in sorted(TESTS.rglob("test_*.py")):
        assert re.search(r"^ *def test_", path.read_text("utf-8"), re.MULTILINE), f"{path.name} tests nothing"
        place = path.parent.relative_to(TESTS)
        folder = ROOT / place if place.parts[:1] == ("local_oss",) else PRODUCT / place
        if path.parent != TESTS and folder.is_dir():
            modules = {module.stem.strip("_") for module in folder.glob("*.py")}
            subject = path.stem.removeprefix("test_")
            assert any(subject == module or subject.startswith(f"{module}_") for module in modules), path.name
