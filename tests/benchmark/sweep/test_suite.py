"""A suite's file: a grid whose keys are the options of `medsafe run`."""

from pathlib import Path

import pytest

from benchmark.errors import MedsafeError
from benchmark.plan import Request
from benchmark.sweep.suite import read_suite

SUITES = sorted((Path(__file__).parents[3] / "suites").glob("*.toml"))


@pytest.fixture
def read(tmp_path):
    def go(text):
        (tmp_path / "mine.toml").write_text(text)
        return read_suite(tmp_path / "mine.toml", Request("", device="cpu"))

    return go


def test_a_grid_is_every_combination_of_its_lists_in_the_order_of_the_options(read):
    suite = read("""
        description = "two by two"
        defaults.blocks = 3
        [[grid]]
        method = ["finetune", "salun"]
        scenario = ["random:0.1", "class:6"]
        params = "lr=0.02 epochs=1"
    """)
    assert (suite.name, suite.description) == ("mine", "two by two")
    assert [(each.scenario, each.method) for each in suite.requests] == [
        ("random:0.1", "finetune"), ("random:0.1", "salun"), ("class:6", "finetune"), ("class:6", "salun"),
    ]  # fmt: skip
    for each in suite.requests:
        assert (each.blocks, each.device, each.parameters) == ("3", "cpu", {"lr": "0.02", "epochs": "1"})


def test_an_exclude_leaves_out_what_it_matches_in_all_its_keys(read):
    suite = read("""
        [[grid]]
        method = ["retrain", "finetune", "salun"]
        preset = ["published", "scaled"]
        exclude = [{ method = ["retrain", "salun"], preset = "scaled" }]
    """)
    assert [(each.method, each.preset) for each in suite.requests] == [
        ("retrain", "published"), ("finetune", "published"), ("finetune", "scaled"), ("salun", "published"),
    ]  # fmt: skip


def test_a_grid_says_otherwise_than_the_defaults(read):
    suite = read("""
        defaults = { blocks = "2", arch = "resnet18" }
        [[grid]]
        method = "salun"
        arch = "cnn-small"
    """)
    assert [(each.architecture, each.blocks) for each in suite.requests] == [("cnn-small", "2")]


def test_paths_are_relative_to_the_suite(read, tmp_path):
    (request,) = read("""
        [[grid]]
        method = "mine"
        plugin = "mine.py"
        dataset = "data/scans.npz"
    """).requests
    assert (request.plugin, request.dataset) == (tmp_path / "mine.py", str(tmp_path / "data" / "scans.npz"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grid = 3", "at least one"),
        ("description = 'no grid'", "at least one"),
        ("[[grid]]\nscenario = 'class:6'", "names no method"),
        ("[[grid]]\nmethod = []", "names no method"),
        ("[[grid]]\nmethods = 'salun'", "unknown option 'methods': did you mean 'method'?"),
        ("[[grid]]\nmethod = 'salun'\nexclude = [{ methd = 'salun' }]", "unknown option 'methd'"),
        ("[[grid]]\nmethod = 'salun'\nexclude = [{ method = 'saluun' }]", "hits nothing"),
        ("[[grid]]\nmethod = 'salun'\nretrains = 'two'", "must be a number"),
        ("[[grid]]\nmethod = 3", "must be text"),
        ("[[grid]]\nmethod = true", "must be text"),
        ("[[grids]]\nmethod = 'salun'", "unknown key 'grids'"),
        ("[[grid]\n", "is no TOML"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(read, text, says):
    with pytest.raises(MedsafeError) as caught:
        read(text)
    assert says in str(caught.value)
    assert "mine.toml" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(MedsafeError, match=r"nowhere\.toml.*cannot be read"):
        read_suite(tmp_path / "nowhere.toml", Request(""))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_the_suites_that_come_with_it_can_be_read(path):
    assert read_suite(path, Request("")).requests
