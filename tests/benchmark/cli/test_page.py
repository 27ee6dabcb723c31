"""When the command writes the page, and that it says where."""

import subprocess
import sys

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


def test_the_page_is_written_without_torch_in_the_memory_of_the_command(tmp_path):
    write(tmp_path / "results/local", make_row("salun"))
    code = (
        "import sys\n"
        "from benchmark.cli import main\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        "        main()\n"
        "    finally:\n"
        "        print('torch' in sys.modules)\n"
    )
    (tmp_path / "command.py").write_text(code)
    words = [sys.executable, "command.py", "leaderboard"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("page: results/local/index.html\nFalse\n")
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
