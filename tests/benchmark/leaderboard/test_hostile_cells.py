"""Texts that strangers wrote, in CSV files that others open in a spreadsheet: shown, never run, never torn apart."""

import csv
import json
import unicodedata

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.leaderboard.table import write_leaderboard
from tests.benchmark.leaderboard.backdoor_factory import make_run
from tests.benchmark.leaderboard.factory import make_record

FORMULAS = [
    '=HYPERLINK("http://a.example","click")', "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(1+1)", "\t=1", "\r=1", "\n=1",
    " =1", "\u00a0=1", "\ufeff=1", "\u200b=1", "\u202e=1", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20SUM(1)", "\ufe661",
    " \t\uff1d1", "\x00=1",
    "a;=1", "a; =1", "a;\t=1", 'a";=1', 'a;"=1', 'a",=1', "a\n=1", "\x1b[31m=1",
]  # fmt: skip
MARKUP = ["</script><script>alert(1)</script>", '"', '""', "a,b", "[bold]b", "two\nlines", "a\r\nb", "'", "a\x85b", ""]
ORDINARY = ["lr=0.1", "a; b", "0.5-1", "x@y", "5 ≥ 4", "nan", "NA", "中文", "می‌خواهم", "👩\u200d🔬", "1+"]
UNSEEN = ("Cc", "Cf", "Zl", "Zp", "Zs")


def unlearning_records(text):
    """One row whose every text is the given one, as far as a record has any; and a failed block."""
    said = {
        "method__preset": text, "method__version": text, "data__name": text, "data__sha256": text, "architecture": text,
        "recipe__name": text, "scenario": text, "notes": [text], "method__hyperparameters": {text: text},
    }  # fmt: skip
    return [make_record(text, **said), make_record(text, 1, status="error", reason=text, **said)]


def backdoor_records(text):
    """A defence under an attack, both of a strange name."""
    said = {"notes": [text], "data__name": text, "pool": text, "attack__preset": text, "method__preset": text}
    return [make_run(text, text, **said), make_run(text, text, 1, status="error", reason=text, **said)]


def written(folder, *texts):
    """The CSV files of records with these texts; they lie under plain names, since no file may have some of these."""
    records = [record for text in texts for record in (*unlearning_records(text), *backdoor_records(text))]
    for number, record in enumerate(records):
        path = folder / "records" / f"{number}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(record))
    return write_leaderboard(folder)


def cells(path, delimiter=","):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter=delimiter))


def is_number(cell):
    try:
        float(cell)
    except ValueError:
        return False
    return True


def runs(cell):
    """Whether a spreadsheet might take the cell for a formula: by its first sign that can be seen, in plain form."""
    seen = [sign for sign in unicodedata.normalize("NFKC", cell) if unicodedata.category(sign) not in UNSEEN]
    return bool(seen) and seen[0] in "=+-@" and not is_number(cell)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_no_cell_is_a_formula_whichever_sign_parts_the_cells(tmp_path, delimiter):
    files = written(tmp_path, *FORMULAS)
    assert len(files) == 3
    for path in files:
        assert [cell for row in cells(path, delimiter) for cell in row if runs(cell)] == [], path.name


def test_a_row_is_a_line_and_no_cell_has_a_sign_that_cannot_be_printed(tmp_path):
    for path in written(tmp_path, *FORMULAS, *MARKUP):
        table = cells(path)
        assert path.read_bytes().count(b"\n") == len(table) == 1 + len(FORMULAS) + len(MARKUP)
        assert {len(row) for row in table} == {len(table[0])}
        assert not [cell for row in table for cell in row if any(unicodedata.category(sign) == "Cc" for sign in cell)]


def test_pandas_reads_what_was_written(tmp_path):
    for path in written(tmp_path, *FORMULAS, *MARKUP, *ORDINARY):
        texts = pd.read_csv(path, dtype=str, keep_default_na=False)
        assert texts.to_numpy().tolist() == cells(path)[1:]
        assert pd.api.types.is_numeric_dtype(pd.read_csv(path)["blocks"])


def test_other_texts_are_left_as_they_are(tmp_path):
    plain = ORDINARY + MARKUP[:5]
    unlearning, _, long = written(tmp_path, *plain)
    for path, method in ((unlearning, "method"), (long, "defense")):
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        for name in (method, "dataset", "notes", "reasons", "preset"):
            assert sorted(rows[name]) == sorted(plain), name


def only_row(folder, record):
    (folder / "records").mkdir()
    (folder / "records" / "0.json").write_text(json.dumps(record))
    write_leaderboard(folder)
    return pd.read_csv(folder / "leaderboards" / "unlearning.csv").iloc[0]


def test_hyperparameters_are_no_formulas_and_negative_numbers_stay_numbers(tmp_path):
    record = make_record("salun", method__hyperparameters={"lr": 0.1, "shift": -3, "flag": True})
    record["metrics"]["mia_svc_excess"] = -0.25
    row = only_row(tmp_path, record)
    assert row["hyperparameters"] == "lr=0.1 shift=-3 flag=True"
    assert row["mia_svc_excess"] == -0.25


def test_half_a_character_which_no_file_takes_costs_a_row_nothing_but_itself(tmp_path):
    row = only_row(tmp_path, make_record("salun", notes=["half \ud83d of one, \U0001f600 whole"]))
    assert row["notes"] == "half ? of one, \U0001f600 whole"
    assert row["method"] == "salun"


NASTY = st.text("=+-@\uff1d\uff0d \t\r\n\x00\ufeff\u200b;,\"'|<>/a1\u2028", max_size=12)


@settings(max_examples=8, deadline=None)
@given(texts=st.lists(NASTY | st.text(max_size=12), min_size=20, max_size=40, unique=True))
def test_no_text_whatever_becomes_a_formula_or_tears_a_row(tmp_path_factory, texts):
    for path in written(tmp_path_factory.mktemp("results"), *texts):
        assert [cell for sign in ",;" for row in cells(path, sign) for cell in row if runs(cell)] == []
        assert pd.read_csv(path, dtype=str, keep_default_na=False).to_numpy().tolist() == cells(path)[1:]
