"""Records of real backdoor runs on their way into the leaderboards: the synthetic ones of these tests are like them."""

import pandas as pd
import pytest

from benchmark.leaderboard.report import report
from benchmark.leaderboard.table import Leaderboards, write_leaderboard
from tests.benchmark.leaderboard.backdoor_factory import make_run

NOT_FIXED = ("hyperparameters", "recipe", "environment", "artifacts", "sizes", "unresolved", "declarations", "data")


def shape(value):
    if not isinstance(value, dict):
        return ...
    return {name: ... if name in NOT_FIXED else shape(part) for name, part in value.items()}


@pytest.fixture
def attacked(bench, monkeypatch):
    """Runs a defence; two epochs make no strong attack, so the gate may be opened."""

    def go(method, attack, gate_open=True):
        if gate_open:
            monkeypatch.setattr("benchmark.tracks.backdoor.gate", lambda *_: None)
        return bench(method, retrains=None, attack=attack)

    return go


def test_real_records_have_the_shape_of_the_synthetic_ones_and_become_rows(attacked, tmp_path):
    failed = attacked("none", "badnets", gate_open=False)
    scored = [*attacked("none", "blended"), *attacked("finetune", "blended")]
    assert [record["status"] for record in (*failed, *scored)] == ["skipped", "ok", "ok"]
    synthetic = make_run("none", "blended")
    assert shape(scored[0] | {"cost": {}}) == shape(synthetic | {"cost": {}})
    assert synthetic["cost"].keys() <= scored[0]["cost"].keys()
    assert [path.name for path in write_leaderboard(tmp_path / "results")] == [
        "unlearning.csv", "backdoor.csv", "backdoor_long.csv",
    ]  # fmt: skip
    wide = pd.read_csv(tmp_path / "results/leaderboards/backdoor.csv").set_index("defense")
    assert wide.loc["none", ["badnets_cured", "standing"]].tolist() == ["attack failed", "reference"]
    assert wide.loc["none", "der"] == 0.5
    assert wide.loc["finetune", "standing"] == "exploratory"
    long = pd.read_csv(tmp_path / "results/leaderboards/backdoor_long.csv").set_index(["defense", "attack"])
    row = long.loc[("finetune", "blended")]
    assert row["acc_gap"] == pytest.approx(scored[1]["metrics"]["acc_gap"], abs=1e-5)
    assert row["clean_images"] == scored[1]["sizes"]["clean_images"]
    assert long.loc[("none", "badnets"), "gate"].startswith("block 0: ")
    assert len(list(report(Leaderboards([*failed, *scored]), Leaderboards([]), failed))) == 2
