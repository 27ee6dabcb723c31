"""The nested study: forget sets with Originals of their own, each unlearned under several seeds, from real runs."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmark import training
from benchmark.audits.variance import LEVELS, Design, variance_table
from benchmark.cli import app
from benchmark.config import identity
from benchmark.errors import MedsafeError
from benchmark.plan import Request
from benchmark.store.artifacts import ArtifactStore
from benchmark.tracks.stored import predictions_of
from metrics.accuracy import unlearning_accuracy
from metrics.variance import nested_variance

SIZES = (2, 2, 2)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A cache for this module's runs."""
    return ArtifactStore(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def table(tiny_npz, models):
    """The study of random labelling by score."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.RECIPES, "cpu", replace(training.RECIPES["cpu"], epochs=2))
        request = Request("random_label", dataset=str(tiny_npz), scenario="random:0.2")
        return variance_table(request, Design(*SIZES), models).set_index("metric")


@pytest.fixture
def unlearned(table, models):
    """Keys and predictions of the method's models, forget set by forget set, Original by Original."""
    keys = [key for key, _ in models.listing() if key["kind"] == "unlearned"]
    keys.sort(key=lambda key: key["block"])
    return [(key, predictions_of(models.find(identity(key)))) for key in keys]


def test_every_forget_set_has_originals_and_every_original_seeds_of_its_own(unlearned):
    originals, seeds = defaultdict(set), defaultdict(set)
    for key, _ in unlearned:
        originals[key["forget"]].add(key["original"])
        seeds[key["original"]].add(key["block"])
    assert [len(each) for each in originals.values()] == [2, 2]
    assert len(set.union(*originals.values())) == 4
    assert [len(each) for each in seeds.values()] == [2] * 4
    assert len({stored["logits"].tobytes() for _, stored in unlearned}) == len(set.union(*seeds.values())) == 8


def test_the_components_are_those_of_the_scores_of_the_stored_models(unlearned, table):
    scores = [
        unlearning_accuracy(stored["logits"][stored["rows.forget"]], stored["labels"][stored["rows.forget"]])
        for _, stored in unlearned
    ]
    expected, row = nested_variance(np.reshape(scores, SIZES)), table.loc["ua"]
    assert (row["mean"], row["standard_error"]) == pytest.approx((expected.mean, expected.standard_error))
    for level, component in zip(LEVELS, expected.components, strict=True):
        assert row[f"{level}_variance"] == pytest.approx(component.estimate)
        assert row[f"{level}_share"] == pytest.approx(component.share)


def test_what_has_no_variance_says_why(table):
    assert "sensitivity" not in table.index  # one number for each class
    assert table.loc["ta_forgotten_class", "unresolved"]
    assert np.isnan(table.loc["ta_forgotten_class", "mean"])
    below = (table[[f"{level}_variance" for level in LEVELS]] < 0).any(axis=1)
    assert table.loc[below, "unresolved"].str.startswith("estimated below 0: ").all()


def test_the_command_takes_models_from_the_cache_and_writes_a_csv(
    table, models, tiny_npz, tmp_path, monkeypatch, short_recipe
):
    monkeypatch.setenv("MEDSAFE_CACHE", str(models.root))
    before = len(models.listing())
    words = ["variance", "--method", "random_label", "--dataset", str(tiny_npz), "--scenario", "random:0.2"]
    sizes = ["--forget-sets", "2", "--originals", "2", "--seeds", "2", "--threads", "1"]
    result = CliRunner().invoke(app, [*words, *sizes, "--results", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "of the variance: forget set" in result.output
    assert len(models.listing()) == before
    written = pd.read_csv(tmp_path / "audits" / "variance_random_label.csv").set_index("metric")
    assert written["mean"].to_numpy() == pytest.approx(table["mean"].to_numpy(float), rel=1e-5, nan_ok=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scenario": "fixed:0.2"}, "scenario 'fixed:0.2' forgets the same images in every draw"),
        ({"scenario": "class:3"}, "use random:0.1"),
        ({"scenario": "random:0.2", "shadows": 4}, "without --shadows"),
    ],
)
def test_what_cannot_vary_is_refused(tiny_npz, cache, changes, words):
    with pytest.raises(MedsafeError, match=words):
        variance_table(Request("finetune", dataset=str(tiny_npz), **changes), Design(), ArtifactStore(cache))


@pytest.mark.parametrize("sizes", [(1, 2, 2), (2, 1, 2), (2, 2, 1), (2, 2, 1001)])
def test_a_level_of_one_unit_has_no_variance(sizes):
    with pytest.raises(MedsafeError, match="a variance needs 2"):
        Design(*sizes)


def test_a_run_that_fails_ends_the_study_and_is_named(tiny_npz, cache, short_recipe):
    request = Request("finetune", dataset=str(tiny_npz), scenario="random:0.2", parameters={"lr": "1e30"})
    with pytest.raises(MedsafeError, match=r"'finetune' on forget set 0: .*needs all of its runs"):
        variance_table(request, Design(*SIZES), ArtifactStore(cache))
