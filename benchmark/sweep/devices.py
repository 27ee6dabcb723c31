"""Which worker computes where."""

import os

import torch

from benchmark.errors import MedsafeError
from benchmark.training import resolve_device


def worker_devices(device: str, workers: int | None, threads: int) -> list[str]:
    """The device of every worker: GPUs in turn, or the CPU.

    Args:
        device: `auto` is every GPU, or the CPU where there is none; else the one that is named.
        workers: how many; None is one for each GPU, and on the CPU as many as the cores feed.
        threads: of one worker.

    Raises:
        MedsafeError: no such device, or no worker.
    """
    if workers is not None and workers < 1:
        raise MedsafeError(f"workers {workers}: at least 1 is needed")
    resolved = resolve_device(device)
    if resolved.type == "cpu":
        return ["cpu"] * (workers or max(1, (os.cpu_count() or 1) // threads))
    every = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    names = every if device == "auto" else [str(resolved)]
    return [names[index % len(names)] for index in range(workers or len(names))]
