"""Features of an audit's models, and what they say."""

import numpy as np
import pytest
import torch

from benchmark.audits import representation
from benchmark.audits.representation import represented
from benchmark.rescoring import rescore
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.tracks.models import Workbench
from benchmark.tracks.stored import predictions_of
from metrics.representation import debiased_linear_cka, linear_probe_accuracy


@pytest.fixture
def audit_run(bench):
    """An audit of a method on the first target; returns its record."""

    def go(method="finetune"):
        (record,) = bench(method, shadows=4, scenario="random:0.5")
        return record

    return go


def kept(record, cache, name):
    """What is stored of one of a record's models."""
    return predictions_of(ArtifactStore(cache).find(record["artifacts"][name]))


def test_scores_follow_from_the_stored_features(audit_run, cache):
    record = audit_run()
    model, *retrains = (kept(record, cache, f"features {each}") for each in ("model", "retrain 0", "retrain 1"))
    by_hand = np.mean([debiased_linear_cka(model["forget"], retrained["forget"]) for retrained in retrains])
    assert record["metrics"]["cka_forget"] == pytest.approx(by_hand, rel=1e-12)
    between = debiased_linear_cka(*(retrained["test"] for retrained in retrains))
    assert [each["cka_test"] for each in record["references"]["retrain"]] == pytest.approx([between] * 2, rel=1e-12)


def test_features_are_of_the_images_that_are_named_and_give_the_stored_logits(audit_run, cache, open_bench):
    record, store = audit_run(), ArtifactStore(cache)
    stored, features = kept(record, cache, "model"), kept(record, cache, "features model")
    last = list(open_bench().load(store.find(record["artifacts"]["model"])).modules())[-1]
    for part in ("forget", "test", "non_members"):
        logits = last(torch.from_numpy(features[part])).detach().numpy()
        np.testing.assert_allclose(logits, stored["logits"][np.sort(stored[f"rows.{part}"])], rtol=1e-4, atol=1e-5)
    labels = [stored["labels"][np.sort(stored[f"rows.{part}"])] for part in ("non_members", "forget")]
    inputs = np.concatenate([features["non_members"], features["forget"]])
    fitted, scored = np.split(np.arange(len(inputs)), [len(labels[0])])
    probe = linear_probe_accuracy(inputs, np.concatenate(labels), fitted, scored)
    assert record["metrics"]["probe_forget"] == probe


def test_of_a_large_split_some_images_are_kept_the_same_for_all_models(audit_run, cache, monkeypatch):
    monkeypatch.setattr(representation, "MOST", 5)
    record = audit_run()
    assert {len(kept(record, cache, f"features {each}")["test"]) for each in ("model", "original")} == {5}
    own, *_ = represented(record, ArtifactStore(cache))
    assert len(own.labels["test"]) == 5


def test_methods_share_the_features_of_original_and_retrains(audit_run):
    first, second = audit_run()["artifacts"], audit_run("original")["artifacts"]
    assert first["features retrain 0"] == second["features retrain 0"]
    assert first["features model"] != second["features model"]


def test_rescoring_needs_no_model(audit_run, tmp_path, cache, monkeypatch):
    record, records = audit_run(), RecordStore(tmp_path / "results")
    declared = {name: info for name, info in record["declarations"].items() if not name.startswith("cka")}
    records.write(record | {"declarations": declared, "metrics": {}})
    monkeypatch.setattr(Workbench, "load", lambda *_: pytest.fail("a model was loaded"))
    assert [said for _, said in rescore(records, ArtifactStore(cache))] == ["rescored"]
    assert next(iter(records))["metrics"] == record["metrics"]
