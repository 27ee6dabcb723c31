"""One of several trainings that share a GPU, each in a process of its own; and what they get done together.

As a command it says `ready` when it has warmed up, and trains when it reads a line.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmark.models import build_on
from benchmark.perf.gpu_setting import QUICK, Figure, Setting, Sizes
from benchmark.training import train

ARCHITECTURE, BATCH = "cnn-small", 128
ROOT = Path(__file__).parents[2]
READY = "ready"


def at_once(setting: Setting) -> Iterator[Figure]:
    """Small trainings, one and several at a time: what sweeps with several workers on a GPU gain."""
    rates = {}
    for count in setting.sizes.processes:
        setting.check_time()
        rates[count] = together(setting, count)
        yield Figure(f"{ARCHITECTURE}, {count} at once", round(rates[count], 1), "images/s", note=f"batch {BATCH}")
    one, many = setting.sizes.processes
    yield Figure(f"{ARCHITECTURE}, {many} at once against {one}", round(rates[many] / rates[one], 2), "times")


def together(setting: Setting, count: int) -> float:
    """Images a second of so many processes that start training at the same moment."""
    command = [sys.executable, "-m", "benchmark.perf.gpu_process", str(setting.device)]
    command += ["quick"] if setting.sizes == QUICK else []
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(_started(command)) for _ in range(count)]
        for process in processes:
            _read(process, READY)
        start = setting.clock()
        for process in processes:
            _tell(process)
        images = sum(int(_read(process)) for process in processes)
        return images / (setting.clock() - start)


def work(device: torch.device, sizes: Sizes) -> None:
    """Warm up, wait for a line, train; writes how many images it was."""
    setting = Setting(device, sizes)
    split = setting.split(sizes.blood[0])
    recipe = setting.recipe(BATCH, sizes.process_epochs)

    def trained(epochs: int) -> None:
        model = build_on(device, ARCHITECTURE, channels=3, num_classes=8, seed=0)
        train(model, split, replace(recipe, epochs=epochs))
        setting.now()

    trained(1)
    _say(READY)
    sys.stdin.readline()
    trained(recipe.epochs)
    _say(str(recipe.epochs * len(split)))


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended with this context, whatever happens."""
    process = subprocess.Popen(  # noqa: S603 - the command is this module
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _read(process: subprocess.Popen[str], expected: str | None = None) -> str:
    line = process.stdout.readline().strip() if process.stdout else ""
    if not line or (expected is not None and line != expected):
        _, errors = process.communicate()
        raise RuntimeError((errors.strip().splitlines() or ["a training process ended without a word"])[-1])
    return line


def _tell(process: subprocess.Popen[str]) -> None:
    if process.stdin:
        process.stdin.write("\n")
        process.stdin.flush()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    work(torch.device(sys.argv[1]), QUICK if sys.argv[2:] == ["quick"] else Sizes())
