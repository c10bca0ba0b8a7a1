"""The machine of a reader: commands of the test environment, an index of packages on disk, a network of its own."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .blocks import ROOT, Step

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
SIOCSIFFLAGS, IFF_UP_RUNNING = 0x8914, 0x41
# Other tests may be writing into .hypothesis meanwhile.
JUNK = shutil.ignore_patterns(
    *(".venv*", ".git", ".hypothesis", "build", "dist", "_build", "*.egg-info", "__pycache__", ".*_cache")
)


def in_own_network() -> bool:
    """Move this process into an empty network, where every port is free; return False if that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET) != 0:
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            return False
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP_RUNNING))
    return True


@contextlib.contextmanager
def environment(page: list[Step], packages: Path | None = None) -> Iterator[dict[str, str]]:
    """Make the machine that a page needs in a temporary folder; return its environment variables.

    :param packages: the folder of ``make_packages`` for this page, which is made without it.
    """
    with tempfile.TemporaryDirectory(prefix="machine-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        commands = folder / "bin"
        commands.mkdir()
        _make_commands(commands)
        kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "NODE_PATH", "CI", "PICTURES")
        environ = {name: os.environ[name] for name in kept if name in os.environ}
        environ["PATH"] = os.pathsep.join([str(commands), environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
        environ |= {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        environ["STAND_INS"] = str(Path(__file__).parent / "stand_ins")
        wanted = installed_by(page)
        if packages is None:
            packages = folder / "packages"
            if wanted:
                make_packages(packages, wanted)
        environ |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_FIND_LINKS": str(packages)}
        repository = _make_repository(folder / "repository", page)
        environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{repository}.insteadOf"}
        environ |= {"GIT_CONFIG_VALUE_0": "https://github.com/oss-wsgi/oss-wsgi"}
        yield environ


def _make_commands(folder: Path) -> None:
    """Write the commands of the test environment, with this checkout before an installed oss_wsgi."""
    paths = os.pathsep.join([str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))])
    launch = f'#!/bin/sh\nPYTHONPATH="{paths}${{PYTHONPATH:+:$PYTHONPATH}}" exec {sys.executable} "$@"\n'
    for name in ("python", "python3"):
        _script(folder / name, launch)
    scripts = {"visit": "tests.documentation.visit:main", "pip": "pip._internal.cli.main:main"}
    for distribution in importlib.metadata.distributions():
        for point in distribution.entry_points:
            if point.group == "console_scripts" and distribution.metadata["Name"] not in ("pip", "oss-wsgi"):
                scripts[point.name] = point.value.partition(" ")[0]
    scripts["oss-wsgi"] = "oss_wsgi.__main__:main"
    for name, value in scripts.items():
        module, _, attribute = value.partition(":")
        imported = f"from {module} import {attribute.split('.')[0]}"
        code = f"import sys; sys.argv[0] = {name!r}; {imported}; sys.exit({attribute}())"
        _script(folder / name, f'#!/bin/sh\nexec {folder}/python -c "{code}" "$@"\n')


def _script(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def installed_by(page: list[Step]) -> set[str]:
    """Return the requirements that a page installs with pip."""
    text = "\n".join(step.text for step in page if step.language in ("sh", "console"))
    wanted = set()
    for line in re.findall(r"pip install (.*?)(?:&&|$)", text, re.MULTILINE):
        words = [word for word in shlex.split(line, comments=True) if not word.startswith("-")]
        wanted |= {word.replace(".[", "oss-wsgi[") for word in words if word != "." and "/" not in word}
    return wanted


def make_packages(folder: Path, wanted: set[str]) -> None:
    """Pack the distributions of the test environment that the pages install, and this checkout, as wheels."""
    folder.mkdir()
    source = folder.parent / "source"
    shutil.copytree(ROOT, source, ignore=JUNK)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("oss_wsgi-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        archive.extract(metadata, folder.parent / "ours")
    ours = importlib.metadata.Distribution.at((folder.parent / "ours" / metadata).parent)
    names = {"setuptools", "wheel"}
    queue = [Requirement(word) for word in wanted]
    visited = set()
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in visited:
            continue
        visited.add(key)
        try:
            distribution = ours if name == "oss-wsgi" else importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        names.add(name)
        for text in distribution.requires or ():
            needed = Requirement(text)
            extras = requirement.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                queue.append(needed)
    for name in names - {"oss-wsgi"}:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            _pack(importlib.metadata.distribution(name), folder)


def _pack(distribution: importlib.metadata.Distribution, folder: Path) -> None:
    """Write an installed distribution as the wheel that it came from."""
    tags = re.findall(r"^Tag: (\S+)", distribution.read_text("WHEEL") or "", re.MULTILINE)
    if not tags or not distribution.files:
        return
    name = re.sub(r"[-_.]+", "_", distribution.metadata["Name"])
    stem = f"{name}-{distribution.version}"
    parts = [sorted({tag.split("-")[index] for tag in tags}) for index in range(3)]
    record = []
    with zipfile.ZipFile(folder / f"{stem}-{'-'.join('.'.join(part) for part in parts)}.whl", "w") as archive:
        for file in distribution.files:
            path = Path(str(file.locate()))
            if ".." in file.parts or file.suffix == ".pyc" or file.name in ("RECORD", "INSTALLER", "REQUESTED"):
                continue
            if path.is_file():
                archive.write(path, file.as_posix())
                digest = hashlib.sha256(path.read_bytes()).digest()
                record.append(
                    f"{file.as_posix()},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()},{path.stat().st_size}\n"
                )
        info = next(file.parts[0] for file in distribution.files if file.name == "METADATA")
        archive.writestr(f"{info}/RECORD", "".join([*record, f"{info}/RECORD,,\n"]))


def _make_repository(folder: Path, page: list[Step]) -> Path:
    """Put the checkout as it is now into a repository that `git clone` finds under the project's URL."""
    text = "".join(step.text for step in page)
    if "git clone" in text and shutil.which("git"):
        shutil.copytree(ROOT, folder, ignore=JUNK)
        author = ["-c", "user.name=reader", "-c", "user.email=reader@example.com"]
        for command in (["init", "-q"], ["add", "-A"], [*author, "commit", "-q", "-m", "now"]):
            subprocess.run(["git", *command], cwd=folder, check=True)
    return folder
