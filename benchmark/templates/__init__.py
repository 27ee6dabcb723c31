"""A method's file to begin with: the templates beside this module, and how one becomes somebody's own."""

import keyword
import re
from pathlib import Path

from benchmark.errors import MedsafeError, unknown
from benchmark.registry import names
from benchmark.store.files import write_atomically

KINDS = {"unlearning": "unlearning", "defense": "defenses", "training-defense": "defenses", "attack": "attacks"}
"""What there is a template for -> the plugin's kind."""
NAME, CLASS = "my_method", "MyMethod"
"""What the templates call themselves."""


def write_template(kind: str, name: str, folder: Path) -> Path:
    """Write `<name>.py`, a plugin that works as it stands; returns its path.

    Raises:
        MedsafeError: no such kind, a name that cannot be used, or a file that is already there.
    """
    _check_name(name, kind_named(kind))
    path = folder / f"{name}.py"
    if path.exists():
        raise MedsafeError(f"'{path}' exists and is not overwritten: choose another name or --output")
    template = Path(__file__).with_name(f"{kind.replace('-', '_')}.py").read_text()
    text = template.replace(CLASS, _class_name(name, template)).replace(NAME, name)
    write_atomically(path, text.encode())
    return path


def kind_named(word: str) -> str:
    """The plugin's kind; MedsafeError where there is none of that name."""
    if word not in KINDS:
        raise unknown("kind of method", word, KINDS)
    return KINDS[word]


def _check_name(name: str, kind: str) -> None:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise MedsafeError(f"name '{name}': use lower-case letters, digits and _ alone")
    if keyword.iskeyword(name):
        raise MedsafeError(f"name '{name}' is a word of Python: choose another")
    rivals = ("attacks",) if kind == "attacks" else ("unlearning", "defenses")  # a method is found by its name alone
    if any(name in names(rival) for rival in rivals):
        raise MedsafeError(f"name '{name}' is taken by another method: `medsafe list` shows them; choose another")


def _class_name(name: str, template: str) -> str:
    """`my_method` -> `MyMethod`; longer where that is no name of a class, or one that the template uses."""
    found = "".join(part.capitalize() for part in name.split("_"))
    used = re.search(rf"\b{found}\b", template.replace(CLASS, "")) or not found.isidentifier()
    return f"Method{found}" if used or keyword.iskeyword(found) else found
