"""Both storages keep the contract."""

import pytest

from oss_wsgi.local.storage.indexed import directory_storage, memory_storage
from oss_wsgi.testing.storage_contract import StorageContract


class TestDirectory(StorageContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path):
        self.directory = tmp_path / "objects"

    def make_storage(self):
        return directory_storage(self.directory)


class TestMemory(StorageContract):
    def make_storage(self):
        return memory_storage()


def test_a_directory_that_cannot_be_used_closes_its_index(tmp_path):
    (tmp_path / ".incoming").write_text("a file in the place of the folder")
    with pytest.raises(FileExistsError):
        directory_storage(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".incoming", ".index.sqlite3"]
