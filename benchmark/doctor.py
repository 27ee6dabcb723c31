"""What a run needs of this machine, checked piece by piece: what was found, and what to do where something is wrong."""

import hashlib
import importlib
import importlib.metadata
import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Literal

import psutil

from benchmark.errors import MedsafeError

GIGABYTE = 10**9
LITTLE_MEMORY, LITTLE_DISK, NO_DISK = 3 * GIGABYTE, 2 * GIGABYTE, GIGABYTE // 10
"""Bytes. A run on PathMNIST takes up to 2 GB of memory; a ResNet-18 takes 45 MB of the cache, a block five of them."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NEW_SETUP = "remove .venv and call make again, which sets it up anew"


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis."""

    level: Literal["ok", "warning", "problem"]
    """A warning concerns an option that not everybody uses, or something that will soon be a problem."""
    subject: str
    what: str
    remedy: str = ""
    """What to do; empty where all is well."""


Findings = Iterator[Finding]


def examine(results: Path, cache: Path, data_root: Path | None = None) -> Findings:
    """Every check, in an order in which the first problem explains the later ones.

    Args:
        results: folder of records and leaderboards.
        cache: folder of trained models.
        data_root: the only folder in which data sets are looked for, as in a run.
    """
    checks: Mapping[str, Callable[[], Findings]] = {
        "packages": check_packages,
        "device": check_devices,
        "machine": check_machine,
        "cache": partial(check_cache, cache),
        "results": partial(check_results, results),
        "data": partial(check_data, data_root),
        "sandbox": check_sandbox,
        "browser": check_browser,
    }
    for subject, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            yield Finding("problem", subject, f"cannot be checked: {why}", "mend what is named above, then call again")


def check_packages() -> Findings:
    """Versions; torch and torchvision have to be imported to know whether they go together."""
    yield Finding("ok", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("ok", "medsafe-bench", importlib.metadata.version("medsafe-bench"))
    for name in ("torch", "torchvision", "numpy"):
        try:
            yield Finding("ok", name, importlib.import_module(name).__version__)
        except Exception as error:
            yield Finding("problem", name, f"cannot be imported: {_line(error)}", NEW_SETUP)
    try:
        yield Finding("ok", "wandb", importlib.metadata.version("wandb"))
    except importlib.metadata.PackageNotFoundError:
        yield Finding("warning", "wandb", "not installed; --wandb needs it", "pip install wandb")


def check_devices() -> Findings:
    """What torch sees, and whether it can compute there."""
    import torch

    gpus = range(torch.cuda.device_count())
    for index in gpus:
        name, memory = torch.cuda.get_device_name(index), torch.cuda.get_device_properties(index).total_memory
        try:
            torch.ones(8, device=f"cuda:{index}").sum().item()
            yield Finding("ok", f"cuda:{index}", f"{name}, {_size(memory)}")
        except RuntimeError as error:
            yield Finding(
                "problem", f"cuda:{index}", f"{name} does not compute: {_line(error)}",
                "see `nvidia-smi`; until it works, run with --device cpu",
            )  # fmt: skip
    if not gpus and any(Path("/dev").glob("nvidia[0-9]*")):
        yield Finding(
            "warning", "cuda", f"this machine has an NVIDIA device, but torch {torch.__version__} sees none",
            "see `nvidia-smi`: the driver may be missing, or too old for this torch",
        )  # fmt: skip
    elif not gpus:
        yield Finding("ok", "cuda", "no GPU: runs use the CPU, for which the quick profile is made")


def check_machine() -> Findings:
    """CPU cores and memory."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding("ok", "cpu", f"{usable} of {os.cpu_count()} cores usable, {torch.get_num_threads()} threads in torch")
    memory = psutil.virtual_memory()
    found = f"{_size(memory.available)} of {_size(memory.total)} free"
    if memory.available < LITTLE_MEMORY:
        yield Finding("warning", "memory", found, "close other programs before a run on a large data set")
    else:
        yield Finding("ok", "memory", found)


def check_cache(root: Path) -> Findings:
    """The cache of trained models: where, how large, writable, and what killed runs left in it."""
    from benchmark.store.artifacts import ArtifactStore

    yield from _check_folder("cache", root, "set MEDSAFE_CACHE to a folder that can be written")
    if not (root / "locks").is_dir():
        return
    store = ArtifactStore(root)
    whole, left = store.listing(), store.leftovers()
    yield Finding("ok", "cache", f"{len(whole)} artifacts, {_size(sum(size for _, size in whole))}")
    if left:
        yield Finding(
            "warning", "cache", f"{len(left)} leftovers of killed runs, {_size(sum(map(_bytes_in, left)))}",
            f"they do no harm; to have the space back: rm -r {shlex.quote(str(root))}/*.tmp while nothing runs",
        )  # fmt: skip


def check_results(results: Path) -> Findings:
    """The results folder: writable, and every record whole."""
    from benchmark.store.records import RecordStore

    yield from _check_folder("results", results, "choose another folder with --results")
    store = RecordStore(results)
    damaged = store.damaged()
    for path in damaged:
        yield Finding("problem", "records", f"{path} is no whole record", "delete it, and run again what it stood for")
    if not damaged:
        yield Finding("ok", "records", f"{len(store.files())} in {store.root}, all whole")


def check_data(data_root: Path | None) -> Findings:
    """Every data set that can be asked for by name: where its file is, and whether it is the official one."""
    from benchmark.data.catalogue import EMBEDDED, dataset_names, entry_of_name
    from benchmark.data.download import find, medmnist_root

    for option, folder in (("--data-root", data_root), ("MEDSAFE_DATA", os.environ.get("MEDSAFE_DATA"))):
        if folder and not Path(folder).is_dir():
            yield Finding("problem", "data", f"{option} {folder} is no folder", "give the folder of the .npz files")
    missing = []
    for name in dataset_names():
        entry = entry_of_name(name)
        if name == EMBEDDED:
            with resources.as_file(resources.files("benchmark.data") / f"{EMBEDDED}.npz") as embedded:
                yield _data_file(name, embedded, entry.md5, NEW_SETUP)
        elif path := find(entry, data_root):
            yield _data_file(name, path, entry.md5, f"delete it, and fetch it again (md5 {entry.md5})")
        else:
            missing.append(name)
    if missing:
        remedy = f"put the files into {data_root}" if data_root else ""
        folder = data_root or f"this machine, downloaded into {medmnist_root()} when first asked for"
        yield Finding("warning" if data_root else "ok", "data", f"not on {folder}: {', '.join(missing)}", remedy)


def check_sandbox() -> Findings:
    """Whether plugins can be walled in."""
    from benchmark.isolation import sandbox

    try:
        sandbox.check_sandbox()
        yield Finding("ok", "sandbox", f"bubblewrap works ({shutil.which('bwrap')})")
    except MedsafeError as error:
        what, _, remedy = str(error).rpartition(": ")
        yield Finding("warning", "sandbox", what, remedy)


def check_browser() -> Findings:
    """A browser, with which the tests look at the leaderboard's page."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found:
        yield Finding("ok", "browser", found)
    else:
        yield Finding(
            "warning", "browser", "no Chromium: the tests of the page are skipped",
            "install your distribution's package `chromium`, if you change the page",
        )  # fmt: skip


def _check_folder(subject: str, folder: Path, remedy: str) -> Findings:
    """Whether a folder, there or not yet, can be written, and how much room it has."""
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(b"\0")
    except OSError as error:
        yield Finding("problem", subject, f"{folder} cannot be written: {error.strerror}", remedy)
        return
    free = shutil.disk_usage(there).free
    found = f"{folder}{'' if folder.exists() else ' (not there yet)'}, writable, {_size(free)} of disk free"
    level: Literal["ok", "warning", "problem"] = (
        "problem" if free < NO_DISK else "warning" if free < LITTLE_DISK else "ok"
    )
    yield Finding(level, subject, found, "" if level == "ok" else f"make room, or {remedy}")


def _data_file(name: str, path: Path, md5: str, remedy: str) -> Finding:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()
    except OSError as error:
        return Finding("problem", name, f"{path} cannot be read: {error.strerror}", "check its permissions")
    if digest != md5:
        return Finding("problem", name, f"{path} is damaged or altered: its md5 is {digest}", remedy)
    return Finding("ok", name, f"{path}, md5 as published")


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _size(count: float) -> str:
    return f"{count / GIGABYTE:.1f} GB" if count >= GIGABYTE else f"{count / 1e6:.1f} MB"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
