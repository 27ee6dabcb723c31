"""KLoM and epsilon from runs on one forget set: a row for each method and part of the data, its null beside it."""

from dataclasses import replace
from itertools import cycle

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmark import training
from benchmark.audits.klom import klom_table
from benchmark.cli import app
from benchmark.plan import Request
from benchmark.runner import run
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.tracks.stored import predictions_of
from metrics.epsilon import eps_lower_bound
from metrics.klom import FEWEST_MODELS, gaussian_klom, klom
from metrics.membership import log_odds

BLOCKS = 5


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A cache for this module's runs."""
    return ArtifactStore(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the results are."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(folder, tiny_npz, models):
    """Retrain and gradient ascent on blocks that forget the same images."""
    records = RecordStore(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.RECIPES, "cpu", replace(training.RECIPES["cpu"], epochs=2))
        for method in ("retrain", "gradient_ascent"):
            wanted = {"dataset": str(tiny_npz), "scenario": "fixed:0.2", "blocks": str(BLOCKS), "retrains": 2}
            assert all(outcome.record["status"] == "ok" for outcome in run(Request(method, **wanted), models, records))
    return records


@pytest.fixture
def retrain(results):
    """The records of the method that retrains."""
    return [record for record in results if record["spec"]["method"]["name"] == "retrain"]


def table(records, models):
    """The rows by method and part."""
    return klom_table(records, models).set_index(["method", "part"])


def many(records, **same):
    """Records of 32 blocks, those given in turns; `same` says which model takes another's place."""
    return [
        record
        | {"spec": record["spec"] | {"block": number}}
        | {"artifacts": record["artifacts"] | {to: record["artifacts"][name] for to, name in same.items()}}
        for number, record in zip(range(FEWEST_MODELS), cycle(records), strict=False)
    ]


def margins(records, models, name, rows="rows.forget"):
    """Of one model of each record, restated from what is stored."""
    columns = []
    for record in sorted(records, key=lambda each: each["spec"]["block"]):
        beside = predictions_of(models.find(record["artifacts"]["model"]))
        logits = predictions_of(models.find(record["artifacts"][name]))["logits"]
        columns.append(log_odds(logits, beside["labels"])[beside[rows]])
    return np.stack(columns, axis=1)


def test_all_blocks_have_the_same_splits_and_models_of_their_own(results, models):
    beside = [predictions_of(models.find(record["artifacts"]["model"])) for record in results]
    for part in ("forget", "retain", "test", "non_members"):
        assert len({each[f"rows.{part}"].tobytes() for each in beside}) == 1
    names = [name for record in results for name in record["artifacts"].values()]
    # In each block an Original, two Retrains and an untrained net, shared by the methods, and a model of each method.
    assert len(set(names)) == BLOCKS * (4 + 2)
    logits = {predictions_of(models.find(name))["logits"].tobytes() for name in names}
    assert len(logits) == len(set(names))


def test_each_method_has_a_row_for_each_part(results, models):
    rows = klom_table(results, models)
    assert rows[["method", "part"]].to_numpy().tolist() == [
        [method, part] for method in ("gradient_ascent", "retrain") for part in ("forget", "retain", "test")
    ]
    assert rows["images"].tolist() == [72, 288, 100] * 2  # of 400, 40 are non-members
    assert set(rows["models"]) == {BLOCKS}
    assert set(rows["scenario"]) == {"fixed:0.2"}


@pytest.mark.parametrize("part", ["forget", "retain", "test"])
def test_the_values_are_those_of_the_metrics_on_the_stored_predictions(results, models, part):
    records = [record for record in results if record["spec"]["method"]["name"] == "gradient_ascent"]
    unlearned, first, second = (
        margins(records, models, name, f"rows.{part}") for name in ("model", "retrain 0", "retrain 1")
    )
    row = table(results, models).loc["gradient_ascent", part]
    assert row["gaussian_klom"] == pytest.approx(gaussian_klom(unlearned, first).mean())
    assert row["gaussian_klom_p95"] == pytest.approx(np.percentile(gaussian_klom(unlearned, first), 95))
    assert row["gaussian_klom_null"] == pytest.approx(gaussian_klom(second, first).mean())
    assert row["gaussian_klom_null_p95"] == pytest.approx(np.percentile(gaussian_klom(second, first), 95))


def test_retraining_is_as_near_as_retrains_are_to_each_other_and_gradient_ascent_is_not(results, models):
    rows = table(results, models)
    retrained, ascended = rows.loc["retrain", "forget"], rows.loc["gradient_ascent", "forget"]
    assert 0.25 < retrained["gaussian_klom"] / retrained["gaussian_klom_null"] < 4
    assert ascended["gaussian_klom"] > 5 * ascended["gaussian_klom_null"]
    assert ascended["gaussian_klom_null"] == retrained["gaussian_klom_null"]


def test_few_models_have_no_histogram_and_no_epsilon_and_say_so(results, models):
    row = table(results, models).loc["retrain", "forget"]
    assert row[["klom", "klom_null", "eps_lower_bound", "eps_resolution"]].isna().all()
    assert "klom: 5 unlearned and 5 retrained models; needs 32 of each" in row["unresolved"]
    assert "eps_lower_bound: 5 unlearned and 5 retrained models are too few for 10 images" in row["unresolved"]


def test_with_32_models_there_are_klom_and_epsilon(retrain, models):
    records = many(retrain)
    unlearned, first, second = (margins(records, models, name) for name in ("model", "retrain 0", "retrain 1"))
    row = table(records, models).loc["retrain", "forget"]
    assert row["klom"] == pytest.approx(klom(unlearned, first).mean())
    assert row["klom_null_p95"] == pytest.approx(np.percentile(klom(second, first), 95))
    bound = eps_lower_bound(second, first, confidence=0.95, tested=10)
    assert (row["eps_lower_bound_null"], row["eps_resolution"]) == pytest.approx((bound.bound, bound.resolution))
    assert (row["eps_tested"], row["unresolved"]) == (10, "")
    assert table(records, models).loc["retrain"].loc[["retain", "test"], "eps_lower_bound"].isna().all()


def test_identical_models_are_at_distance_zero_and_show_no_epsilon(retrain, models):
    rows = table(many(retrain, **{"retrain 0": "model"}), models).loc["retrain"]
    assert rows[["klom", "klom_p95", "gaussian_klom", "gaussian_klom_p95"]].to_numpy(float) == pytest.approx(0)
    assert rows.loc["forget", "eps_lower_bound"] == 0
    assert (rows["klom_null"] > 0).all()


def test_the_null_is_the_estimate_that_a_method_gets(retrain, models):
    rows = table(many(retrain, **{"retrain 1": "model"}), models).loc["retrain"]
    for value in ("klom", "klom_p95", "gaussian_klom", "gaussian_klom_p95"):
        assert rows[value].tolist() == rows[value.replace("klom", "klom_null")].tolist()
    assert rows.loc["forget", "eps_lower_bound"] == rows.loc["forget", "eps_lower_bound_null"]


def test_models_that_never_answer_alike_show_all_that_so_many_models_can(results, models):
    ascended, retrained = (
        next(record for record in results if record["spec"]["method"]["name"] == name)
        for name in ("gradient_ascent", "retrain")
    )
    names = retrained["artifacts"] | {"model": ascended["artifacts"]["model"]}
    row = table(many([ascended | {"artifacts": names}]), models).loc["gradient_ascent", "forget"]
    assert row["eps_lower_bound"] == row["eps_resolution"] > 0.7


def test_the_order_of_records_does_not_matter(results, models):
    pd.testing.assert_frame_equal(klom_table(results, models), klom_table(reversed(list(results)), models))


@pytest.mark.parametrize("fault", [{"status": "error"}, {"artifacts": {"model": "0" * 64, "original": "0" * 64}}])
def test_a_block_that_failed_or_is_not_in_the_cache_is_left_out_and_said_so(retrain, models, fault):
    row = table([retrain[0] | fault, *retrain[1:]], models).loc["retrain", "forget"]
    assert row["models"] == BLOCKS - 1
    assert row["unresolved"].startswith(
        "1 blocks left out: runs that failed or are not in the cache; klom: 4 unlearned"
    )


def test_without_a_model_in_the_cache_there_are_no_values(retrain, tmp_path):
    rows = table(retrain, ArtifactStore(tmp_path))
    assert set(rows["models"]) == {0}
    assert rows["gaussian_klom"].isna().all()
    assert set(rows["unresolved"]) == {f"{BLOCKS} blocks left out: runs that failed or are not in the cache"}


def test_one_retrain_a_block_leaves_nothing_for_the_null(retrain, models):
    single = [record | {"spec": record["spec"] | {"retrains": 1}} for record in retrain]
    rows = table(single, models)
    assert set(rows["unresolved"]) == {"1 Retrain a block: the null needs 2 (--retrains 2)"}
    assert rows["gaussian_klom"].isna().all()


def test_one_checkpoint_for_all_originals_is_said(retrain, models):
    imported = [record | {"spec": record["spec"] | {"original_sha256": "0" * 64}} for record in retrain]
    assert table(imported, models)["unresolved"].str.startswith("one Original for all blocks").all()


def test_runs_on_forget_sets_of_their_own_are_none_of_its_business(retrain, models):
    drawn = [record | {"spec": record["spec"] | {"scenario": "random:0.2"}} for record in retrain]
    assert klom_table(drawn, models).empty


def test_the_command_writes_a_csv(folder, results, models, monkeypatch):
    monkeypatch.setenv("MEDSAFE_CACHE", str(models.root))
    result = CliRunner().invoke(app, ["klom", "--results", str(folder)])
    assert result.exit_code == 0, result.output
    assert "retrain (published), forget: Gaussian KLoM" in result.output
    written = pd.read_csv(folder / "audits" / "klom.csv")
    assert written.columns.tolist() == klom_table(results, models).columns.tolist()
    assert len(written) == 6


def test_without_runs_the_command_says_what_makes_them(tmp_path):
    result = CliRunner().invoke(app, ["klom", "--results", str(tmp_path / "results")])
    assert result.exit_code != 0
    assert "suites/klom.toml" in str(result.exception)
