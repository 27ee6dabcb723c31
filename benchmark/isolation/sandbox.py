"""Walls around a plugin's process: bubblewrap gives it a file system with code alone, and no network.

It sees Python, the installed packages, this suite's code, its own file and the exchange folder; no data set (the
embedded one is covered), no cache, no results, no home folder, no process but its own.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import benchmark
from benchmark.data.download import medmnist_root
from benchmark.errors import MedsafeError
from benchmark.store.artifacts import default_cache

SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/alternatives", "/etc/localtime",
)  # fmt: skip
"""What programs need of a system."""
PACKAGES = ("benchmark", "methods", "attacks", "metrics")
FLAGS = ("--unshare-all", "--die-with-parent", "--cap-drop", "ALL")
"""Without the last, what root starts could take the walls down from inside."""
SCRATCH_BYTES, SHARED_BYTES = 4 * 10**9, 256 * 10**6
"""Sizes of the sandbox's own /tmp and /dev/shm, which live in memory."""


def check_sandbox() -> None:
    """Raise MedsafeError where no sandbox can be had."""
    program = shutil.which("bwrap")
    if program is None:
        raise MedsafeError(
            "--sandbox needs bubblewrap: install your distribution's package `bubblewrap`, or leave --sandbox out"
        )
    trial = [program, *FLAGS, "--ro-bind", "/", "/", "true"]
    finished = subprocess.run(trial, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    if finished.returncode:
        why = " ".join(finished.stderr.split()) or f"exit code {finished.returncode}"
        raise MedsafeError(f"--sandbox: bubblewrap does not work here ({why}): allow user namespaces, or leave it out")


def walled(
    command: Sequence[str],
    exchange: Path,
    needed: Iterable[str] = (),
    hidden: Iterable[Path] = (),
    *,
    gpu: bool = False,
) -> list[str]:
    """The command behind walls.

    Args:
        command: program and arguments.
        exchange: the folder through which it talks with the suite: the only one that outlives it.
        needed: top-level modules of an installed plugin, which are shown to it.
        hidden: files and folders that it must not see, wherever they lie.
        gpu: show it the GPU's devices.
    """
    words = [
        str(shutil.which("bwrap")), *FLAGS, "--new-session", "--proc", "/proc", "--dev", "/dev",
        "--size", str(SHARED_BYTES), "--tmpfs", "/dev/shm", "--size", str(SCRATCH_BYTES), "--tmpfs", "/tmp",  # noqa: S108 - the sandbox's own
    ]  # fmt: skip
    shown = list(_shown(needed))
    for path in shown:
        words += _readable(path)
    for path in (*_data_files(), *(each.resolve() for each in hidden)):
        if path.exists() and any(path.is_relative_to(each.resolve()) for each in shown):
            words += ["--tmpfs", str(path)] if path.is_dir() else ["--ro-bind", os.devnull, str(path)]
    for device in sorted(Path("/dev").glob("nvidia*")) if gpu else []:
        words += ["--dev-bind", str(device), str(device)]
    words += ["--ro-bind", "/sys", "/sys"] if gpu else []
    return [*words, "--bind", str(exchange), str(exchange), "--chdir", str(exchange), *command]


def _shown(needed: Iterable[str]) -> Iterator[Path]:
    """What the process may read, outer folders first."""
    root = code_root()
    modules = [path for name in needed for path in _places(name)]
    paths = {*map(Path, SYSTEM), Path(sys.base_prefix), Path(sys.prefix), *(root / name for name in PACKAGES), *modules}
    yield from sorted((path for path in paths if path.exists()), key=lambda path: len(path.parts))


def _readable(path: Path) -> list[str]:
    if path.is_symlink() and len(path.parts) == 2:  # /lib -> usr/lib
        return ["--symlink", str(path.readlink()), str(path)]
    return ["--ro-bind", str(path), str(path)]


def _data_files() -> list[Path]:
    """The data sets that come with the suite, test images among them."""
    return sorted((code_root() / "benchmark" / "data").glob("*.npz"))


def private_paths(*paths: Path | str | None) -> tuple[Path, ...]:
    """What a sandbox covers: these as far as they are there, the cache, and MedMNIST's own folder."""
    known = (*(Path(path).expanduser() for path in paths if path), default_cache(), medmnist_root())
    return tuple(path.resolve() for path in known if path.exists())


def code_root() -> Path:
    """The folder that the suite's packages are imported from."""
    return Path(benchmark.__file__).resolve().parent.parent


def _places(module: str) -> list[Path]:
    """Where a top-level module lies; found without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None:
        return []
    return [Path(place) for place in spec.submodule_search_locations or [spec.origin or ""] if place]
