"""What is compared as commands, each in a process of its own with nothing cached: an experiment, the leaderboard."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import resources
from itertools import count
from pathlib import Path

import numpy as np
import torch

from benchmark.data.npz import SPLITS
from benchmark.errors import MedsafeError
from benchmark.models import cnn_small
from benchmark.perf import plain
from benchmark.perf.many import write_many_records
from benchmark.perf.measure import OURS, Comparison
from benchmark.perf.plain_experiment import draw_block

EVERY = 4
"""Of how many of bloodmini's images the shortened experiment takes one."""
RECORDS = 10_000


@contextmanager
def experiment(blocks: int, retrains: int, every: int, *, required: float, once: bool = False) -> Iterator[Comparison]:
    """`medsafe run --method salun` with an empty cache, against the same written the plain way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_share(folder / "blood.npz", every)
        with np.load(data) as file:
            train = draw_block(dict(file), 0, 0).train
        workers = plain.best_workers(cnn_small(3, 8), train, 64)
        threads, numbers = str(torch.get_num_threads()), count()
        common = ("--blocks", str(blocks), "--retrains", str(retrains), "--threads", threads)
        yield Comparison(
            "SalUn, the whole experiment",
            f"{blocks} x (Original, {retrains} Retrains, SalUn) with cnn-small on {len(train):,} images, with all "
            f"scores; best DataLoader: {workers} workers",
            {
                OURS: lambda: _run_ours(folder / str(next(numbers)), data, common),
                "plain PyTorch": lambda: call(
                    ("benchmark.perf.plain_experiment", str(data), "--workers", str(workers), *common)
                ),
            },
            required,
            warm_up=False,
            most_repeats=1 if once else None,
        )  # fmt: skip


@contextmanager
def leaderboard(records: int = RECORDS) -> Iterator[Comparison]:
    """`medsafe leaderboard`: all tables, figures and the page."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        write_many_records(results, records)
        yield Comparison(
            "leaderboards and page rebuilt",
            f"{records:,} records",
            {OURS: partial(call, ("benchmark.cli", "leaderboard", "--results", str(results)))},
            warm_up=False,
        )


def write_share(path: Path, every: int) -> Path:
    """One in so many of bloodmini's images, as a file of its own; returns it."""
    with resources.as_file(resources.files("benchmark.data") / "bloodmini.npz") as whole, np.load(whole) as file:
        arrays = {
            f"{split}_{kind}": file[f"{split}_{kind}"][::every] for split in SPLITS for kind in ("images", "labels")
        }
    np.savez(path, **arrays)
    return path


def call(words: Sequence[str], environment: dict[str, str] | None = None) -> str:
    """Run a module as a command; returns what it said.

    Raises:
        MedsafeError: it failed; says what it said last.
    """
    done = subprocess.run(  # noqa: S603 - our own modules
        [sys.executable, "-m", *words],
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing was said").splitlines()[-1]
        raise MedsafeError(f"{words[0]} ended with {done.returncode}: {last}")
    return done.stdout


def _run_ours(folder: Path, data: Path, common: Sequence[str]) -> str:
    """With a cache and results of its own."""
    own = ("--method", "salun", "--dataset", str(data), "--device", "cpu", "--results", str(folder / "results"))
    return call(("benchmark.cli", "run", *own, *common), {"MEDSAFE_CACHE": str(folder / "cache")})
