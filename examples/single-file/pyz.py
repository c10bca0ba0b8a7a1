"""Builds dist/oss-wsgi.pyz, which runs on several Pythons of the kind of machine that it is built on.

Run from the checkout's folder, in an environment with oss-wsgi[bundle]: python examples/single-file/pyz.py
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

from shiv import __version__ as shiv_version
from shiv.bootstrap.environment import Environment
from shiv.builder import create_archive
from shiv.constants import BUILD_AT_TIMESTAMP_FORMAT

CHECKOUT = Path(__file__).parents[2]
PYTHONS = ("3.14", "3.13", "3.12", "3.11", "3.10")
EXTRAS = "local,sdk,credentials,metrics"
#: What dependencies need on some of the Pythons alone; pip asks this one.
FURTHER = ("legacy-cgi", "async-timeout", "tomli")
#: What does not belong to the package, such as an earlier build, whose files would come along.
LEFT_OUT = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "tests", "docs")
UNPACK = Path(__file__).with_name("unpack.py")


def main() -> int:
    """Build the file and print its path and size."""
    parser = argparse.ArgumentParser(description="Build oss-wsgi.pyz.")
    parser.add_argument("--output", type=Path, default=CHECKOUT / "dist" / "oss-wsgi.pyz", help="%(default)s")
    parser.add_argument("--python", action="append", metavar="X.Y", help=f"default: {', '.join(PYTHONS)}")
    parser.add_argument("--site-packages", type=Path, metavar="DIR", help="take these packages, and ask pip for none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oss-wsgi-pyz-") as folder:
        packages = arguments.site_packages or install(Path(folder), arguments.python or PYTHONS)
        build(packages, arguments.output)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 2**20:.0f} MiB")
    return 0


def install(folder: Path, pythons: list[str] | tuple[str, ...]) -> Path:
    """Install the packages for each Python, laid over each other, and return their folder.

    Compiled modules have the Python's version in their names, or are made for all of them.
    """
    shutil.copytree(CHECKOUT, folder / "source", ignore=LEFT_OUT)
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", "-q", "--no-deps", "-w", str(folder), str(folder / "source")], check=True)
    (wheel,) = folder.glob("*.whl")
    together = folder / "packages"
    for version in pythons:
        target = folder / version
        command = [*pip, "install", "-q", "--only-binary", ":all:", "--no-compile", "--python-version", version]
        subprocess.run([*command, "--target", str(target), f"{wheel}[{EXTRAS}]", *FURTHER], check=True)
        shutil.copytree(target, together, dirs_exist_ok=True)
    shutil.rmtree(together / "bin", ignore_errors=True)
    return together


def build(packages: Path, output: Path) -> None:
    """Write the archive: shiv's own, started by unpack.py."""
    environment = Environment(
        built_at=time.strftime(BUILD_AT_TIMESTAMP_FORMAT, time.gmtime()),
        shiv_version=shiv_version,
        compile_pyc=False,
        entry_point="oss_wsgi.__main__:main",
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    create_archive([packages], output, "/usr/bin/env python3", "unpack:start", environment)
    with zipfile.ZipFile(output, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.write(UNPACK, UNPACK.name)


if __name__ == "__main__":
    sys.exit(main())
