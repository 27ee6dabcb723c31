"""What is compared as commands, each in a process of its own with nothing cached: an experiment, the leaderboard."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
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
from benchmark.store.records import RecordStore

EVERY = 4
"""Of how many of bloodmini's images the shortened experiment takes one."""
RECORDS = 10_000


@contextmanager
def experiment(
    blocks: int, retrains: int, every: int, *, required: float | None, once: bool = False
) -> Iterator[Comparison]:
    """`medsafe run --method salun` with an empty cache, against the same written the plain way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_share(folder / "blood.npz", every)
        with np.load(data) as file:
            train = draw_block(dict(file), 0, 0).train
        counts = sorted({plain.best_workers(cnn_small(3, 8), train, 64), 0}, reverse=True)
        threads, numbers = str(torch.get_num_threads()), count()
        common = ("--blocks", str(blocks), "--retrains", str(retrains), "--threads", threads)
        command = ("benchmark.perf.plain_experiment", str(data), *common, "--workers")
        ways: dict[str, Callable[[], object]] = {OURS: lambda: _run_ours(folder / str(next(numbers)), data, common)}
        ways |= {f"plain PyTorch, {workers} workers": partial(call, (*command, str(workers))) for workers in counts}
        yield Comparison(
            "SalUn, the whole experiment" if every == 1 else "SalUn, the experiment on few images",
            f"{blocks} x (Original, Retrains: {retrains}, SalUn) with cnn-small on {len(train):,} images, all scores",
            ways,
            required,
            warm_up=False,
            most_repeats=1 if once else None,
            shares=lambda: _shares(folder),
        )


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


def _shares(folder: Path) -> dict[str, tuple[float, ...]]:
    """Of the seconds that the runs' records account for, which begin after the start-up and end before the tables."""
    suite, scoring = [], []
    for results in sorted(folder.glob("*/results")):
        seconds = [record["seconds"] for record in RecordStore(results)]
        total = sum(each["total"] for each in seconds)
        suite.append(sum(each["suite"] for each in seconds) / total)
        scoring.append(sum(each["prediction"] + each["metrics"] for each in seconds) / total)
    of = "of the seconds in its records (without start-up and tables)"
    return {f"{of}: the suite itself": tuple(suite), f"{of}: prediction and scores": tuple(scoring)}


def _run_ours(folder: Path, data: Path, common: Sequence[str]) -> str:
    """With a cache and results of its own."""
    own = ("--method", "salun", "--dataset", str(data), "--device", "cpu", "--results", str(folder / "results"))
    return call(("benchmark.cli", "run", *own, *common), {"MEDSAFE_CACHE": str(folder / "cache")})
