"""Starts the .pyz: chooses the folder that it unpacks itself into, and says in a sentence where it cannot.

It tries SHIV_ROOT, then the cache folder, then a temporary folder. This module is at the top of the archive, so it uses
the standard library alone, and old Pythons can read it.
"""

import atexit
import os
import shutil
import stat
import sys
import tempfile

LOWEST = (3, 10)
NAME = "oss-wsgi"


class CannotUnpackError(Exception):
    """Raised with the reason when a folder cannot be used."""


def start():
    """Unpack, if that is not done yet, and run the command line."""
    if sys.version_info < LOWEST:
        refuse(f"this file needs Python 3.10 or later, and this is {sys.version_info[0]}.{sys.version_info[1]}.")
    import _bootstrap
    from _bootstrap.environment import Environment

    with _bootstrap.current_zipfile() as archive:
        environment = Environment.from_json(archive.read("environment.json").decode())
        problems = []
        for name, find in PLACES:
            folder = None
            try:
                folder = find()
                if folder is None:
                    continue
                target = _bootstrap.cache_path(archive, folder, environment.build_id)
                if environment.force_extract or not (target / "site-packages").is_dir():
                    unpack(_bootstrap, archive, environment, folder, target)
            except (CannotUnpackError, OSError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                problems.append(f"{name} {folder} ({reason})" if folder else f"{name} ({reason})")
            else:
                break
        else:
            user = os.geteuid() if hasattr(os, "geteuid") else ""
            refuse(
                f"cannot unpack into {', '.join(problems)}. "
                f"Set SHIV_ROOT to a folder that user {user} may write, with 60 MB free."
            )
    if problems and problems[0].startswith("SHIV_ROOT"):
        note(f"cannot unpack into {problems[0]}, and uses {folder}.")
    os.environ["SHIV_ROOT"] = folder
    os.environ.pop("SHIV_FORCE_EXTRACT", None)
    _bootstrap.bootstrap()


def shiv_root():
    """Return the folder that the user chose, or None. It may be one that is unpacked already and read-only."""
    chosen = os.environ.get("SHIV_ROOT", "").strip()
    return os.path.abspath(os.path.expanduser(chosen)) if chosen else None


def cache_folder():
    """Return the folder for this user's caches, unless another user could change what is in it."""
    cache = os.environ.get("XDG_CACHE_HOME", "").strip() or os.path.join(os.path.expanduser("~"), ".cache")
    folder = os.path.join(cache, NAME)
    if not os.path.isabs(folder):
        raise CannotUnpackError("this user has no home folder")
    existing = folder
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    if hasattr(os, "geteuid") and os.stat(existing).st_uid not in (0, os.geteuid()):
        raise CannotUnpackError(f"{existing} belongs to another user")
    return folder


def private():
    """Return a folder in the temporary one that only this user can change."""
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:
        raise CannotUnpackError("neither TMPDIR nor /tmp nor /var/tmp can be written") from None
    if not hasattr(os, "geteuid"):
        return os.path.join(temporary, NAME)
    folder = os.path.join(temporary, f"{NAME}-{os.geteuid()}")
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        status = os.lstat(folder)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            # Somebody else made it: one that is removed at the end.
            folder = tempfile.mkdtemp(prefix=NAME + "-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def unpack(bootstrap, archive, environment, folder, target):
    """Unpack into a folder. Raises CannotUnpackError or OSError, and leaves no half of it behind."""
    os.makedirs(folder, exist_ok=True)
    if hasattr(os, "statvfs") and os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise CannotUnpackError("mounted with noexec, so that no library in it can be loaded")
    try:
        bootstrap.extract_site_packages(
            archive, target, environment.compile_pyc, environment.compile_workers, environment.force_extract
        )
    except OSError:
        shutil.rmtree(str(target) + ".tmp", ignore_errors=True)
        raise


PLACES = (("SHIV_ROOT", shiv_root), ("the cache folder", cache_folder), ("a temporary folder", private))


def note(message):
    """Say something to the person who starts the file."""
    print(f"{NAME}: {message}", file=sys.stderr)


def refuse(message):
    """End with a sentence and exit status 2."""
    note(message)
    sys.exit(2)
