"""The house's rules: who may import whom, what the core may not know, and where a module may stand."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "oss_wsgi"
MODULES = {
    ".".join(("oss_wsgi", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
EDGE = ("oss_wsgi.middleware", "oss_wsgi.endpoints", "oss_wsgi.local")
TESTING = {name for name in MODULES if name.startswith(("oss_wsgi.testing", "oss_wsgi.pytest_plugin"))}
FACADE = {"oss_wsgi"}
JOINTS = FACADE | TESTING
#: The command line reads the environment, the clock and the network for the person who calls it.
COMMANDS = {name for name in MODULES if name.startswith(("oss_wsgi.cli", "oss_wsgi.__main__"))}
#: What makes of waitress the server that we start.
WAITRESS = {name for name in MODULES if name.startswith("oss_wsgi.serving")}
JOINTS |= {"oss_wsgi.application", "oss_wsgi.cli.options", "oss_wsgi.paste_deploy"} | WAITRESS | COMMANDS
JOINTS |= {"oss_wsgi.site"}
#: The two that start the local OSS, when asked or unconfigured.
STARTS_LOCAL = {"oss_wsgi.cli.local"}
#: Reads and answers WSGI for middleware and endpoints both, which may not import each other.
WSGI = {"oss_wsgi.wsgi.environ", "oss_wsgi.wsgi.responses"}
CORE = {name for name in MODULES if not name.startswith(EDGE)} - JOINTS
LOCAL = {name for name in MODULES if name.startswith("oss_wsgi.local")}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
CLOCKS = {"time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "now", "utcnow", "today", "sleep"}


def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def type_checking_only(module: ast.Module) -> set[ast.AST]:
    """Give the nodes that never run."""
    found: set[ast.AST] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            found |= {inner for statement in node.body for inner in ast.walk(statement)}
    return found


def imports(name: str) -> set[str]:
    """Give the full names of the modules that a module imports when it runs, names imported from them included."""
    module = tree(name)
    skipped = type_checking_only(module)
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(module):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join(filter(None, [".".join(parts[: len(parts) - node.level + 1]), base]))
            found.add(base)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def imports_any(name: str, *forbidden: str) -> set[str]:
    return {
        imported
        for imported in imports(name)
        if any(imported == module or imported.startswith(f"{module}.") for module in forbidden)
    }


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_knows_no_webob_no_waitress_and_no_room_above_it(name: str) -> None:
    assert not imports_any(name, "webob", "waitress", *EDGE, "oss_wsgi.application", "oss_wsgi.testing")


def reads_the_environment(name: str) -> bool:
    if imports_any(name, "os.environ", "os.environb", "os.getenv", "os.getenvb"):
        return True
    attributes = [node for node in ast.walk(tree(name)) if isinstance(node, ast.Attribute)]
    return any(
        node.attr in {"getenv", "getenvb", "environb"} or (node.attr == "environ" and ast.unparse(node.value) == "os")
        for node in attributes
    )


def test_only_what_reads_ini_files_or_a_command_line_reads_the_environment_too() -> None:
    readers = {"oss_wsgi.paste_deploy", "oss_wsgi.cli.main"}
    assert {name for name in MODULES if reads_the_environment(name)} == readers


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_calls_no_clock(name: str) -> None:
    attributes = {node.attr for node in ast.walk(tree(name)) if isinstance(node, ast.Attribute)}
    assert not imports_any(name, "time")
    assert not attributes & CLOCKS


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_needs_paste_deploy_to_be_read_by_it(name: str) -> None:
    assert not imports_any(name, "paste")


@pytest.mark.parametrize("name", sorted(CORE - {"oss_wsgi.callback.key_fetcher"}))
def test_only_the_fetcher_opens_a_socket(name: str) -> None:
    assert not imports_any(name, "socket", "http.client", "ssl", "urllib.request", "requests", "httpx")


@pytest.mark.parametrize("name", sorted(n for n in MODULES if n.startswith("oss_wsgi.middleware")))
def test_middleware_imports_no_endpoint_no_application_no_local(name: str) -> None:
    assert not imports_any(name, "oss_wsgi.endpoints", "oss_wsgi.application", "oss_wsgi.local")


@pytest.mark.parametrize("name", sorted(n for n in MODULES if n.startswith("oss_wsgi.endpoints")))
def test_endpoints_import_no_middleware_no_application_no_local(name: str) -> None:
    assert not imports_any(name, "oss_wsgi.middleware", "oss_wsgi.application", "oss_wsgi.local")


@pytest.mark.parametrize("name", sorted(set(MODULES) - LOCAL - TESTING - STARTS_LOCAL))
def test_nothing_in_production_imports_local_or_testing(name: str) -> None:
    assert not imports_any(name, "oss_wsgi.local", "oss_wsgi.testing")


@pytest.mark.parametrize("name", sorted(LOCAL))
def test_local_shares_no_code_with_what_it_checks(name: str) -> None:
    assert {i for i in imports_any(name, "oss_wsgi") if not i.startswith("oss_wsgi.local")} == set()


@pytest.mark.parametrize("name", sorted(set(MODULES) - LOCAL - {"oss_wsgi.application"}))
def test_only_the_application_knows_a_url_path(name: str) -> None:
    paths = {"/oss", "/signature", "/callback", "/health", "/oss/signature", "/oss/callback", "/oss/health"}
    module = tree(name)
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(module) if isinstance(node, DOCUMENTED)}
    constants = {node.value for node in ast.walk(module) if isinstance(node, ast.Constant)} - docstrings
    assert not {value for value in constants if isinstance(value, str) and value.endswith(tuple(paths))}


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"oss_wsgi"}))
def test_no_module_imports_from_the_facade(name: str) -> None:
    package = name.count(".") if MODULES[name].name != "__init__.py" else name.count(".") + 1
    facade = [
        ast.unparse(node)
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ImportFrom)
        and ((node.level == 0 and node.module == "oss_wsgi") or (node.level == package and node.module is None))
    ]
    assert facade == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_each_module_opens_with_one_plain_sentence(name: str) -> None:
    docstring = ast.get_docstring(tree(name))
    assert docstring, "a docstring first"
    first = docstring.split("\n")[0]
    assert first.endswith((".", ":"))


def test_no_room_for_odds_and_ends_and_three_levels_at_the_most() -> None:
    parts = {part for name in MODULES for part in name.split(".")}
    assert not parts & {"utils", "util", "common", "helpers", "helper", "misc"}
    assert max(name.count(".") for name in MODULES) <= 3


def test_the_top_level_holds_what_the_design_lists() -> None:
    listed = {"oss_wsgi", "static", "tests", "server.py", "setup.cfg", "README.md", "pyproject.toml", "CHANGES.md"}
    listed |= {"LICENSE", "MANIFEST.in", "examples", "docs", "CONTRIBUTING.md", "SECURITY.md"}
    built = {"build", "dist", "node_modules"}
    found = {p.name for p in ROOT.iterdir() if not p.name.startswith((".", "__")) and p.suffix != ".egg-info"}
    assert found - built <= listed


def test_every_test_file_tests_something() -> None:
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        functions = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.FunctionDef)]
        assert any(function.name.startswith("test_") for function in functions), path.name
