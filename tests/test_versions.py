"""A change of what is computed must come with a new version, or old records and cached models pass for new ones."""

import ast
import hashlib
import inspect
import json
import sys
import textwrap
from pathlib import Path

import pytest

from benchmark import api, models, seeding, training
from benchmark.data import augment, duplicates, groups, scenarios, splits, trivialaugment, units
from benchmark.registry import find, names
from metrics import accuracy, checks, membership, sampling, unlearning
from metrics.unlearning import METRICS

FILE = Path(__file__).parent / "versions.json"


def fingerprint(*things) -> str:
    """Hash of the code of modules, classes or functions: comments, docstrings and layout do not count."""
    trees = [ast.parse(textwrap.dedent(inspect.getsource(thing))) for thing in things]
    for node in (node for tree in trees for node in ast.walk(tree)):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                item for item in body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            ]
    return hashlib.sha256("\n".join(map(ast.unparse, trees)).encode()).hexdigest()[:16]


def present() -> dict[str, list[object]]:
    """What is cached or recorded under a version -> that version, and the fingerprint of the code behind it."""
    found = {}
    for name in names("unlearning"):
        plugin = find("unlearning", name)
        own = [sys.modules[cls.__module__] for cls in plugin.cls.__mro__ if cls.__module__.startswith("methods.")]
        found[f"method {name}"] = [plugin.info.version, fingerprint(*own)]
    drawn = (splits, scenarios, units, duplicates, groups)
    loop = (*drawn, training, models, augment, trivialaugment, seeding, api.Split, api.steps_per_epoch, api.derive_seed)
    found["training loop"] = [training.VERSION, fingerprint(*loop)]
    versions = {name: info.version for name, info in METRICS.items()}
    found["metrics"] = [versions, fingerprint(accuracy, membership, sampling, checks, unlearning)]
    return found


@pytest.mark.parametrize("what", sorted(present()))
def test_changed_code_has_a_new_version(what):
    hint = f"the code of {what} changed: raise its version if results can change, then `python -m tests.test_versions`"
    assert present()[what] == json.loads(FILE.read_text()).get(what), hint


if __name__ == "__main__":
    FILE.write_text(json.dumps(present(), indent=1, sort_keys=True) + "\n")
