"""A GPU's figures as JSON and as a table, written after every figure: a kill at a time limit loses nothing."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmark.perf.gpu_setting import Figure, Setting
from benchmark.store.files import write_atomically

SCHEMA = 1
HEADER = "| Work | Measured | Asked for | Note |\n|---|---|---|---|"
Section = Callable[[Setting], Iterator[Figure]]
Clock = Callable[[], float]


@dataclass
class Report:
    """What is known of a device so far.

    Attributes:
        machine: the device and the software; `device` is None where there is no GPU.
        sections: by name: `figures`, `seconds`, and where it broke off, `error`.
    """

    machine: dict[str, Any]
    sections: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its files."""
        words = re.sub(r"[^a-z0-9]+", "-", str(self.machine["device"] or "none").lower())
        return f"gpu-{words.strip('-')}"

    def save(self, folder: Path) -> Path:
        """Write both files; returns the JSON's path."""
        content = {"schema": SCHEMA, "machine": self.machine, "sections": self.sections}
        write_atomically(folder / f"{self.name}.md", (self.markdown() + "\n").encode())
        path = folder / f"{self.name}.json"
        write_atomically(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
        return path

    def markdown(self) -> str:
        """The table; what was not measured says why."""
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items() if value is not None)
        return "\n".join([f"{machine}:", "", HEADER, *self._rows()])

    def _rows(self) -> Iterator[str]:
        for name, section in self.sections.items():
            yield from (row(Figure(**figure)) for figure in section["figures"])
            if "error" in section:
                yield row(Figure(name, None, note=section["error"]))


def row(figure: Figure) -> str:
    """A figure's line of the table."""
    measured = "not measured" if figure.value is None else f"{figure.value:,.6g} {figure.unit}".rstrip()
    cells = (figure.what, measured, figure.required or "", figure.note)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def measure_all(
    report: Report, sections: Mapping[str, Section], setting: Setting, folder: Path, clock: Clock = time.perf_counter
) -> None:
    """Go through the sections: one that fails is recorded with its error, and the others go on.

    Args:
        report: gets the figures as they become known.
        sections: by name, in order.
        setting: what they measure, and how long all of it may take.
        folder: of the files.
        clock: returns seconds.
    """
    for name, section in sections.items():
        entry: dict[str, Any] = {"figures": []}
        report.sections[name] = entry
        start = clock()
        try:
            setting.check_time()
            for figure in section(setting):
                entry["figures"].append(asdict(figure))
                report.save(folder)
        except Exception as error:  # a foreign machine may fail in any way, and the other figures are still good
            entry["error"] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        entry["seconds"] = round(clock() - start, 1)
        setting.free_memory()
        report.save(folder)
