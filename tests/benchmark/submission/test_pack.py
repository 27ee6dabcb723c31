"""What is packed, what stays behind, and that a submission is complete or not there."""

import json
import shutil

import pytest

from benchmark.errors import MedsafeError
from benchmark.leaderboard.table import write_leaderboard
from benchmark.store.records import RecordStore, as_json
from benchmark.submission.contents import read_submission
from benchmark.submission.pack import Claim, pack
from benchmark.submission.verification import digest_of, marked, verified
from tests.benchmark.store.traps import Trap, full_disk, in_a_child, killed, moments_of
from tests.benchmark.submission.conftest import files_of, paths_of

CLAIM = Claim("finetune", "Forgets little.", link="https://example.org/paper")


@pytest.fixture
def results(computed):
    """Two blocks of fine-tuning."""
    return computed(blocks="2", retrains=1, scenario="random:0.1", results="two blocks")


def refusal(claim, results, output) -> str:
    with pytest.raises(MedsafeError) as error:
        pack(claim, results, output)
    assert not output.exists()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_submission_holds_manifest_records_and_leaderboards(results, tmp_path):
    packed = pack(CLAIM, results, tmp_path / "new" / "submission")
    folder = packed.submission.folder
    assert {path.relative_to(folder): path.read_bytes() for path in paths_of(folder)} == {
        path.relative_to(results): path.read_bytes() for path in paths_of(results)
    }
    manifest = json.loads((folder / "submission.json").read_text())
    (environment,) = manifest.pop("environments")
    assert (environment["device"], environment["threads"]) == ("cpu", 1)
    assert manifest == {
        "schema": 1,
        "method": {"kind": "unlearning", "name": "finetune", "version": "1"},
        "claim": "Forgets little.",
        "link": "https://example.org/paper",
        "code": None,
        "records": {record["id"]: digest_of(record) for record in RecordStore(results)},
    }
    write_leaderboard(results)
    assert files_of(folder / "leaderboards") == files_of(results / "leaderboards")
    assert [path.name for path in tmp_path.joinpath("new").iterdir()] == ["submission"]


def test_the_same_results_give_the_same_bytes(results, tmp_path):
    first, second = (pack(CLAIM, results, tmp_path / name).submission.folder for name in ("first", "second"))
    assert files_of(first) == files_of(second)


def test_what_is_there_already_is_never_overwritten(results, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(MedsafeError, match="exists: choose another with --output"):
        pack(CLAIM, results, tmp_path / "taken")
    assert not list((tmp_path / "taken").iterdir())


def test_nobody_verifies_himself(results, tmp_path):
    shutil.copytree(results, tmp_path / "results")
    for record in list(RecordStore(tmp_path / "results")):
        RecordStore(tmp_path / "results").write(marked(record, "bitwise", {}))
    assert all(map(verified, RecordStore(tmp_path / "results")))
    own, honest = (
        pack(CLAIM, each, tmp_path / str(n)).submission for n, each in enumerate([tmp_path / "results", results])
    )
    assert files_of(own.folder) == files_of(honest.folder)


def test_custom_rows_stay_behind_with_a_word_and_failed_runs_do_not(computed, plugin_file, tmp_path):
    file = plugin_file("raise RuntimeError('as ever')")
    computed("mine", plugin=file, blocks="1", retrains=1, results="mixed")
    results = computed("finetune", parameters={"lr": "0.5"}, blocks="1", retrains=1, results="mixed")
    computed("finetune", blocks="1", retrains=1, results="mixed")
    packed = pack(Claim("finetune", "Ours."), results, tmp_path / "finetune")
    assert packed.left_out == {"custom hyper-parameters": 1}
    assert [record["spec"]["method"]["preset"] for record in packed.submission.records] == ["published"]
    packed = pack(Claim("mine", "Ours.", plugin=file), results, tmp_path / "mine")
    assert [record["status"] for record in packed.submission.records] == ["error"]


def test_with_custom_rows_alone_there_is_nothing_to_submit(computed, tmp_path):
    results = computed("finetune", parameters={"lr": "0.5"}, blocks="1", retrains=1, results="custom")
    assert "can be submitted: 1 × custom hyper-parameters" in refusal(CLAIM, results, tmp_path / "s")


def test_without_records_there_is_nothing_to_submit(results, tmp_path):
    assert "has no record of 'salun': run it first" in refusal(Claim("salun", "x"), results, tmp_path / "s")
    assert "has no record of 'finetune'" in refusal(CLAIM, tmp_path / "nowhere", tmp_path / "s")


def test_one_preset_can_be_chosen(computed, tmp_path):
    for preset in ("published", "scaled"):
        results = computed(preset=preset, blocks="1", retrains=1, results="presets")
    packed = pack(Claim("finetune", "Scaled.", preset="scaled"), results, tmp_path / "scaled")
    assert [record["spec"]["method"]["preset"] for record in packed.submission.records] == ["scaled"]
    assert packed.left_out == {"another preset": 1}
    assert len(pack(CLAIM, results, tmp_path / "both").submission.records) == 2


def test_a_name_that_means_two_things_has_to_be_told_apart(computed, tmp_path):
    computed(blocks="1", retrains=1, results="two kinds")
    results = computed(attack="clean", blocks="1", results="two kinds")
    assert "as defenses and as unlearning: choose one with --kind" in refusal(CLAIM, results, tmp_path / "s")
    packed = pack(Claim("finetune", "A defence.", kind="defenses"), results, tmp_path / "defence")
    assert [record["spec"]["track"] for record in packed.submission.records] == ["backdoor"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": ""}, "submission.json: claim: "),
        ({"text": "two\nlines"}, "cannot be printed"),
        ({"link": "example.org"}, "submission.json: link: "),
    ],
)
def test_a_claim_that_breaks_the_schema_is_refused_before_anything_is_there(results, tmp_path, changes, said):
    claim = Claim(**{"method": "finetune", "text": "Fine."} | changes)
    assert said in refusal(claim, results, tmp_path / "s")
    assert not list(tmp_path.glob(".s*"))


def test_a_record_of_old_metrics_is_refused_with_the_way_out(results, tmp_path):
    shutil.copytree(results, tmp_path / "results")
    path = paths_of(tmp_path / "results")[0]
    record = json.loads(path.read_text())
    record["declarations"]["ua"]["version"] = 0
    path.write_bytes(as_json(record))
    said = refusal(CLAIM, tmp_path / "results", tmp_path / "s")
    assert path.name in said
    assert "run `medsafe rescore`" in said


def test_a_plugins_file_goes_along(mine, tmp_path):
    file, results = mine
    assert "name it with --plugin" in refusal(Claim("mine", "Mine."), results, tmp_path / "s")
    assert "does not exist" in refusal(Claim("mine", "Mine.", plugin=tmp_path / "no.py"), results, tmp_path / "s")
    submission = pack(Claim("mine", "Mine.", plugin=file), results, tmp_path / "mine").submission
    assert submission.plugin is not None
    assert submission.plugin.read_bytes() == file.read_bytes()
    assert submission.manifest["code"]["sha256"].startswith(submission.manifest["method"]["version"].partition("+")[2])


def test_only_the_records_of_the_file_as_it_is_are_handed_in(computed, plugin_file, tmp_path):
    old, new = plugin_file("return task.fresh_model()"), plugin_file("return model.eval()")
    computed("mine", plugin=old, blocks="1", retrains=1, results="states")
    results = computed("mine", plugin=new, blocks="1", retrains=1, results="states")
    packed = pack(Claim("mine", "Mine.", plugin=new), results, tmp_path / "new")
    assert len(packed.submission.records) == 1
    assert list(packed.left_out) == [f"version {_version(results, packed)}, and the code is now "
                                     f"{packed.submission.manifest['method']['version']}: run it again"]  # fmt: skip
    new.write_text(new.read_text() + "# better\n")
    assert "run it again" in refusal(Claim("mine", "Mine.", plugin=new), results, tmp_path / "s")


def _version(results, packed):
    versions = {record["spec"]["method"]["version"] for record in RecordStore(results)}
    return (versions - {packed.submission.manifest["method"]["version"]}).pop()


def test_a_failing_disk_leaves_nothing_half_written(results, tmp_path):
    moments = len(moments_of(lambda: pack(CLAIM, results, tmp_path / "counted")))
    for at in _some(moments):
        with pytest.raises((OSError, MedsafeError), match="No space left"), Trap(at, full_disk).set():
            pack(CLAIM, results, tmp_path / "s")
        left = {path.name for path in tmp_path.iterdir()} - {"counted"}
        assert left <= {"s"}
        if left:  # the disk failed after the rename
            assert len(read_submission(tmp_path / "s").records) == 2
            shutil.rmtree(tmp_path / "s")


def test_a_process_that_is_killed_leaves_a_whole_submission_or_none(results, tmp_path):
    moments = len(moments_of(lambda: pack(CLAIM, results, tmp_path / "counted")))
    whole = 0
    for at in _some(moments):
        output = tmp_path / f"killed at {at}"
        trap = Trap(at, killed)

        def packing(output=output, trap=trap):
            with trap.set():
                pack(CLAIM, results, output)

        assert in_a_child(packing) < 0
        if output.exists():
            assert len(read_submission(output).records) == 2
            whole += 1
    assert 0 < whole < len(_some(moments))


def _some(moments: int) -> list[int]:
    """A few of the moments, and all of the last: the rename is among them."""
    return sorted({*range(0, moments, max(1, moments // 5)), *range(moments - 4, moments)})
