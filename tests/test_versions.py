"""A change of what is computed must come with a new version, or old records and cached models pass for new ones."""

import ast
import hashlib
import inspect
import json
import sys
import textwrap
from pathlib import Path

import pytest

from benchmark import api, handout, models, seeding, training
from benchmark.audits import pool
from benchmark.audits import relearn as relearning
from benchmark.audits import representation as features
from benchmark.contracts import insertion
from benchmark.data import augment, duplicates, groups, poison, scenarios, splits, trivialaugment, units
from benchmark.registry import BUILT_IN, find, names
from benchmark.tracks import backdoor as backdoor_track
from benchmark.tracks import calls, poisoning, shared
from metrics import (
    accuracy,
    audit,
    backdoor,
    checks,
    distances,
    lira,
    membership,
    nearness,
    relearn,
    representation,
    rmia,
    sampling,
    scores,
    trigger,
    unlearning,
)  # fmt: skip
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


def behind(module, seen=()):
    """A plugin's module and the project's other plugin modules whose things it uses, in a fixed order."""
    found = {module.__name__: module}
    for thing in vars(module).values():
        name = str(getattr(thing, "__module__", ""))
        if name.startswith(("methods.", "attacks.")) and name not in (*seen, *found):
            found |= {each.__name__: each for each in behind(sys.modules[name], (*seen, *found))}
    return [found[name] for name in sorted(found)]


def present() -> dict[str, list[object]]:
    """What is cached or recorded under a version -> that version, and the fingerprint of the code behind it."""
    found = {}
    for kind, name in [(each, name) for each in BUILT_IN for name in names(each)]:
        plugin = find(kind, name)
        found[f"{kind} {name}"] = [plugin.info.version, fingerprint(*behind(sys.modules[plugin.cls.__module__]))]
    drawn = (splits, scenarios, units, duplicates, groups)
    loop = (*drawn, training, models, augment, trivialaugment, seeding, api.Split, api.steps_per_epoch, api.derive_seed)
    trained = (shared.trained, shared.surrogate)
    track = (backdoor_track.defense_handout, *trained, calls.made_by, handout)
    found["poisoning"] = [poison.VERSION, fingerprint(poison, poisoning, insertion, *track)]
    found["audit pool"] = [pool.VERSION, fingerprint(pool)]
    found["training loop"] = [training.VERSION, fingerprint(*loop)]
    versions = {name: info.version for name, info in (METRICS | backdoor.METRICS).items()}
    code = (accuracy, membership, sampling, checks, unlearning, backdoor, trigger, scores)
    found["metrics"] = [versions, fingerprint(*code)]
    versions = {name: info.version for name, info in audit.METRICS.items()}
    found["audit metrics"] = [versions, fingerprint(audit, lira, rmia, membership, checks)]
    versions = {name: info.version for name, info in nearness.METRICS.items()}
    found["nearness metrics"] = [versions, fingerprint(nearness, distances)]
    versions = {name: info.version for name, info in relearn.METRICS.items()}
    found["relearn metrics"] = [versions, fingerprint(relearn)]
    versions = {name: info.version for name, info in representation.METRICS.items()}
    found["representation metrics"] = [versions, fingerprint(representation)]
    found["features"] = [features.VERSION, fingerprint(features)]
    found["relearning"] = [relearning.VERSION, fingerprint(relearning)]
    return found


@pytest.mark.parametrize("what", sorted(present()))
def test_changed_code_has_a_new_version(what):
    hint = f"the code of {what} changed: raise its version if results can change, then `python -m tests.test_versions`"
    assert present()[what] == json.loads(FILE.read_text()).get(what), hint


if __name__ == "__main__":
    FILE.write_text(json.dumps(present(), indent=1, sort_keys=True) + "\n")
