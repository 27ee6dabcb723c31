"""`medsafe new-method` and `medsafe check-method`, as their user sees them."""

import shlex
from pathlib import Path

import pytest

from benchmark.conformance import CHECKS
from tests.helpers import records


def outcome(said, check):
    """The second column of a check's row."""
    (row,) = [line for line in said.out.splitlines() if line.startswith(check.replace("_", " "))][:1]
    return row.removeprefix(check.replace("_", " ")).split()[0]


def commands(said):
    """The commands that the output proposes, as words after `medsafe`."""
    lines = [line.partition(":")[2] for line in said.out.splitlines() if line.startswith(("check it:", "run it:"))]
    return [shlex.split(line)[1:] for line in lines]


def test_a_built_in_method_is_checked_in_this_process(medsafe, short_recipe):
    said = medsafe("check-method", "--method", "salun")
    assert said.code == 0, said.err
    assert {outcome(said, check.name) for check in CHECKS} == {"pass", "skipped"}
    assert "salun: 18 pass, 2 skipped" in said.out


@pytest.mark.slow
def test_a_new_method_is_checked_and_run_by_the_commands_that_come_with_it(medsafe, tiny_npz, short_recipe):
    said = medsafe("new-method", "my_method", "--kind", "unlearning")
    assert said.out.startswith("wrote my_method.py\n")
    check, run = commands(said)
    checked = medsafe(*check)
    assert checked.code == 0, checked.out
    assert "my_method: 18 pass, 2 skipped" in checked.out
    ran = medsafe(*run, "--dataset", tiny_npz, "--blocks", 1, "--retrains", 1, "--threads", 1)
    assert ran.code == 0, ran.err
    assert [record["status"] for record in records()] == ["ok"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["defense", "training-defense", "attack"])
def test_other_kinds_run_by_the_commands_that_come_with_them(medsafe, tiny_npz, short_recipe, kind):
    *_, run = commands(medsafe("new-method", "mine", "--kind", kind, "--output", "a folder"))
    ran = medsafe(*run, "--dataset", tiny_npz, "--blocks", 1, "--threads", 1)
    assert ran.code == 0, ran.err
    (record,) = records()
    assert record["status"] == "ok" or record["reason"].startswith("attack failed: ASR")
    assert "asr" in record["references"]["backdoored"]


def test_a_broken_contract_ends_in_exit_code_1_with_what_was_asked(medsafe, plugin, short_recipe):
    path = plugin("task.forget.labels.zero_(); return model")
    said = medsafe("check-method", "--method", "mine", "--plugin", path)
    assert said.code == 1
    assert outcome(said, "leaves_the_data_alone") == "fail"
    assert outcome(said, "leaves_the_process_alone") == "pass"
    assert "leaves the data alone: It writes to none of the images" in said.out
    assert "mine: 16 pass, 1 warning, 1 fail, 2 skipped" in said.out


@pytest.mark.slow
def test_markup_in_a_plugins_words_is_shown_as_it_is(medsafe, plugin, short_recipe):
    path = plugin("raise ValueError('[red]no[/red] \\x1b[31m')")
    said = medsafe("check-method", "--method", "mine", "--plugin", path)
    assert said.code == 1
    assert "[red]no[/red]" in said.out
    assert "\x1b" not in said.out


@pytest.mark.slow
@pytest.mark.parametrize("body", ["import os; os._exit(0)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_plugin_whose_process_dies_fails_and_what_was_found_before_is_shown(medsafe, plugin, body):
    said = medsafe("check-method", "--method", "mine", "--plugin", plugin(body))
    assert said.code == 1
    assert outcome(said, "hyperparameters_are_frozen") == "pass"
    assert outcome(said, "comes_to_an_end") == "fail"


def test_the_kind_decides_between_two_methods_of_one_name(medsafe, short_recipe):
    said = medsafe("check-method", "--method", "finetune", "--kind", "defense")
    assert "32 colour images" in " ".join(said.out.split())
    assert said.code == 0


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("--method", "salum"), "unknown method 'salum': did you mean 'salun'?"),
        (("--method", "salun", "--plugin", "nowhere.py"), "plugin file 'nowhere.py' does not exist"),
        (("--method", "salun", "--kind", "defence"), "unknown kind of method 'defence': did you mean 'defense'?"),
        (("--method", "badnets", "--kind", "attack"), "there are checks for methods and defences alone"),
        (("--method", "salun", "--threads", "0"), "threads 0: at least 1 is needed"),
    ],
)
def test_bad_input_is_answered_in_one_line(medsafe, words, answer):
    said = medsafe("check-method", *words)
    assert (said.code, said.out) == (2, "")
    assert answer in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", ["salun", "class", "My-Method"])
def test_a_name_that_cannot_be_used_is_refused_in_one_line(medsafe, name):
    said = medsafe("new-method", name)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"medsafe: name '{name}'")
    assert said.err.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_a_method_is_not_written_twice(medsafe):
    assert medsafe("new-method", "mine").code == 0
    Path("mine.py").write_text("edited")
    said = medsafe("new-method", "mine")
    assert (said.code, Path("mine.py").read_text()) == (2, "edited")
