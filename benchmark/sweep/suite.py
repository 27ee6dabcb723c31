"""A suite: one TOML file that spans a grid of runs.

Its keys are the options of `medsafe run`, a list is an axis of the grid, and `defaults` hold for every grid:

```toml
description = "what it is for"

[defaults]
blocks = "0-2"

[[grid]]
method = ["retrain", "finetune", "salun"]
scenario = ["random:0.1", "class:6"]
preset = ["published", "scaled"]
exclude = [{ method = "retrain", preset = "scaled" }]
```
"""

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.config import parse_parameters
from benchmark.errors import MedsafeError, unknown
from benchmark.plan import Request

OPTIONS = {
    "dataset": "dataset", "arch": "architecture", "recipe": "recipe", "scenario": "scenario", "attack": "attack",
    "method": "method", "preset": "preset", "params": "parameters", "plugin": "plugin", "blocks": "blocks",
    "retrains": "retrains", "profile": "profile", "groups": "groups", "original": "original", "allow": "allow",
    "non_members": "non_member_share", "attack_preset": "attack_preset", "attack_params": "attack_parameters",
    "attack_plugin": "attack_plugin", "pool": "pool",
    "shadows": "shadows",
}  # fmt: skip
"""Key of a grid, named as `medsafe run` names it -> field of a request. The first axis changes slowest."""
FILES = ("plugin", "groups", "original", "attack_plugin")
NUMBERS: dict[str, tuple[type, ...]] = {"retrains": (int,), "shadows": (int,), "non_members": (int, float)}
EXCLUDE = "exclude"
Options = Mapping[str, Any]


@dataclass(frozen=True)
class Suite:
    """What a suite's file asks for."""

    name: str
    description: str
    requests: tuple[Request, ...]


def read_suite(path: Path, base: Request) -> Suite:
    """The requests of a suite.

    Args:
        path: of the TOML file; paths in it are relative to its folder.
        base: what no suite says: folder of the data, device, limits. Its method is replaced.

    Raises:
        MedsafeError: no such file, no TOML, an unknown key, a value of the wrong type, or an exclude that hits nothing.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise MedsafeError(f"suite '{path}' cannot be read ({error.strerror}): name a .toml file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MedsafeError(f"suite '{path}' is no TOML: {error}") from error
    try:
        return Suite(path.stem, str(content.get("description", "")), tuple(_requests(content, path.parent, base)))
    except MedsafeError as error:
        raise MedsafeError(f"suite '{path}': {error}") from error


def _requests(content: Mapping[str, Any], folder: Path, base: Request) -> Iterator[Request]:
    for key in content:
        if key not in ("description", "defaults", "grid"):
            raise unknown("key", key, ["description", "defaults", "grid"])
    defaults, grids = content.get("defaults", {}), content.get("grid", [])
    if not isinstance(defaults, dict) or not isinstance(grids, list) or not grids:
        raise MedsafeError("a suite has at least one [[grid]], and may have [defaults]")
    for grid in grids:
        for options in _points({**defaults, **grid}):
            fields = {OPTIONS[key]: _value(key, value, folder) for key, value in options.items()}
            yield replace(base, **fields)


def _points(grid: Options) -> Iterator[Options]:
    """Every combination of a grid's axes that no exclude hits."""
    excludes = grid.get(EXCLUDE, [])
    axes = {key: value if isinstance(value, list) else [value] for key, value in grid.items() if key != EXCLUDE}
    for key in (*axes, *(key for exclude in excludes for key in exclude)):
        if key not in OPTIONS:
            raise unknown("option", key, OPTIONS)
    if not axes.get("method"):
        raise MedsafeError("a grid names no method: add method = [...]")
    names = [key for key in OPTIONS if key in axes]
    points = [dict(zip(names, values, strict=True)) for values in itertools.product(*(axes[name] for name in names))]
    for exclude in excludes:
        if not any(_hits(exclude, point) for point in points):
            raise MedsafeError(f"exclude {dict(exclude)} hits nothing of its grid: mend it, or leave it out")
    return (point for point in points if not any(_hits(exclude, point) for exclude in excludes))


def _hits(exclude: Options, point: Options) -> bool:
    return all(point.get(key) in (value if isinstance(value, list) else [value]) for key, value in exclude.items())


def _value(key: str, value: Any, folder: Path) -> Any:
    """A value as a request has it."""
    if key == "blocks" and isinstance(value, int):
        value = str(value)
    _check_type(key, value)
    if key in FILES or (key == "dataset" and value.endswith(".npz")):
        path = folder / Path(value).expanduser()
        return path if key in FILES else str(path)
    if key in ("params", "attack_params"):
        return parse_parameters(value)
    return tuple(value.replace(",", " ").split()) if key == "allow" else value


def _check_type(key: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, NUMBERS.get(key, (str,))):
        raise MedsafeError(f"{key} = {value!r}: must be {'a number' if key in NUMBERS else 'text'}")
