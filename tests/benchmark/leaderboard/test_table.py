"""The files of a leaderboard: made from records alone, documented, and harmless to open."""

import csv
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from benchmark.leaderboard.audits import audits
from benchmark.leaderboard.backdoor.table import leaderboard as wide_leaderboard
from benchmark.leaderboard.backdoor.table import long_leaderboard
from benchmark.leaderboard.columns import columns
from benchmark.leaderboard.table import FAMILY_COLUMNS, documentation, leaderboard, write_leaderboard
from benchmark.store.records import RecordStore
from tests.benchmark.leaderboard.backdoor_factory import make_runs
from tests.benchmark.leaderboard.factory import make_record, make_row


@pytest.fixture
def results(tmp_path):
    """A results folder with given records."""

    def write(records):
        store = RecordStore(tmp_path)
        for record in records:
            store.write(record)
        return tmp_path

    return write


def cells(results):
    with (results / "leaderboards" / "unlearning.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_column_has_a_name_of_its_own_and_is_documented():
    names = [*FAMILY_COLUMNS, *(column.name for column in columns())]
    assert len(set(names)) == len(names)
    documented = re.findall(r"^\| `(\S+)` \| (.+) \|$", documentation(), flags=re.MULTILINE)
    assert [name for name, _ in documented[: len(names)]] == names == list(leaderboard([]).columns)
    wide, long = (
        list(build(make_runs("sau", "<attack>", 2)).columns) for build in (wide_leaderboard, long_leaderboard)
    )
    audited = list(audits([]).columns)
    assert [name for name, _ in documented[len(names) :]] == wide + long + audited
    assert len(set(audited)) == len(audited)
    assert len(set(wide)) == len(wide)
    assert len(set(long)) == len(long)
    assert all(len(text) > 5 for _, text in documented)


def test_the_documentation_lies_beside_the_csv(results):
    folder = results(make_row())
    write_leaderboard(folder)
    assert (folder / "leaderboards" / "README.md").read_text() == documentation()


def test_the_csv_says_what_the_table_says(results):
    folder = results(make_row("salun", error=0.1) + make_row("finetune") + make_row("retrain", 3))
    table = leaderboard(RecordStore(folder))
    write_leaderboard(folder)
    read = pd.read_csv(folder / "leaderboards" / "unlearning.csv")
    assert list(read.columns) == list(table.columns)
    assert read["method"].tolist() == table["method"].tolist()
    for name in ("avg_gap", "ua", "ua_gap", "retrain_ta", "mia_loss_auc", "rank", "p_vs_finetune"):
        found, expected = pd.to_numeric(read[name]), pd.to_numeric(table[name])
        pd.testing.assert_series_equal(found, expected, rtol=1e-5, check_dtype=False)
    assert read["ua"].between(0, 1).all()  # fractions, not percent


def test_a_number_that_does_not_exist_is_an_empty_cell(results):
    folder = results(make_row("salun", 1))
    write_leaderboard(folder)
    (row,) = cells(folder)
    for name in ("rank", "p_vs_finetune", "ua_low", "avg_gap_high", "mia_loss_tpr_1", "ta_forgotten_class"):
        assert row[name] == "", name


def test_the_same_records_give_the_same_bytes(results):
    folder = results(make_row("salun") + make_row("finetune") + make_row("salun", 3, method__preset="custom"))
    first = {}
    for round_ in range(2):
        write_leaderboard(folder)
        for path in (folder / "leaderboards").iterdir():
            first.setdefault(path.name, path.read_bytes())
            assert path.read_bytes() == first[path.name]
            path.unlink()
        assert round_ == 1 or sorted(first) == ["README.md", "unlearning.csv"]


def test_a_folder_without_records_gives_a_table_without_rows(tmp_path):
    csv = tmp_path / "nothing" / "leaderboards" / "unlearning.csv"
    assert write_leaderboard(tmp_path / "nothing") == [csv]
    assert cells(tmp_path / "nothing") == []
    assert csv.read_text().startswith("rank,p_vs_finetune,")


def test_backdoor_runs_have_two_files_of_their_own_which_go_with_their_records(results):
    folder = results([*make_runs("sau"), *make_runs("sau", "wanet", 2), *make_runs("sau", "clean", 2)])
    names = ["unlearning.csv", "backdoor.csv", "backdoor_long.csv"]
    assert [path.name for path in write_leaderboard(folder)] == names
    for build, name in ((wide_leaderboard, names[1]), (long_leaderboard, names[2])):
        read, table = pd.read_csv(folder / "leaderboards" / name), build(RecordStore(folder))
        assert list(read.columns) == list(table.columns)
        assert len(read) == len(table)
        assert pd.to_numeric(read["asr_gap"]).tolist() == pytest.approx(
            table["asr_gap"].astype(float).tolist(), nan_ok=True
        )
    shutil.rmtree(folder / "records")
    assert [path.name for path in write_leaderboard(folder)] == names[:1]
    assert sorted(path.name for path in (folder / "leaderboards").iterdir()) == ["README.md", "unlearning.csv"]


def test_both_tracks_leave_each_other_alone(results):
    folder = results(make_row("salun"))
    write_leaderboard(folder)
    before = (folder / "leaderboards" / "unlearning.csv").read_bytes()
    results(make_runs("sau"))
    write_leaderboard(folder)
    assert (folder / "leaderboards" / "unlearning.csv").read_bytes() == before


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", " =1"])
def test_text_that_a_spreadsheet_would_run_is_disarmed(results, text):
    folder = results([make_record("salun", 0, notes=[text]), make_record("salun", 1, status="error", reason=text)])
    write_leaderboard(folder)
    (row,) = cells(folder)
    assert row["notes"] == f"'{text}"
    assert row["reasons"] == f"'{text}"


@pytest.mark.parametrize("text", ["two\nlines", "two\rlines", "two\r\nlines", "two\x0blines"])
def test_text_of_several_lines_becomes_one_so_that_a_row_is_a_line(results, text):
    folder = results([make_record("salun", notes=[text]), make_record("salun", 1, status="error", reason="\r=1")])
    write_leaderboard(folder)
    assert (folder / "leaderboards" / "unlearning.csv").read_bytes().count(b"\n") == 2
    (row,) = cells(folder)
    assert (row["notes"], row["reasons"]) == ("two lines", "' =1")


@pytest.mark.parametrize("text", ['a "quoted" word', "one, two", "[bold]x[/bold]", "a | b", "µ ≠ 中"])
def test_other_text_comes_through_as_it_is(results, text):
    folder = results([make_record("salun", notes=[text])])
    write_leaderboard(folder)
    assert cells(folder)[0]["notes"] == text


def test_a_method_with_a_hostile_name_stays_in_its_cell(results):
    # the registry refuses such names, but a records folder may come from anywhere
    folder = results([make_record("=cmd()", 0), make_record("a,b\n[bold]|", 0)])
    write_leaderboard(folder)
    assert sorted(row["method"] for row in cells(folder)) == ["'=cmd()", "a,b [bold]|"]


def test_negative_numbers_stay_numbers(results):
    records = make_row("salun", 3)
    for record in records:
        record["metrics"]["mia_svc_excess"] = -0.25
    folder = results(records)
    write_leaderboard(folder)
    assert cells(folder)[0]["mia_svc_excess"] == "-0.25"


def test_sensitivities_start_with_a_number_even_if_the_first_class_has_no_image(results):
    records = make_row("salun", 3)
    for record in records:
        record["metrics"]["sensitivity"] = [None, 0.5]
    folder = results(records)
    write_leaderboard(folder)
    assert cells(folder)[0]["sensitivity"] == "nan 0.5000"


def test_a_record_that_cannot_be_read_is_left_out_and_breaks_nothing(results):
    folder = results(make_row("salun", 3))
    path = next((folder / "records").rglob("*.json"))
    path.write_bytes(path.read_bytes()[:100])
    write_leaderboard(folder)
    assert [row["blocks"] for row in cells(folder)] == ["2"]


def test_a_leaderboard_needs_neither_torch_nor_the_runner(results):
    folder = results(make_row("salun", 3))
    code = (
        "import sys; from pathlib import Path\n"
        "import benchmark.store.records, benchmark.leaderboard.report\n"
        "from benchmark.leaderboard.table import write_leaderboard\n"
        "write_leaderboard(Path(sys.argv[1]))\n"
        "heavy = {'torch', 'torchvision', 'medmnist', 'timm', 'benchmark.api', 'benchmark.runner'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
    assert len(cells(folder)) == 1
