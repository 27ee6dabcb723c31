"""The command in this process, in a folder of its own."""

import sys

import pytest

from benchmark import cli
from tests.benchmark.cli.said import Said


@pytest.fixture
def medsafe(monkeypatch, capsys, tmp_path):
    """Runs the command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["medsafe", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        printed = capsys.readouterr()
        return Said(stop.value.code or 0, printed.out, printed.err)

    return call


@pytest.fixture
def run(medsafe, tiny_npz, short_recipe):
    """`medsafe run` on the tiny data set: one block, one Retrain, two epochs."""

    def call(method="finetune", *words: object) -> Said:
        return medsafe("run", "--method", method, "--dataset", tiny_npz, "--blocks", 1, "--retrains", 1, *words)

    return call


PLUGIN = """
import torch
from dataclasses import dataclass
from pathlib import Path
from benchmark.api import Diverged, MedsafeError, unlearning_method

calls = []

@unlearning_method("{name}", version=1)
@dataclass(frozen=True)
class Mine:
    def unlearn(self, model, task):
        {body}
"""


@pytest.fixture
def plugin(tmp_path):
    def write(body, name="mine"):
        path = tmp_path / f"{name}.py"
        path.write_text(PLUGIN.format(name=name, body=body))
        return path

    return write
