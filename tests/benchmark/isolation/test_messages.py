"""What is handed to a method's process, on a disk that cannot hold it."""

import tempfile

import pytest

from benchmark.errors import MedsafeError
from tests.benchmark.store.disks import small_disk


def test_a_full_folder_for_temporary_files_is_a_users_error_and_no_result_of_the_method(
    suite, stranger, tmp_path, monkeypatch
):
    recorded = sorted(suite.results.rglob("*.json"))
    with small_disk(tmp_path / "disk", 1 << 20) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
        disk.fill(but=200 << 10)
        with pytest.raises(MedsafeError, match=r"cannot hold .* \(No space left on device\): set TMPDIR"):
            suite.run("stranger", stranger("return model"))
    assert sorted(suite.results.rglob("*.json")) == recorded
