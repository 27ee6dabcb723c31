"""What figures of speed depend on, without a name of the machine or of anything on it."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

CPU_LIST = Path("/proc/cpuinfo")
TRADE_WORDS = re.compile(r"\((r|tm|c)\)|\bcpu\b|@.*", re.IGNORECASE)


def describe_machine() -> dict[str, Any]:
    """The processor's model and how many cores may be used."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"cpu": cpu_model(), "cores": usable, "system": f"{platform.system()} {platform.machine()}"}


def cpu_model(listing: Path = CPU_LIST) -> str:
    """As the processor calls itself; where the system does not say, its architecture."""
    text = listing.read_text() if listing.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return " ".join((found[1] if found else platform.processor() or platform.machine()).split())


def slug(machine: dict[str, Any]) -> str:
    """A file's name for a machine: `intel-xeon-2-cores`."""
    words = TRADE_WORDS.sub(" ", machine["cpu"]).lower()
    return f"{re.sub('[^a-z0-9]+', '-', words).strip('-')}-{machine['cores']}-cores"


def circumstances() -> dict[str, Any]:
    """When, and with which software and threads, something is measured; `load` is of the minute before."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
