"""Builds dist/oss-wsgi.pyz, which runs on several Pythons of the kind of machine that it is built on.

Run from the checkout's folder, in an environment with oss-wsgi[bundle]: python examples/single-file/pyz.py
Two builds of a commit with the same Python and packages are the same file, byte for byte.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path

from shiv import __version__ as shiv_version
from shiv.bootstrap.environment import Environment
from shiv.builder import create_archive
from shiv.constants import BUILD_AT_TIMESTAMP_FORMAT

CHECKOUT = Path(__file__).parents[2]
#: The oldest first: its packages run on all of them.
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
EXTRAS = "local,sdk,credentials,metrics"
#: What dependencies need on some of the Pythons alone; pip asks this one.
FURTHER = ("legacy-cgi", "async-timeout", "tomli")
#: What does not belong to the package, such as an earlier build, whose files would come along.
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests", "docs")
#: What the page does not need: the library of pictures, which the local OSS then names, commands, tests and sources of
#: libraries, and what pip notes about its own run, which differs from build to build.
UNNEEDED = shutil.ignore_patterns(
    *("PIL", "pillow-*", "pillow.libs"),
    *("bin", "SelfTest", "__pycache__", "*.pyc", "*.pyi", "*.pyx", "*.pxd", "*.c", "*.h"),
    *("RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "*__mypyc.*.so"),
)
#: Packages that also run without their compiled modules, of which the file would have one for each Python. Only the
#: libraries of temporary keys import most of them.
PURE = {"aiohttp", "charset_normalizer", "frozenlist", "multidict", "propcache", "yarl"}
UNPACK = Path(__file__).with_name("unpack.py")


def main() -> int:
    """Build the file and print its path and size."""
    parser = argparse.ArgumentParser(description="Build oss-wsgi.pyz.")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "dist" / "oss-wsgi.pyz", help="%(default)s")
    parser.add_argument("--python", action="append", metavar="X.Y", help=f"default: {', '.join(PYTHONS)}")
    parser.add_argument("--site-packages", type=Path, metavar="DIR", help="take these packages, and ask pip for none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oss-wsgi-pyz-") as folder:
        packages = Path(folder) / "packages"
        if arguments.site_packages:
            lay(arguments.site_packages, packages)
        else:
            install(Path(folder), arguments.python or PYTHONS, packages)
        build(packages, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 2**20:.0f} MiB")
    return 0


def install(folder: Path, pythons: list[str] | tuple[str, ...], packages: Path) -> None:
    """Install the packages for each Python, laid over each other, all in the versions that the first one gets.

    Compiled modules have the Python's version in their names, or are made for all of them.
    """
    shutil.copytree(CHECKOUT, folder / "source", ignore=LEFT_OUT)
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(folder / "source")], check=True)
    (wheel,) = folder.glob("*.whl")
    versions = folder / "versions.txt"
    versions.touch()

    def install_for(python: str) -> Path:
        target = folder / python
        command = [*pip, "install", "-q", "--only-binary", ":all:", "--no-compile", "--python-version", python]
        command += ["--constraint", str(versions), "--target", str(target), f"{wheel}[{EXTRAS}]", *FURTHER]
        subprocess.run(command, check=True)
        return target

    first = install_for(pythons[0])
    found = [each for each in distributions(path=[str(first)]) if each.name != "oss-wsgi"]
    versions.write_text("".join(f"{each.name}=={each.version}\n" for each in found))
    with ThreadPoolExecutor() as executor:
        targets = [first, *executor.map(install_for, pythons[1:])]
    # The oldest last: of a compiled module that is made for several Pythons, all can load its one.
    for target in reversed(targets):
        lay(target, packages)


def lay(site_packages: Path, packages: Path) -> None:
    """Copy what is needed of installed packages, without the rights that the umask of their installation gave."""

    def unneeded(folder: str, names: list[str]) -> set[str]:
        compiled = {name for name in names if name.endswith(".so")}
        return UNNEEDED(folder, names) | (
            compiled if PURE & {*Path(folder).relative_to(site_packages).parts} else set()
        )

    def copy(source: str, target: str) -> None:
        shutil.copyfile(source, target)
        Path(target).chmod(0o644)

    shutil.copytree(site_packages, packages, ignore=unneeded, copy_function=copy, dirs_exist_ok=True)


def build_time() -> int:
    """Return SOURCE_DATE_EPOCH, else the time of the commit, else the time."""
    chosen = os.environ.get("SOURCE_DATE_EPOCH")
    if chosen is None:
        with suppress(OSError, subprocess.CalledProcessError):
            command = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct"]
            chosen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(chosen or time.time())


def build(packages: Path, output: Path) -> None:
    """Write the archive: shiv's own, started by unpack.py."""
    built = time.gmtime(build_time())
    environment = Environment(
        built_at=time.strftime(BUILD_AT_TIMESTAMP_FORMAT, built),
        shiv_version=shiv_version,
        compile_pyc=False,
        entry_point="oss_wsgi.__main__:main",
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    create_archive([packages], output, "/usr/bin/env python3", "unpack:start", environment)
    with zipfile.ZipFile(output, "a", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(UNPACK.name, built[:6])
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, UNPACK.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
