"""A template works as it stands, under whatever name it is given."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.conformance import check_method
from benchmark.data.datasets import load_dataset
from benchmark.errors import MedsafeError
from benchmark.registry import find
from benchmark.templates import KINDS, write_template

METHODS = [kind for kind in KINDS if kind != "attack"]


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_from_a_template_keeps_the_contract(kind, tmp_path, short_recipe):
    plugin = find(KINDS[kind], "my_method", write_template(kind, "my_method", tmp_path))
    assert [finding for finding in check_method(plugin) if finding.outcome in ("fail", "warning")] == []


def test_an_attack_from_a_template_changes_every_image_and_nothing_else(tmp_path):
    plugin = find("attacks", "corner", write_template("attack", "corner", tmp_path))
    images = load_dataset("bloodmini").images[:50]
    before = images.clone()
    stamped = plugin.configure("published", {}).stamp(images)
    assert (stamped.dtype, stamped.shape) == (images.dtype, images.shape)
    assert (stamped != images).flatten(1).any(dim=1).all()
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_takes_its_name_and_leaves_nothing_of_the_old_one(kind, tmp_path):
    path = write_template(kind, "forget_me_not", tmp_path / "new")
    assert path == tmp_path / "new" / "forget_me_not.py"
    text = path.read_text()
    assert "my_method" not in text
    assert "MyMethod" not in text
    assert find(KINDS[kind], "forget_me_not", path).cls.__name__ == "ForgetMeNot"


@pytest.mark.parametrize("name", ["3sigma", "_", "none_at_all", "unlearning_task", "true", "tensor", "x" * 60])
@pytest.mark.parametrize("kind", KINDS)
def test_every_name_that_is_accepted_gives_a_plugin(kind, name, tmp_path):
    assert find(KINDS[kind], name, write_template(kind, name, tmp_path)).cls().__class__.__name__.isidentifier()


@pytest.mark.parametrize("kind", METHODS)
def test_the_commented_options_of_a_template_work_when_uncommented(kind, tmp_path):
    path = write_template(kind, "mine", tmp_path)
    options = ("presets=", "source_sizes=", "data_free=")
    lines = path.read_text().splitlines()
    lines = [
        line.replace("# ", "", 1) if line.strip().startswith(tuple(f"# {o}" for o in options)) else line
        for line in lines
    ]
    path.write_text("\n".join(lines))
    plugin = find(KINDS[kind], "mine", path)
    sizes = {"unlearning": (10, 90), "defense": (10,), "training-defense": None}[kind]
    assert set(plugin.info.presets) == {"published", "gentle"} | ({"scaled"} if sizes else set())
    for preset in plugin.info.presets:
        assert plugin.configure(preset, {}, sizes) is not None


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("My-Method", "use lower-case letters"), ("", "use lower-case letters"), ("../x", "use lower-case letters"),
        ("a\n", "use lower-case letters"), ("é", "use lower-case letters"), ("class", "is a word of Python"),
        ("salun", "is taken"), ("sau", "is taken"), ("finetune", "is taken"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", METHODS)
def test_a_name_that_cannot_be_used_is_refused_and_nothing_written(kind, name, answer, tmp_path):
    with pytest.raises(MedsafeError, match=answer) as error:
        write_template(kind, name, tmp_path)
    assert "\n" not in str(error.value).replace(name, "")
    assert list(tmp_path.iterdir()) == []


def test_an_attack_may_be_called_like_a_method_but_not_like_an_attack(tmp_path):
    assert write_template("attack", "salun", tmp_path).name == "salun.py"
    with pytest.raises(MedsafeError, match="is taken"):
        write_template("attack", "badnets", tmp_path)


def test_a_file_that_is_there_stays_as_it_is(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("precious")
    with pytest.raises(MedsafeError, match="exists and is not overwritten"):
        write_template("unlearning", "mine", tmp_path)
    assert path.read_text() == "precious"


def test_an_unknown_kind_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(MedsafeError, match="unknown kind of method 'defence': did you mean 'defense'"):
        write_template("defence", "mine", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_written_template_satisfies_the_projects_own_linter(kind, tmp_path):
    path = write_template(kind, "a_method_with_a_much_longer_name", tmp_path)
    assert ast.get_docstring(ast.parse(path.read_text()))
    settings = Path(__file__).parents[2] / "pyproject.toml"
    command = [sys.executable, "-m", "ruff", "check", "--config", str(settings), str(path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout
