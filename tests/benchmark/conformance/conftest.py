"""Methods written for a test, and what the checks say of them."""

from textwrap import indent

import pytest

from benchmark.conformance import check_method
from benchmark.registry import find

PLUGIN = """{doc}
import gc, os, time
from dataclasses import dataclass, field
import torch
from torch import nn
from benchmark.api import *

calls = []

class Odd(torch.Tensor):
    pass

@{marker}("mine", version=1{options})
@dataclass({dataclass})
class Mine:
{fields}
    def {function}:
{body}
"""
FUNCTIONS = {
    "unlearning_method": "unlearn(self, model, task)",
    "backdoor_defense": "defend(self, model, task)",
    "training_defense": "train(self, task)",
}
USUAL = {"doc": '"""Mine."""', "marker": "unlearning_method", "options": "", "dataclass": "frozen=True", "fields": ""}


@pytest.fixture
def plugin(tmp_path):
    """A plugin in a file of its own, from the body of its one function, and from whatever else is not as usual."""

    def make(body="return model", **different):
        text = USUAL | different
        text["fields"] = indent(text["fields"], " " * 4)
        path = tmp_path / "mine.py"
        path.write_text(PLUGIN.format(**text, function=FUNCTIONS[text["marker"]], body=indent(body, " " * 8)))
        return find("unlearning" if text["marker"] == "unlearning_method" else "defenses", "mine", path)

    return make


@pytest.fixture
def examine(plugin, short_recipe):
    """All findings on such a plugin, by name."""

    def go(body="return model", *, budget=None, **different):
        return {finding.name: finding for finding in check_method(plugin(body, **different), budget=budget)}

    return go
