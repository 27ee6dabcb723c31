"""An unlearning run's distances to Retrain, from stored predictions."""

from dataclasses import replace

import numpy as np
import pytest

from benchmark import training
from benchmark.rescoring import rescore
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.tracks.stored import predictions_of
from benchmark.tracks.unlearning import redraw
from benchmark.tracks.unlearning import rescore as rescore_run
from metrics.distances import js_to_retrain, zrf
from metrics.nearness import METRICS


@pytest.fixture
def unlearned(bench):
    """A method's run on one block; returns its record."""

    def go(method):
        (record,) = bench(method, scenario="random:0.5")
        return record

    return go


def logits(record, cache, name):
    return predictions_of(ArtifactStore(cache).find(record["artifacts"][name]))["logits"]


def test_scores_follow_from_the_stored_logits(unlearned, cache):
    record = unlearned("original")
    own, fresh, *retrains = (logits(record, cache, each) for each in ("model", "untrained", "retrain 0", "retrain 1"))
    forget = predictions_of(ArtifactStore(cache).find(record["artifacts"]["model"]))["rows.forget"]
    by_hand = np.mean([js_to_retrain(own[forget], each[forget]) for each in retrains])
    assert record["metrics"]["js_forget"] == pytest.approx(by_hand, rel=1e-12)
    assert record["metrics"]["zrf_forget"] == pytest.approx(zrf(own[forget], fresh[forget]), rel=1e-12)
    between = js_to_retrain(*(each[forget] for each in retrains))
    assert [each["js_forget"] for each in record["references"]["retrain"]] == pytest.approx([between] * 2, rel=1e-12)


def test_the_untrained_network_is_no_retrain_and_the_same_for_all_methods(unlearned, cache):
    first, second = unlearned("original"), unlearned("finetune")
    assert first["artifacts"]["untrained"] == second["artifacts"]["untrained"]
    assert np.abs(logits(first, cache, "untrained")).max() < np.abs(logits(first, cache, "retrain 0")).max()


def test_rescoring_gives_the_same_from_what_is_stored(unlearned, tmp_path, cache):
    record, records = unlearned("finetune"), RecordStore(tmp_path / "results")
    old = {name: info for name, info in record["declarations"].items() if name not in METRICS}
    records.write(record | {"declarations": old, "metrics": {}, "references": {"original": {}, "retrain": [{}, {}]}})
    ((renewed, said),) = rescore(records, ArtifactStore(cache))
    assert said == "rescored"
    assert renewed["id"] == record["id"]
    (now,) = records
    assert {part: now[part] for part in ("metrics", "references")} == {
        part: record[part] for part in ("metrics", "references")
    }


def test_a_record_without_an_untrained_network_has_to_be_run_again_to_be_rescored(unlearned, cache):
    record = unlearned("original")
    del record["artifacts"]["untrained"]
    assert rescore_run(record, ArtifactStore(cache)) is None
    assert redraw(record, ArtifactStore(cache))["curves"] == record["curves"]


@pytest.mark.slow
def test_retrain_is_as_far_as_retrains_are_and_the_original_further_where_it_memorised(bench, monkeypatch):
    monkeypatch.setitem(training.RECIPES, "cpu", replace(training.RECIPES["cpu"], epochs=20))
    wanted = {"scenario": "random:0.3", "blocks": "2", "retrains": 3}
    honest, kept = bench("retrain", **wanted), bench("original", **wanted)
    for distance in ("kl_forget", "js_forget", "activation_distance_forget"):
        null = np.mean([scores[distance] for record in honest for scores in record["references"]["retrain"]])
        value, before = (np.mean([record["metrics"][distance] for record in records]) for records in (honest, kept))
        assert 0.75 * null < value < 1.25 * null < before
        assert before == np.mean([record["references"]["original"][distance] for record in honest])
