"""Figures as JSON and Markdown."""

import json

import pytest

from benchmark.errors import MedsafeError
from benchmark.perf.machine import circumstances, cpu_model, describe_machine, slug
from benchmark.perf.measure import Measured
from benchmark.perf.report import END, START, as_json, insert, load, rows, save, table, tables

PAIR = Measured("epoch", "8 images", 1.5, {"ours": (1.0, 2.0, 1.5), "plain": (3.0, 4.0, 3.0), "last": (1.5, 2.0, 1.5)})
ALONE = Measured("rebuild", "9 records", None, {"ours": (1.0, 2.0, 1.5)})
MACHINE = {"cpu": "Some(R) CPU X9 @ 2.10GHz", "cores": 2, "system": "Linux x86_64"}


def test_a_file_is_named_by_processor_and_cores():
    assert slug(MACHINE) == "some-x9-2-cores"


def test_the_processor_is_what_it_calls_itself(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nmodel\t\t: 7\nmodel name\t: Fast  Chip\nmodel name\t: Fast  Chip\n")
    assert cpu_model(listing) == "Fast Chip"
    assert cpu_model(tmp_path / "none")


def test_neither_host_nor_path_is_in_a_file(tmp_path):
    path = save(tmp_path, describe_machine(), "pair", as_json(PAIR, circumstances()))
    content = json.loads(path.read_text())
    assert set(content["machine"]) == {"cpu", "cores", "system"}
    assert set(content["comparisons"]["pair"]["measured"]) == {"date", "python", "torch", "threads", "load"}
    assert str(tmp_path) not in path.read_text()


def test_json_holds_every_measurement_its_spread_and_the_ratios_to_ours():
    figures = as_json(PAIR, {})
    assert figures["repeats"] == 3
    assert figures["required"] == 1.5
    assert figures["ways"]["ours"] == {"seconds": [1.0, 2.0, 1.5], "minimum": 1.0, "median": 1.5, "maximum": 2.0}
    assert figures["ratios"]["plain"] == {"minimum": 2.0, "median": 2.0, "maximum": 3.0}
    assert list(figures["ratios"]) == ["plain", "last"]


def test_measuring_one_comparison_again_leaves_the_others(tmp_path):
    save(tmp_path, MACHINE, "first", as_json(PAIR, {"date": "old"}))
    save(tmp_path, MACHINE, "second", as_json(ALONE, {}))
    path = save(tmp_path, MACHINE, "first", as_json(PAIR, {"date": "new"}))
    comparisons = load(path)["comparisons"]
    assert list(comparisons) == ["first", "second"]
    assert comparisons["first"]["measured"] == {"date": "new"}


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"schema": 1, "comparisons": 3}', '{"schema": 99}'])
def test_a_file_of_something_else_is_not_overwritten(tmp_path, text):
    path = tmp_path / f"{slug(MACHINE)}.json"
    path.write_text(text)
    with pytest.raises(MedsafeError, match="move it away"):
        save(tmp_path, MACHINE, "pair", as_json(PAIR, {}))
    assert path.read_text() == text


def test_a_line_of_the_table_for_each_way_that_is_not_ours():
    lines = rows(as_json(PAIR, {}))
    assert lines == [
        "| epoch: 8 images | 1.5 s (1–2) | plain: 3 s (3–4) | 2x (2–3) |",
        "| | | last: 1.5 s (1.5–2) | 1x (1–1.5) |",
    ]


def test_what_is_measured_alone_has_a_line_too():
    assert rows(as_json(ALONE, {})) == ["| rebuild: 9 records | 1.5 s (1–2) | | |"]


def test_what_was_measured_once_says_so_and_has_no_spread():
    (line,) = rows(as_json(Measured("epoch", "8 images", None, {"ours": (1.5,), "plain": (3.0,)}), {}))
    assert line == "| epoch: 8 images; measured once | 1.5 s | plain: 3 s | 2x |"


def test_a_share_of_our_time_has_a_line_in_percent():
    measured = Measured("run", "1 run", None, {"ours": (2.0, 2.0)}, {"the suite itself": (0.01, 0.02)})
    assert rows(as_json(measured, {}))[1] == "| the suite itself | 1.5 % (1–2) | | |"


def test_every_machine_has_a_table_whose_lines_have_equally_many_cells(tmp_path):
    save(tmp_path, MACHINE, "pair", as_json(PAIR, {}))
    save(tmp_path, MACHINE | {"cores": 16}, "alone", as_json(ALONE, {}))
    text = tables(tmp_path)
    assert "2 cores:" in text
    assert "16 cores:" in text
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {5}
    assert table(load(tmp_path / "some-x9-2-cores.json")) in text


def test_only_what_stands_between_the_markers_is_replaced():
    text = f"# Title\n\n{START}\nold\n{END}\n\nafter\n"
    once = insert(text, "| new |")
    assert once == f"# Title\n\n{START}\n\n| new |\n\n{END}\n\nafter\n"
    assert insert(once, "| new |") == once


@pytest.mark.parametrize("text", ["", START, f"{END}{START}", f"{START}{START}{END}", f"{START}{END}{START}{END}"])
def test_a_readme_without_one_pair_of_markers_is_an_error(text):
    with pytest.raises(MedsafeError, match="no place for the table"):
        insert(text, "| new |")
