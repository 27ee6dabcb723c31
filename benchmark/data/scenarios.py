"""What is to be forgotten (PROTOCOL 2.2 to 2.4).

`random:p`, `random-iid:p`, `fixed:p`, `part:k/n`, `class:c` or `ids:FILE`.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

import numpy as np

from benchmark.api import MedsafeError, derive_seed, unknown
from benchmark.data.catalogue import file_word
from benchmark.data.datasets import Dataset
from benchmark.data.splits import Splits
from benchmark.data.units import Rows, draw_share

Kind = Literal["random", "random-iid", "fixed", "part", "class", "ids"]
EXAMPLES = {
    "random": "random:0.1", "random-iid": "random-iid:0.1", "fixed": "fixed:0.1", "part": "part:0/10",
    "class": "class:6", "ids": "ids:patients.txt",
}  # fmt: skip
MOST_PARTS = 1000


@dataclass(frozen=True)
class Scenario:
    """A request to forget.

    Attributes:
        kind: how the images are chosen.
        name: canonical text for records and CSV, such as `random:0.1`, `class:6`, `ids:patients-1a2b3c4d`.
        share: of the train pool, for the random kinds and `fixed`.
        part: for `part`: which, and into how many disjoint ones the pool is dealt, the same for all of them.
        forgotten_class: for `class`.
        ids: sorted rows of official train, int64, for `ids`.
    """

    kind: Kind
    name: str
    share: float | None = None
    forgotten_class: int | None = None
    part: tuple[int, int] | None = None
    ids: Rows | None = field(default=None, compare=False)  # the name holds their checksum


@dataclass(frozen=True, eq=False)
class ForgetRetain:
    """Sorted rows of the train pool, int64; `notes` are what the user and the record should be told."""

    forget: Rows
    retain: Rows
    notes: tuple[str, ...]


def parse_scenario(text: str) -> Scenario:
    """Read a scenario as the user writes it; of `ids:FILE` the file is read too.

    The file holds one index of official train per line, or several parted by commas or blanks; `#` starts a comment.

    Raises:
        MedsafeError: unknown kind, a value that is none, or a file that cannot be read.
    """
    kind, _, value = text.strip().partition(":")
    if kind not in EXAMPLES:
        raise unknown("scenario", kind, EXAMPLES)
    if not value:
        raise MedsafeError(f"scenario '{text}' lacks its value; write it as in {EXAMPLES[kind]}")
    if kind == "class":
        return _class_scenario(value)
    if kind == "ids":
        return _ids_scenario(Path(value).expanduser())
    return _part_scenario(value) if kind == "part" else _random_scenario(cast("Kind", kind), value)


def check_scenario(scenario: Scenario, dataset: Dataset) -> None:
    """Refuse what this data set cannot give.

    Raises:
        MedsafeError: a class that does not exist, a class of a two-class set, or ids outside of official train.
    """
    if scenario.forgotten_class is not None:
        if scenario.forgotten_class >= dataset.num_classes:
            raise MedsafeError(
                f"scenario '{scenario.name}': no such class; those of {dataset.name} are 0 to {dataset.num_classes - 1}"
            )
        if dataset.num_classes == 2:
            raise MedsafeError(
                f"scenario '{scenario.name}': {dataset.name} has two classes, and without one of them there is nothing "
                f"to tell apart; use random:0.1"
            )
    if scenario.ids is not None and scenario.ids[-1] >= dataset.sizes[0]:
        raise MedsafeError(
            f"scenario '{scenario.name}': id {scenario.ids[-1]} is out of range; "
            f"official train of {dataset.name} has the ids 0 to {dataset.sizes[0] - 1}"
        )


def draw_forget(scenario: Scenario, dataset: Dataset, splits: Splits, *, seed: int) -> ForgetRetain:
    """Part the train pool into what is forgotten and what is retained; units stay whole.

    Args:
        scenario: what to forget.
        dataset: must pass `check_scenario`.
        splits: of this data set; made with `keep_in_pool=scenario.ids` for an `ids` scenario.
        seed: of the draw; a `fixed`, `ids` or `class` scenario has none, and forgets the same images under every seed.

    Raises:
        MedsafeError: as `check_scenario`; or nothing would be forgotten, or everything.
        ValueError: ids that were given to the non-members.
    """
    check_scenario(scenario, dataset)
    if scenario.ids is not None:
        forget, notes = _whole_units(scenario.ids, splits)
    elif scenario.forgotten_class is not None:
        forget, notes = _whole_class(scenario.forgotten_class, dataset, splits)
    elif scenario.part is not None:
        forget, notes = _dealt(*scenario.part, dataset, splits, seed), []
    else:
        forget, notes = _random_share(scenario, dataset, splits, seed)
    retain = np.setdiff1d(splits.pool, forget)
    for rows, fault in ((forget, "no image"), (retain, "every image")):
        if not len(rows):
            raise MedsafeError(
                f"scenario '{scenario.name}' forgets {fault} of the {len(splits.pool)} in the train pool of "
                f"{dataset.name}; choose another share, class or list"
            )
    return ForgetRetain(forget, retain, tuple(notes))


def _random_share(scenario: Scenario, dataset: Dataset, splits: Splits, seed: int) -> tuple[Rows, list[str]]:
    drawn_by = () if scenario.kind == "fixed" else (seed,)
    rng = np.random.default_rng(derive_seed("forget", *drawn_by, scenario.name))
    pool, share = splits.pool, cast("float", scenario.share)
    strata = np.zeros_like(pool) if scenario.kind == "random-iid" else dataset.labels.numpy()[pool]
    forget = draw_share(pool, splits.unit[pool], strata, share, rng)
    wanted = round(share * len(pool))
    if len(forget) == wanted:
        return forget, []
    return forget, [f"{len(forget)} images are forgotten instead of {wanted}, because {_units(splits)} stay whole"]


def _dealt(number: int, parts: int, dataset: Dataset, splits: Splits, seed: int) -> Rows:
    """One of the disjoint parts that the pool is dealt into, each stratified by class."""
    rng, labels = np.random.default_rng(derive_seed("forget", seed, f"parts:{parts}")), dataset.labels.numpy()
    left = splits.pool
    for dealt in range(min(number + 1, parts - 1)):
        part = draw_share(left, splits.unit[left], labels[left], 1 / (parts - dealt), rng)
        if dealt == number:
            return part
        left = np.setdiff1d(left, part)
    return left


def _whole_class(number: int, dataset: Dataset, splits: Splits) -> tuple[Rows, list[str]]:
    """All images of the class, and exact copies of them that carry another label; patients are not kept whole here."""
    pool = splits.pool
    of_class = dataset.labels.numpy()[pool] == number
    forget = pool[np.isin(splits.copies[pool], splits.copies[pool[of_class]])]
    notes = []
    if len(forget) > of_class.sum():
        added = len(forget) - int(of_class.sum())
        notes.append(f"{added} images with another label are exact copies of forgotten ones, and are forgotten too")
    if splits.grouped:
        notes.append("a class is forgotten image by image: the other images of a group are retained")
    return forget, notes


def _whole_units(ids: Rows, splits: Splits) -> tuple[Rows, list[str]]:
    if len(np.setdiff1d(ids, splits.pool)):
        raise ValueError("ids to forget lie outside of the pool: call make_splits with keep_in_pool=scenario.ids")
    forget = splits.pool[np.isin(splits.unit[splits.pool], splits.unit[ids])]
    added = len(forget) - len(ids)
    note = f"{added} images were added to the {len(ids)} listed, because {_units(splits)} stay whole"
    return forget, [note] if added else []


def _units(splits: Splits) -> str:
    return "exact copies and groups" if splits.grouped else "exact copies"


def _random_scenario(kind: Kind, value: str) -> Scenario:
    try:
        share = float(value)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:  # refuses nan as well
        raise MedsafeError(f"scenario '{kind}:{value}': the share must lie between 0 and 1, as in {EXAMPLES[kind]}")
    return Scenario(kind, f"{kind}:{share!r}", share=share)


def _part_scenario(value: str) -> Scenario:
    found = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", value)
    number, parts = map(int, found.groups()) if found else (0, 0)
    if not (number < parts and 2 <= parts <= MOST_PARTS):
        raise MedsafeError(
            f"scenario 'part:{value}': give one of 2 to {MOST_PARTS} parts, counted from 0, as in {EXAMPLES['part']}"
        )
    return Scenario("part", f"part:{number}/{parts}", share=1 / parts, part=(number, parts))


def _class_scenario(value: str) -> Scenario:
    if not re.fullmatch(r"[0-9]{1,6}", value):
        raise MedsafeError(f"scenario 'class:{value}': give the number of a class, as in {EXAMPLES['class']}")
    return Scenario("class", f"class:{int(value)}", forgotten_class=int(value))


def _ids_scenario(path: Path) -> Scenario:
    ids = _read_ids(path)
    checksum = hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest()
    return Scenario("ids", f"ids:{file_word(path.stem)}-{checksum[:8]}", ids=np.array(ids, np.int64))


def _read_ids(path: Path) -> list[int]:
    """Sorted, each once."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise MedsafeError(f"{path}: cannot be read ({error.strerror}); give a text file of training indices") from None
    except UnicodeDecodeError:
        raise MedsafeError(f"{path}: is no text file; give one training index per line") from None
    ids = set()
    for number, line in enumerate(lines, start=1):
        for word in line.partition("#")[0].replace(",", " ").split():
            if not re.fullmatch(r"[0-9]{1,15}", word):
                raise MedsafeError(f"{path}: line {number}: '{word}' is no training index; write whole numbers from 0")
            ids.add(int(word))
    if not ids:
        raise MedsafeError(f"{path}: lists no training index, so nothing would be forgotten; write one per line")
    return sorted(ids)
