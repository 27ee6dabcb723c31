"""`medsafe submit` and `medsafe verify`: the line that each ends with, and its exit code."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmark.store.records import as_json
from tests.helpers import records

FOLDER = Path("submissions/finetune")


@pytest.fixture
def submitted(run, medsafe):
    """A submission of one run."""
    run()
    return medsafe("submit", "--method", "finetune", "--claim", "Forgets little.")


def record_of(folder) -> Path:
    (path,) = folder.rglob("records/**/*.json")
    return path


def test_submit_says_what_it_wrote_and_what_comes_next(submitted):
    assert submitted.code == 0, submitted.err
    wrote, following = submitted.out.splitlines()
    assert wrote == "wrote submissions/finetune: 1 record in 1 row; runs that are not ok: 0"
    assert "open a pull request that adds submissions/finetune" in following
    assert "`medsafe verify submissions/finetune`" in following


def test_a_submission_is_a_folder_of_results(submitted, medsafe):
    said = medsafe("leaderboard", "--results", FOLDER)
    assert said.code == 0
    assert "finetune" in said.out


def test_verify_computes_it_again_and_marks_the_row(submitted, medsafe, tiny_npz):
    said = medsafe("verify", FOLDER, "--dataset", tiny_npz, "--seed", 7)
    assert said.code == 0, said.err
    (record,) = records(str(FOLDER / "records"))
    assert f"finetune on tiny-blood, random:0.1, block 0 ({record['id']}): agrees, bitwise" in said.out
    assert "verified: 1 of 1 records computed again (seed 7)" in said.out
    assert record["verification"]["environment"] == record["environment"]
    assert pd.read_csv(FOLDER / "leaderboards" / "unlearning.csv")["verified"].item() == 1


@pytest.mark.parametrize(("words", "marks"), [((), 0), (("--verified",), 1)], ids=["unseen", "vouched for"])
def test_marks_are_published_only_by_who_says_that_they_are_his(submitted, medsafe, tiny_npz, words, marks):
    medsafe("verify", FOLDER, "--dataset", tiny_npz)
    medsafe("publish", "--results", FOLDER, "--published", "published", *words)
    assert pd.read_csv("published/leaderboards/unlearning.csv")["verified"].item() == marks


def test_a_new_seed_is_drawn_where_none_is_given_and_it_is_said(submitted, medsafe, tiny_npz):
    said = [medsafe("verify", FOLDER, "--dataset", tiny_npz, "--reuse-cache").out for _ in range(2)]
    assert said[0] != said[1]
    assert all("(seed " in each for each in said)


@pytest.mark.slow
def test_another_number_of_threads_is_another_environment(submitted, medsafe, tiny_npz):
    said = medsafe("verify", FOLDER, "--dataset", tiny_npz, "--threads", 2)
    assert said.code == 0, said.out
    assert "agrees, " in said.out
    assert "threads 1 there, 2 here" in said.out


def test_a_difference_is_one_line_and_exit_code_1(submitted, medsafe, tiny_npz):
    path = record_of(FOLDER)
    record = json.loads(path.read_text())
    record["metrics"]["ta"] = 0.123
    path.write_bytes(as_json(record))
    said = medsafe("verify", FOLDER, "--dataset", tiny_npz)
    assert (said.code, said.err) == (1, "")
    assert said.out.startswith(f"NOT verified: submission.json: records.{record['id']}: ")
    assert said.out.count("\n") == 1


def test_what_cannot_be_verified_here_is_one_line_and_exit_code_2(submitted, medsafe, tiny_npz):
    for words, answer in [
        ((), "not here: get it from whom submitted them, and name it with --dataset FILE"),
        (("--dataset", "no.npz"), "data file 'no.npz' does not exist"),
        (("--dataset", tiny_npz, "--device", "cuda"), "records in fp32 are verified on cpu, not on cuda"),
        (("--dataset", tiny_npz, "--runs", 0), "--runs and --threads take at least 1"),
        (("--dataset", tiny_npz, "--threads", 0), "--runs and --threads take at least 1"),
        (("--dataset", tiny_npz, "--plugin", "mine.py"), "plugin file 'mine.py' does not exist"),
    ]:
        said = medsafe("verify", FOLDER, *words)
        assert (said.code, said.out) == (2, ""), answer
        assert answer in said.err
        assert said.err.count("\n") == 1


def test_submit_refuses_in_one_line(submitted, medsafe):
    for words, answer in [
        ((), "output folder 'submissions/finetune' exists"),
        (("--output", "x", "--method", "salun"), "'results/local' has no record of 'salun'"),
        (("--output", "x", "--results", "nowhere"), "'nowhere' has no record of 'finetune'"),
        (("--output", "x", "--plugin", "no.py"), "plugin file 'no.py' does not exist"),
    ]:
        said = medsafe("submit", "--method", "finetune", "--claim", "Again.", *words)
        assert (said.code, said.out) == (2, ""), answer
        assert answer in said.err
        assert said.err.count("\n") == 1
    assert not Path("x").exists()


@pytest.mark.slow
def test_a_plugin_is_submitted_and_verified_in_a_process_of_its_own(run, medsafe, plugin, tiny_npz):
    file = plugin("return model")
    run("mine", "--plugin", file)
    said = medsafe("submit", "--method", "mine", "--claim", "Does nothing.", "--plugin", file)
    assert said.code == 0, said.err
    command = "verify submissions/mine --plugin submissions/mine/plugin.py"
    assert f"`medsafe {command}`" in said.out
    assert "read 'submissions/mine/plugin.py', then add --plugin" in medsafe("verify", "submissions/mine").err
    said = medsafe(*command.split(), "--dataset", tiny_npz, "--no-sandbox")
    assert said.code == 0, said.err
    assert "agrees, bitwise" in said.out
    (record,) = records("submissions/mine/records")
    assert record["verification"]["environment"]["isolation"] == "process"
