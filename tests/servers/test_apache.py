"""Apache: the ways that withhold Authorization, the log line for each, and the recipes that restore it."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable

import pytest

from oss_wsgi.testing import CallbackSigner

from .apache import (
    CGID,
    COPIED,
    DAEMON,
    EMBEDDED,
    FCGID,
    NEEDS,
    PASSING,
    RECIPES,
    REWRITE,
    SAMPLE,
    WITHHOLDING,
    BackEnd,
    Recipe,
    start,
    syntax_error,
)
from .client import BODY, TARGET, capture, send, signed
from .site import Site
from .starters import APACHE_MODULES

NO_RECIPE = Recipe("none", ())
FIXES = {"mod_wsgi (daemon)": "WSGIPassAuthorization On", "mod_wsgi (embedded)": "WSGIPassAuthorization On"}


def needs(back_end: BackEnd) -> tuple[str, ...]:
    return (*NEEDS, *(str(APACHE_MODULES / f"mod_{module}.so") for module in back_end.modules), *back_end.needs)


@pytest.mark.parametrize("back_end", PASSING, ids=lambda back_end: back_end.name)
def test_a_proxy_module_passes_authorization(
    back_end: BackEnd, site: Site, signer: CallbackSigner, require: Callable[..., None]
) -> None:
    require(*needs(back_end))
    port = start(site, back_end, NO_RECIPE)
    status, answer = signed(signer, port)
    assert (status, answer["target"], answer["source"]) == (200, TARGET, None), site.log()
    assert capture(port, 1)[0] == 200


@pytest.mark.parametrize("back_end", WITHHOLDING, ids=lambda back_end: back_end.name)
def test_without_a_recipe_the_log_names_the_server_and_the_fix(
    back_end: BackEnd, site: Site, signer: CallbackSigner, require: Callable[..., None]
) -> None:
    require(*needs(back_end))
    port = start(site, back_end, NO_RECIPE)
    status, _ = signed(signer, port)
    assert status == 403, site.output()
    log = site.log()
    assert "reason=authorization_missing" in log
    assert back_end.name in log
    assert FIXES.get(back_end.name, "CGIPassAuth On") in log


@pytest.mark.parametrize(
    ("recipe", "back_end"),
    [
        pytest.param(recipe, back_end, id=f"{recipe.name} for {back_end.name}")
        for recipe in RECIPES
        for back_end in recipe.fixes
    ],
)
def test_a_recipe_restores_authorization(
    recipe: Recipe, back_end: BackEnd, site: Site, signer: CallbackSigner, require: Callable[..., None]
) -> None:
    require(*needs(back_end))
    site.host(trusted_keys=recipe.trusted_keys)
    port = start(site, back_end, recipe)
    status, answer = signed(signer, port)
    assert (status, answer) == (200, {"Status": "Ok", "target": TARGET, "size": 6, "source": recipe.source}), (
        answer,
        site.log(),
        site.output(),
    )
    for number in (1, 2):
        assert capture(port, number)[0] == 200, site.log()


def test_a_virtual_host_does_not_inherit_the_main_servers_rules(
    site: Site, signer: CallbackSigner, require: Callable[..., None]
) -> None:
    require(*needs(DAEMON))
    port = start(site, DAEMON, Recipe("in the main server", (), server=REWRITE, host=""))
    assert signed(signer, port)[0] == 403, site.output()
    assert "reason=authorization_missing" in site.log()


def test_a_copied_header_overwrites_the_clients_own(
    site: Site, signer: CallbackSigner, require: Callable[..., None]
) -> None:
    require(*needs(DAEMON))
    site.host(trusted_keys=("HTTP_X_AUTHORIZATION",))
    port = start(site, DAEMON, Recipe("copied", (), server=COPIED))
    good = signer.headers(TARGET, BODY)
    assert send(port, TARGET, BODY, {**good, "X-Authorization": "AAAA"})[0] == 200, site.log()
    forged = {**good, "Authorization": "AAAA", "X-Authorization": good["Authorization"]}
    assert send(port, TARGET, BODY, forged)[0] == 403


@pytest.mark.parametrize(("line", "expected"), [("", 411), ("WSGIChunkedRequest On\n", 200)])
def test_mod_wsgi_accepts_a_chunked_body_only_if_configured(
    line: str, expected: int, site: Site, signer: CallbackSigner, require: Callable[..., None]
) -> None:
    require(*needs(DAEMON))
    port = start(site, DAEMON, Recipe("chunked", (), server=f"WSGIPassAuthorization On\n{line}"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {**signer.headers(TARGET, BODY), "Transfer-Encoding": "chunked"}
    with contextlib.closing(connection):
        connection.request("POST", TARGET, iter([BODY]), headers, encode_chunked=True)
        assert connection.getresponse().status == expected, site.log()


def front_controller(back_end: BackEnd) -> BackEnd:
    """Return the back end without its alias, for a rule in .htaccess that leads to the script."""
    handler = {"CGI": "cgi-script .cgi", "mod_fcgid": "fcgid-script .fcgi"}.get(back_end.name, "wsgi-script .wsgi")

    def lines(site: Site) -> str:
        aliases = ("WSGIScriptAlias", "ScriptAlias")
        lines = [line for line in back_end.lines(site).splitlines() if not line.startswith(aliases)]
        text = "\n".join(lines).replace("SetHandler fcgid-script\n", "")
        group = "WSGIProcessGroup app\n" if back_end is DAEMON else ""
        wsgi = f"{group}WSGIApplicationGroup %{{GLOBAL}}\n" if "wsgi" in back_end.modules else ""
        return f"{text}\n{wsgi}AddHandler {handler}\n"

    return BackEnd(back_end.name, back_end.modules, lines, back_end.needs)


SCRIPTS = {CGID: "app.cgi", FCGID: "app.fcgi", DAEMON: "app.wsgi", EMBEDDED: "app.wsgi"}


ONCE = (
    "RewriteEngine On\nRewriteCond %{REQUEST_URI} !^/app\\.\n"
    "RewriteRule ^(.*)$ /SCRIPT/$1 [E=HTTP_AUTHORIZATION:%{HTTP:Authorization},L]\n"
)
TWICE = (
    "RewriteEngine On\nRewriteCond %{REQUEST_URI} !^/(app\\.|once/)\n"
    "RewriteRule ^(.*)$ /once/$1 [E=HTTP_AUTHORIZATION:%{HTTP:Authorization},L]\n"
    "RewriteRule ^once/(.*)$ /SCRIPT/$1 [L]\n"
)
#: On the second pass this rule of the server sets the variable again, to nothing, beside the full one.
EMPTY = 'SetEnvIf Request_URI "^/app\\.(never)?" HTTP_AUTHORIZATION=$1\n'
#: Rules that lead to SCRIPT, lines for the server, and the variable that has the value.
REDIRECTS = {
    "REDIRECT_ alone": (ONCE, "", "REDIRECT_HTTP_AUTHORIZATION"),
    "beside an empty one": (ONCE, EMPTY, "REDIRECT_HTTP_AUTHORIZATION"),
    "redirected twice": (TWICE, "", "REDIRECT_REDIRECT_HTTP_AUTHORIZATION"),
}


@pytest.mark.parametrize("back_end", SCRIPTS, ids=lambda back_end: back_end.name)
@pytest.mark.parametrize(("rules", "server", "source"), REDIRECTS.values(), ids=REDIRECTS)
def test_behind_a_front_controller_the_value_is_in_a_redirect_variable(
    back_end: BackEnd,
    rules: str,
    server: str,
    source: str,
    site: Site,
    signer: CallbackSigner,
    require: Callable[..., None],
) -> None:
    require(*needs(back_end))
    htaccess = rules.replace("SCRIPT", SCRIPTS[back_end])
    port = start(site, front_controller(back_end), Recipe("front controller", (), server=server, htaccess=htaccess))
    status, answer = signed(signer, port)
    assert (status, answer) == (200, {"Status": "Ok", "target": TARGET, "size": 6, "source": source}), (
        answer,
        site.log(),
        site.output(),
    )


def test_the_samples_rule_stops_apache_and_the_corrected_one_does_not(site: Site, require: Callable[..., None]) -> None:
    require(*NEEDS)
    assert "bad flag delimiters" in syntax_error(site, SAMPLE)
    assert syntax_error(site, REWRITE) == ""
