"""When the command writes the page, and that it says where."""

import subprocess
import sys

import pytest

from benchmark.store.records import RecordStore
from tests.benchmark.leaderboard.factory import make_row


def write(folder, records):
    for record in records:
        RecordStore(folder).write(record)


def test_leaderboard_writes_the_page_beside_the_leaderboards(medsafe, tmp_path):
    write(tmp_path / "results/local", make_row("salun"))
    said = medsafe("leaderboard")
    assert said.code == 0
    assert "page: results/local/index.html" in said.out
    page = (tmp_path / "results/local/index.html").read_text()
    assert 'id="card-unlearning-salun"' in page
    assert 'id="tab-unlearning"' in page


PROGRAM = """
import sys
from benchmark.cli import main
if __name__ == "__main__":
    try:
        main()
    finally:
        print("torch" in sys.modules)
"""


@pytest.mark.parametrize(("command", "has_torch"), [("leaderboard", False), ("rescore", True)])
def test_the_page_brings_no_torch_into_a_command_that_has_none_and_no_noise(tmp_path, command, has_torch):
    write(tmp_path / "results/local", make_row("salun", 1))
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [sys.executable, "program.py", command]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(f"page: results/local/index.html\n{has_torch}\n")
    assert done.stderr == ""
    assert 'id="card-attacks-wanet"' in (tmp_path / "results/local/index.html").read_text()


def test_publishing_writes_the_published_page(medsafe, tmp_path):
    write(tmp_path / "results/local", make_row("salun"))
    assert "page: results/index.html" in medsafe("publish").out
    assert not (tmp_path / "results/local/index.html").exists()


def test_rescoring_writes_the_page(medsafe, tmp_path):
    write(tmp_path / "results/local", make_row("salun", 1))
    assert "page: results/local/index.html" in medsafe("rescore").out


def test_a_run_leaves_the_page_to_the_leaderboard(run, tmp_path):
    assert run().code == 0
    assert (tmp_path / "results/local/leaderboards/unlearning.csv").exists()
    assert not (tmp_path / "results/local/index.html").exists()
