"""A change of what a method or the training loop computes must come with a new version, or old records pass for new ones."""

import ast
import hashlib
import json
from pathlib import Path

import pytest

from benchmark import training
from benchmark.registry import find, names

ROOT = Path(__file__).parent.parent
KNOWN = json.loads((Path(__file__).parent / "versions.json").read_text())


def fingerprint(path: Path) -> str:
    """Hash of a module's code: comments, docstrings and layout do not count."""
    tree = ast.parse((ROOT / path).read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                item for item in body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            ]
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def present() -> dict[str, list[object]]:
    """File -> version and fingerprint, of everything whose output is cached or recorded under a version."""
    versions = {f"methods/unlearning/{name}.py": find("unlearning", name).info.version for name in names("unlearning")}
    trained = (
        "benchmark/training.py",
        "benchmark/data/augment.py",
        "benchmark/data/trivialaugment.py",
        "benchmark/models.py",
    )
    versions |= dict.fromkeys(trained, training.VERSION)
    return {path: [version, fingerprint(Path(path))] for path, version in versions.items()}


@pytest.mark.parametrize("path", sorted(present()))
def test_changed_code_has_a_new_version(path):
    found = present()[path]
    hint = f"{path} changed: raise its version if results can change, then run `python -m tests.test_versions`"
    assert found == KNOWN.get(path), hint


def test_no_file_is_forgotten():
    assert present().keys() == KNOWN.keys()


if __name__ == "__main__":
    (Path(__file__).parent / "versions.json").write_text(json.dumps(present(), indent=1, sort_keys=True) + "\n")
