"""Figures of speed as files: one JSON for each machine, and tables of all of them for a README."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.errors import MedsafeError
from benchmark.perf.machine import slug
from benchmark.perf.measure import OURS, Measured, spread
from benchmark.store.files import write_atomically

SCHEMA = 1
START, END = "<!-- perf -->", "<!-- /perf -->"
HEADER = "| Work | Ours | Instead | Ours is faster |\n|---|---|---|---|"
Json = dict[str, Any]


def as_json(measured: Measured, circumstances: Mapping[str, Any]) -> Json:
    """A comparison's figures: seconds of every way with their spread, and the ratios to ours."""
    ways = {
        way: {"seconds": [round(value, 4) for value in seconds], **_rounded(asdict(measured.spread(way)))}
        for way, seconds in measured.seconds.items()
    }
    ratios = {way: _rounded(asdict(ratio)) for way, ratio in measured.ratios().items()}
    shares = {
        name: {"values": [round(value, 4) for value in values], **_rounded(asdict(spread(values)))}
        for name, values in measured.shares.items()
    }
    return {
        "title": measured.title, "detail": measured.detail, "required": measured.required,
        "repeats": len(measured.seconds[OURS]), "measured": dict(circumstances), "ways": ways, "ratios": ratios,
        "shares": shares,
    }  # fmt: skip


def save(folder: Path, machine: Json, name: str, figures: Json) -> Path:
    """Write a comparison into the machine's file, in place of an earlier one of that name; returns the file."""
    path = folder / f"{slug(machine)}.json"
    known = load(path)["comparisons"] if path.exists() else {}
    content = {"schema": SCHEMA, "machine": machine, "comparisons": known | {name: figures}}
    write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return path


def load(path: Path) -> Json:
    """What `save` has written.

    Raises:
        MedsafeError: the file is no such file.
    """
    try:
        content: Json = json.loads(path.read_text())
        known = content["schema"] == SCHEMA and isinstance(content["comparisons"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise MedsafeError(f"{path} holds no figures of speed ({error}); move it away and measure again") from error
    if not known:
        raise MedsafeError(f"{path} was written by another version; move it away and measure again")
    return content


def tables(folder: Path) -> str:
    """The Markdown of every machine's figures, machines by name.

    Raises:
        MedsafeError: a file of the folder is damaged.
    """
    paths = [path for path in sorted(folder.glob("*.json")) if not path.name.startswith("gpu-")]
    return "\n\n".join(table(load(path)) for path in paths)


def table(content: Json) -> str:
    """One machine's figures: median, in parentheses minimum and maximum."""
    machine = content["machine"]
    lines = [row for figures in content["comparisons"].values() for row in rows(figures)]
    return "\n".join([f"{machine['cpu']}, {machine['cores']} cores:", "", HEADER, *lines])


def insert(text: str, markdown: str) -> str:
    """The text with what stands between the two markers replaced.

    Raises:
        MedsafeError: the markers are not there, once each and in order.
    """
    parts = re.split(f"({re.escape(START)}|{re.escape(END)})", text)
    if parts[1::2] != [START, END]:
        raise MedsafeError(f"no place for the table: one line `{START}` and, below, one `{END}` must mark it")
    return f"{parts[0]}{START}\n\n{markdown}\n\n{END}{parts[4]}"


def rows(figures: Json) -> list[str]:
    """A comparison's lines of the table: one for each way that is not ours, one for each share of our time."""
    once = "; measured once" if figures["repeats"] == 1 else ""
    what = f"{figures['title']}: {figures['detail']}{once}".replace("|", "\\|")
    ours = _cell(figures["ways"][OURS], " s")
    others = [way for way in figures["ways"] if way != OURS]
    shares = [f"| {name} | {_percent(values)} | | |" for name, values in figures["shares"].items()]
    beside = [f"{way}: {_cell(figures['ways'][way], ' s')} | {_cell(figures['ratios'][way], 'x')} |" for way in others]
    first, *further = beside or ["| |"]
    return [f"| {what} | {ours} | {first}", *(f"| | | {line}" for line in further), *shares]


def _cell(values: Json, unit: str) -> str:
    low, middle, high = (f"{values[name]:.3g}" for name in ("minimum", "median", "maximum"))
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low}–{high})"


def _percent(values: Json) -> str:
    return _cell({name: 100 * values[name] for name in ("minimum", "median", "maximum")}, " %")


def _rounded(values: Json) -> Json:
    return {name: round(value, 4) for name, value in values.items()}
