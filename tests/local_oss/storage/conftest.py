"""A storage in a directory, and what is in the directory."""

import pytest

from local_oss.storage.storage import Storage

from ..stored import NOW


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "objects"


@pytest.fixture
def open_storage(directory):
    """Open the storage of the directory, as another process does."""
    opened = []

    def open_storage():
        opened.append(Storage(directory))
        opened[-1].create_bucket("examplebucket", now=NOW)
        return opened[-1]

    yield open_storage
    for storage in opened:
        storage.close()


@pytest.fixture
def bucket(open_storage):
    return open_storage().bucket("examplebucket")


@pytest.fixture
def files(directory):
    """Return the names of all files with content, published or not."""
    others = (".index.", ".owner")

    def files():
        return sorted(path.name for path in directory.rglob("*") if path.is_file() and not path.name.startswith(others))

    return files
