"""What Weights & Biases is told of a run, that nobody else is told, and that no run depends on it."""

import io
import json
import logging
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from benchmark import tracking, training
from benchmark.config import identity
from benchmark.leaderboard.table import write_leaderboard
from benchmark.plan import Request, make_plan
from benchmark.runner import Outcome, run
from benchmark.store.artifacts import MANIFEST, ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.tracking import Careful, TrackedStore, Tracker, open_tracker
from benchmark.tracks.stored import LOSSES
from tests.benchmark.wandb_server import Server, entries, history, summary

HOME, KEY = Path.home(), 40 * "a"


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """A user who is not logged in."""
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield server
    server.stop()


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def track(mode, request, cache, results):
    """Runs a request as `medsafe run` does; the records, and what is said at the end."""
    with open_tracker(mode, results) as tracker:
        store, found = TrackedStore(cache, tracker), []
        for outcome in run(request, store, RecordStore(results), on_plan=tracker.start):
            tracker.record(outcome)
            found.append(outcome.record)
        write_leaderboard(results)
        return found, tracker.finish()


@pytest.fixture
def tracked(tiny_npz, results, cache, short_recipe):
    def go(mode, method="finetune", **changes):
        wanted = {"dataset": str(tiny_npz), "blocks": "1", **changes}
        return track(mode, Request(method, **wanted), cache, results)

    return go


@dataclass(frozen=True)
class Tracked:
    records: list
    results: Path
    file: Path
    connections: int
    said: str


@pytest.fixture(scope="module")
def offline(tiny_npz, tmp_path_factory):
    """Two blocks, tracked offline, with a server within reach whose address and key are known."""
    folder, server = tmp_path_factory.mktemp("offline"), Server()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.RECIPES, "cpu", replace(training.RECIPES["cpu"], epochs=2))
        patch.setenv("WANDB_BASE_URL", server.url)
        patch.setenv("WANDB_API_KEY", KEY)
        request = Request("finetune", dataset=str(tiny_npz), blocks="2", retrains=2)
        records, said = track("offline", request, folder / "cache", folder / "results")
    server.stop()
    return Tracked(records, folder / "results", logged(folder / "results"), server.connections, said)


@pytest.fixture
def plan(tiny_npz, cache, short_recipe):
    return make_plan(Request("finetune", dataset=str(tiny_npz), blocks="1"), ArtifactStore(cache))


def logged(results) -> Path:
    (file,) = results.glob("wandb/*/*.wandb")
    return file


def curves(file) -> dict[str, list[float]]:
    rows = [row for row in history(file) if "epoch" in row]
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    return {name: [row[name] for row in rows] for name in rows[0] if name.startswith("loss/")}


def test_the_history_of_an_offline_run_is_the_scores_of_its_records(offline):
    rows = [row for row in history(offline.file) if "run" in row]
    assert [row["run"] for row in rows] == [record["id"] for record in offline.records]
    for row, record in zip(rows, offline.records, strict=True):
        assert (row["status"], row["reason"], row["block"]) == ("ok", "", record["spec"]["block"])
        assert row["already_recorded"] is False
        scores = {"metrics": record["metrics"], "references/original": record["references"]["original"]}
        scores |= {f"references/retrain/{k}": each for k, each in enumerate(record["references"]["retrain"])}
        for part, values in scores.items():
            known = {name: value for name, value in values.items() if isinstance(value, float)}
            assert known == {name: row[f"{part}/{name}"] for name in known}
            assert {"ua", "ra", "ta"} <= known.keys()
            assert [row[f"{part}/sensitivity/{c}"] for c in range(8)] == values["sensitivity"]
        assert row["cost/flops_share"] == record["cost"]["flops_share"]


def test_its_summary_is_the_mean_over_blocks_and_the_number_of_statuses(offline):
    found = summary(offline.file)
    assert found["metrics/ta"] == {"mean": pytest.approx(sum(each["metrics"]["ta"] for each in offline.records) / 2)}
    assert found["statuses"] == {"ok": 2}


def test_its_config_is_what_the_runs_have_in_common(offline):
    (start,) = [entry.run for entry in entries(offline.file) if entry.WhichOneof("record_type") == "run"]
    config = {item.key: json.loads(item.value_json) for item in start.config.update}
    assert (config.pop("blocks"), config.pop("runs")) == ([0, 1], [record["id"] for record in offline.records])
    assert config.pop("environment") == offline.records[0]["environment"]
    config.pop("_wandb")
    assert config | {"block": 0} == json.loads(json.dumps(offline.records[0]["spec"]))
    assert (start.project, start.display_name) == ("medsafe-bench", "finetune, tiny-blood, random:0.1")


def test_its_last_row_is_the_leaderboard_as_a_table(offline):
    table = history(offline.file)[-1]
    content = json.loads((offline.file.parent / "files" / table["leaderboard/unlearning/path"]).read_text())
    shown = pd.DataFrame(content["data"], columns=content["columns"])
    expected = pd.read_csv(offline.results / "leaderboards" / "unlearning.csv")
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(shown.to_csv(index=False))), expected)


def test_it_holds_no_path_and_nothing_about_machine_and_user(offline):
    kinds = {entry.WhichOneof("record_type") for entry in entries(offline.file)}
    assert kinds.isdisjoint({"environment", "stats", "output", "output_raw", "artifact"})
    assert {entry.run.host for entry in entries(offline.file)} == {""}
    words = private_words(offline.results)
    for file in (file for file in offline.results.glob("wandb/**/*") if file.is_file()):
        assert not [word for word in words if word.encode() in file.read_bytes()], file


def private_words(results):
    return [str(results), str(HOME), str(Path.home()), str(Path.cwd()), sys.executable, sys.argv[0], KEY]


def test_it_asks_no_server(offline):
    assert offline.connections == 0


def test_the_command_that_it_names_uploads_it_and_no_path(offline, server, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    about, _, command = offline.said.rpartition(": ")
    assert about == "tracked offline; to upload it"
    subprocess.run(command, shell=True, check=True, capture_output=True, timeout=60)
    sent = "\n".join(server.sent)
    assert f'\\"metrics/ua\\":{offline.records[0]["metrics"]["ua"]}' in sent
    assert not [word for word in [*private_words(offline.results), "otel"] if word in sent]


def test_training_curves_are_those_of_the_cache_whether_a_model_was_trained_or_found(tracked, results, cache):
    (record,), _ = tracked("offline", retrains=1)
    names = {"original": "original", "retrain 0": "retrain_0"}
    stored = {
        f"loss/block_0/{name}": ArtifactStore(cache).find(record["artifacts"][key]).metadata[LOSSES]
        for key, name in names.items()
    }
    assert all(len(losses) == 2 and losses[1] < losses[0] for losses in stored.values())
    first = logged(results)
    assert curves(first) == stored
    first.unlink()
    tracked("offline", "original", retrains=1)
    assert curves(logged(results)) == stored


def test_a_backdoor_run_shows_the_curves_of_clean_model_oracle_and_backdoored_model_and_why_it_was_skipped(
    tracked, results
):
    (record,), _ = tracked("offline", "none", attack="badnets")
    assert record["status"] == "skipped"  # two epochs teach no trigger
    found = curves(logged(results))
    assert sorted(found) == [f"loss/block_0/{name}" for name in ("backdoored", "oracle", "original")]
    assert len({tuple(losses) for losses in found.values()}) == 3
    (row,) = [row for row in history(logged(results)) if "run" in row]
    assert (row["status"], row["reason"]) == ("skipped", record["reason"])
    assert row["gate/passed"] is False


def test_a_record_of_a_tracked_run_is_that_of_an_untracked_one_and_holds_no_curve(tracked, results, cache):
    (seen,), _ = tracked("offline", "salun", retrains=1)
    for path in results.rglob("records/*/*/*.json"):
        path.unlink()
    ArtifactStore(cache).clear()
    (alone,), said = tracked("off", "salun", retrains=1)
    assert said is None
    for record in (seen, alone):
        assert record["cost"].keys() == {"flops", "seconds", "flops_share", "original", "retrain_seconds"}
        assert record["cost"]["original"].keys() == {"flops", "seconds"}
        for cost in (record, record["cost"], record["cost"]["original"]):
            for clock in ("seconds", "retrain_seconds", "created"):
                cost.pop(clock, None)
    assert seen == alone


def test_models_of_a_cache_without_curves_are_used_and_have_none(tracked, results, cache):
    (before,), _ = tracked("off", retrains=1)
    for path in cache.glob(f"*/{MANIFEST}"):
        manifest = json.loads(path.read_text())
        manifest["metadata"].pop(LOSSES, None)
        del manifest["sha256"]
        path.write_text(json.dumps(manifest | {"sha256": identity(manifest)}))
    (record,), _ = tracked("offline", "original", retrains=1)
    assert (record["status"], record["references"]) == ("ok", before["references"])
    assert not [row for row in history(logged(results)) if "epoch" in row]


def test_online_the_same_is_sent_to_the_server(tracked, results, server):
    (record,), said = tracked("online", retrains=1)
    assert said.startswith(f"tracked: {server.url}/somebody/medsafe-bench/runs/")
    sent = "\n".join(server.sent)
    assert record["id"] in sent
    assert f'\\"metrics/ua\\":{record["metrics"]["ua"]}' in sent
    assert "loss/block_0/retrain_0" in sent
    assert "p_vs_finetune" in sent  # the leaderboard's table
    assert not [word for word in private_words(results) if word in sent]


def warnings_in(caplog):
    """What a user sees: wandb's own are for its log file."""
    seen = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    return [entry.getMessage() for entry in seen if not entry.name.startswith("wandb")]


def test_a_server_out_of_reach_is_one_warning_and_the_run_is_tracked_offline(
    tracked, results, server, monkeypatch, caplog
):
    server.stop()  # its port is closed now
    monkeypatch.setitem(tracking.PATIENCE, "init_timeout", 2)
    started = time.monotonic()
    (record,), said = tracked("online", retrains=1)
    assert time.monotonic() - started < 30
    (warning,) = warnings_in(caplog)
    assert "connection refused: tracked offline" in warning
    folder = logged(results).parent
    assert said.endswith(f" wandb sync {folder}")
    assert history(logged(results))[-2]["run"] == record["id"]
    assert list(results.glob("wandb/*")) == [folder]  # nothing is left of the attempt


def test_somebody_who_is_not_logged_in_is_told_how_and_asked_nothing(tracked, caplog):
    (record,), said = tracked("online", retrains=1)
    (warning,) = warnings_in(caplog)
    assert "`wandb login`" in warning
    assert record["status"] == "ok"
    assert said.startswith("tracked offline")


def test_a_server_that_is_lost_on_the_way_is_one_warning(plan, results, server, monkeypatch, caplog):
    monkeypatch.setitem(tracking.PATIENCE, "finish_timeout", 1)
    with open_tracker("online", results) as tracker:
        tracker.start(plan)
        assert server.connections
        server.stop()
        tracker.record(outcome())
        assert tracker.finish() is None
    assert len(warnings_in(caplog)) == 1
    assert any(row.get("run") == "a run" for row in history(logged(results)))


def outcome(**metrics):
    record = {"id": "a run", "spec": {"block": 0}, "status": "ok", "reason": None, "metrics": metrics}
    return Outcome(record, reused=False)


def test_a_full_disk_is_one_warning(plan, results, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_tracker("offline", results) as tracker:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
        try:
            tracker.start(plan)  # wandb's process inherits the limit
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        for _ in range(3):
            tracker.record(outcome(**{f"metric_{index}": index / 7 for index in range(2000)}))
        assert tracker.finish() is None
    (warning,) = warnings_in(caplog)
    assert "file too large: no longer tracked" in warning


def test_a_folder_that_cannot_be_made_is_one_warning(tracked, results, caplog):
    results.mkdir()
    (results / "wandb").touch()
    (record,), said = tracked("offline", retrains=1)
    assert (record["status"], said) == ("ok", None)
    (warning,) = warnings_in(caplog)
    assert "File exists" in warning


@pytest.mark.parametrize("broken", ["start", "trained", "record", "finish", "close"])
def test_whatever_a_tracker_raises_is_one_warning_after_which_it_is_told_nothing(broken, caplog):
    told = []

    def method(name):
        def call(*_):
            told.append(name)
            if name == broken:
                raise ValueError("first line\nsecond line")

        return call

    names = ["start", "trained", "record", "finish", "close"]
    tracker = Careful(SimpleNamespace(**{name: method(name) for name in names}))
    tracker.start(None)
    tracker.trained({}, None)
    tracker.record(None)
    assert tracker.finish() is None
    tracker.close()
    place = names.index(broken) + 1
    assert told == [*names[:place], "close"]  # it may tidy up once more
    (warning,) = warnings_in(caplog)
    assert warning.startswith("wandb: ValueError: first line: no longer tracked")


def test_a_command_that_fails_leaves_a_run_that_can_be_read(plan, results):
    with pytest.raises(KeyboardInterrupt), open_tracker("offline", results) as tracker:
        tracker.start(plan)
        tracker.record(outcome(ua=0.5))
        raise KeyboardInterrupt
    assert history(logged(results))[-1]["metrics/ua"] == 0.5
    (end,) = [entry.exit for entry in entries(logged(results)) if entry.WhichOneof("record_type") == "exit"]
    assert end.exit_code == 1


def test_without_tracking_wandb_is_not_even_imported(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with open_tracker("off", results) as tracker:
        assert type(tracker) is Tracker
