"""Loads a fragment of Apache's or nginx's configuration with the program itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from .blocks import MissingError, StepError

APACHE_MODULES = Path("/usr/lib/apache2/modules")
#: Fragments stand in the server, a host, a directory or a location: one of these must take them.
APACHE_PLACES = (
    "{}",
    "<VirtualHost *:80>\n{}</VirtualHost>\n",
    "<Directory />\n{}</Directory>\n",
    "<Location />\n{}</Location>\n",
)
NGINX_PLACES = ("{}", "server {{\nlisten 80;\n{}}}\n", "server {{\nlisten 80;\nlocation / {{\n{}}}\n}}\n")
APACHE_NAMES = (
    *(
        "mpm_event",
        "authz_core",
        "authz_host",
        "authn_core",
        "auth_basic",
        "alias",
        "mime",
        "rewrite",
        "setenvif",
        "headers",
    ),
    *("env", "cgid", "dir", "proxy", "proxy_http", "proxy_fcgi", "proxy_scgi", "proxy_uwsgi", "ssl", "socache_shmcb"),
    *("wsgi", "fcgid", "reqtimeout", "http2"),
)


def load(program: str, text: str, folder: Path) -> str:
    """Return what the program prints for a fragment that it accepts; otherwise raise ``StepError`` with its words."""
    path = shutil.which("apache2" if program == "apache" else "nginx", path="/usr/sbin:/sbin:/usr/local/sbin:/usr/bin")
    if path is None:
        raise MissingError("apache2" if program == "apache" else "nginx")
    place = folder / program
    place.mkdir(exist_ok=True)
    text = _with_certificates(text, place)
    said = []
    for wrap in APACHE_PLACES if program == "apache" else NGINX_PLACES:
        inner = wrap.format(text if text.endswith("\n") else f"{text}\n")
        config = _apache(inner, place) if program == "apache" else _nginx(inner, place)
        (place / "test.conf").write_text(config, encoding="utf-8")
        arguments = ["-t", "-f"] if program == "apache" else ["-t", "-p", str(place), "-c"]
        check = subprocess.run([path, *arguments, str(place / "test.conf")], capture_output=True, text=True)
        if check.returncode == 0:
            return check.stdout + check.stderr
        said.append(check.stderr)
    raise StepError(f"{program} takes this in no context:\n" + "\n".join(said))


def _apache(text: str, folder: Path) -> str:
    modules = "".join(
        f"LoadModule {name}_module {APACHE_MODULES}/mod_{name}.so\n"
        for name in APACHE_NAMES
        if (APACHE_MODULES / f"mod_{name}.so").exists() and f"LoadModule {name}_module" not in text
    )
    listen = "" if re.search(r"^\s*Listen ", text, re.MULTILINE) else "Listen 80\n"
    head = f"ServerName localhost\nServerRoot {folder}\nPidFile {folder}/pid\nErrorLog {folder}/log\n"
    return f"{head}{modules}{listen}{text}"


def _nginx(text: str, folder: Path) -> str:
    for file in Path("/etc/nginx").glob("*_params"):
        shutil.copyfile(file, folder / file.name)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"pid {folder}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n"


def _with_certificates(text: str, folder: Path) -> str:
    """Return the text with a certificate of this machine instead of those that it names."""
    names = re.findall(r"(?:ssl_certificate(?:_key)?|SSLCertificate(?:Key)?File)\s+([^\s;]+)", text)
    if names:
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
        )
        target = folder / "certificate.pem"
        files = ["-keyout", str(target), "-out", f"{target}.crt"]
        subprocess.run([*command.split(), *files], check=True, capture_output=True)
        with target.open("a") as both:
            both.write(Path(f"{target}.crt").read_text())
        for name in names:
            text = text.replace(name, str(target))
    return text
