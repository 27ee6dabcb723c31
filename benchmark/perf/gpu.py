"""`python -m benchmark.perf.gpu --output results/perf`: everything worth measuring on a GPU, in under nine minutes.

Runs from the repository's root without being installed and without a network. It needs Python 3.11 or newer with torch,
torchvision, safetensors, filelock, numpy and scipy, and no other wheel: medmnist, platformdirs, psutil, pydantic and
typer may be missing. Without a GPU it says so, and measures nothing.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmark.errors import MedsafeError, unknown
from benchmark.perf.gpu_agreement import agreement
from benchmark.perf.gpu_process import at_once
from benchmark.perf.gpu_recipe import recipe
from benchmark.perf.gpu_report import Report, Section, measure_all
from benchmark.perf.gpu_setting import QUICK, Figure, Setting, Sizes
from benchmark.perf.gpu_throughput import beside_plain, resident, throughput
from benchmark.perf.machine import circumstances, describe_machine
from benchmark.training import resolve_device

SECTIONS: dict[str, Section] = {
    "throughput": throughput,
    "recipe": recipe,
    "plain": beside_plain,
    "agreement": agreement,
    "resident": resident,
    "processes": at_once,
}
MISSING = "torch sees no GPU"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, by the standard library: what else there is for it may be missing on a GPU's machine."""
    parser = argparse.ArgumentParser(prog="gpu report", description="Measure a GPU; write JSON and table as it goes.")
    parser.add_argument("--output", type=Path, required=True, help="folder of the figures, two files for each device")
    parser.add_argument("--device", default="auto", help="cuda, cuda:1; cpu only with --quick (default: the first GPU)")
    parser.add_argument("--only", action="append", help=f"a section, may be given again: {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: that it works, not how fast")
    parser.add_argument("--seconds", type=float, default=500.0, help="after which nothing new is begun (default: 500)")
    return parser.parse_args(arguments)


def run(output: Path, device: str, only: list[str] | None, quick: bool, seconds: float) -> Report:
    """Measure, and write JSON and table after every figure; arguments as on the command line.

    Raises:
        MedsafeError: an unknown section, or a device that is no GPU.
    """
    for name in only or []:
        if name not in SECTIONS:
            raise unknown("section", name, SECTIONS)
    chosen = resolve_device(device)
    if chosen.type != "cuda" and device != "auto" and not quick:
        raise MedsafeError(f"device '{device}' is no GPU: a report of it is a test of the report alone; add --quick")
    sections = {name: section for name, section in SECTIONS.items() if name in (only or SECTIONS)}
    if chosen.type != "cuda" and not quick:
        report = without_gpu(list(sections))
    else:
        report = Report(machine_of(chosen, quick))
        measure_all(report, sections, Setting(chosen, QUICK if quick else Sizes(), seconds), output)
    report.save(output)
    return report


def without_gpu(sections: list[str]) -> Report:
    """A report that claims nothing."""
    figure = vars(Figure("", None, note=MISSING))
    empty = {name: {"figures": [figure | {"what": name}], "seconds": 0.0} for name in sections}
    return Report({"device": None} | describe_machine() | circumstances(), empty)


def machine_of(device: torch.device, quick: bool) -> dict[str, Any]:
    """The device and what runs on it, without the machine's name."""
    machine: dict[str, Any] = {"device": "cpu quick" if quick else "cpu"}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine = {
            "device": properties.name + (" quick" if quick else ""),
            "memory": f"{properties.total_memory / 2**30:.0f} GiB",
            "capability": f"{properties.major}.{properties.minor}",
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
        }
    return machine | describe_machine() | circumstances()


def main() -> None:
    """Run the command; a user's error is one line on standard error and exit code 2."""
    logging.basicConfig(format="%(message)s")
    arguments = parse()
    try:
        report = run(**vars(arguments))
    except MedsafeError as error:
        sys.exit(_refused(error))
    sys.stdout.write(f"{report.markdown()}\n\nfigures: {arguments.output / report.name}.json\n")


def _refused(error: MedsafeError) -> int:
    sys.stderr.write(f"gpu report: {error}\n")
    return 2


if __name__ == "__main__":
    main()
