"""What `oss_wsgi.testing` reads, and what only where it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from oss_wsgi import testing


def test_the_contract_of_storages_is_read_when_it_is_asked_for() -> None:
    code = """if True:
        import sys, oss_wsgi.testing
        print([name for name in ("pytest", "oss_wsgi.local.application", "fastcrc") if name in sys.modules])
        print(oss_wsgi.testing.storage_contract.StorageContract.__name__)
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\nStorageContract\n"


def test_the_contract_of_ledgers_needs_pytest_and_nothing_of_the_local_oss() -> None:
    code = """if True:
        import sys, oss_wsgi.testing
        print(oss_wsgi.testing.ledger_contract.LedgerContract.__name__)
        print([name for name in ("pytest", "oss_wsgi.local", "webob", "fastcrc") if name in sys.modules])
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "LedgerContract\n['pytest']\n"


def test_no_other_name_is_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'oss_wsgi\.testing' has no attribute 'contract'"):
        testing.contract  # noqa: B018
