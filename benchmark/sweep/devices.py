"""Which worker computes where."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from benchmark.errors import MedsafeError
from benchmark.training import resolve_device

UNIT = 10_000
"""Ray counts a share of a GPU in so many parts, and rounds: seven times a seventh would be more than one."""


@dataclass(frozen=True)
class Share:
    """What each worker gets of a machine that Ray assigns it to."""

    device: str
    """`cpu`, or `cuda`: the GPU that Ray assigns."""
    threads: int
    per_gpu: int = 1
    """Workers that share a GPU."""
    most: int | None = None
    """Workers in all; None is as many as there is room for."""

    @property
    def resources(self) -> dict[str, float]:
        """In Ray's words. A worker on a GPU claims no core: else these would say how many share a GPU."""
        if self.device == "cpu":
            return {"num_cpus": self.threads, "num_gpus": 0}
        return {"num_cpus": 0, "num_gpus": UNIT // self.per_gpu / UNIT}

    @property
    def needs(self) -> str:
        """In a user's words."""
        return f"{self.threads} CPU core{'s' * (self.threads > 1)}" if self.device == "cpu" else "a GPU"

    @property
    def offer(self) -> dict[str, int]:
        """What a cluster of this machine alone has to offer, in Ray's words."""
        workers = self.most or max(1, (os.cpu_count() or 1) // self.threads)
        return {
            "num_cpus": workers * self.threads,
            "num_gpus": 0 if self.device == "cpu" else torch.cuda.device_count(),
        }

    def room(self, resources: Mapping[str, float]) -> int:
        """How many workers fit on a machine with these."""
        if self.device == "cpu":
            return int(resources.get("CPU", 0)) // self.threads
        return int(resources.get("GPU", 0)) * self.per_gpu


def worker_devices(device: str, workers: int | None, threads: int, per_gpu: int | None = None) -> list[str]:
    """The device of every worker: GPUs in turn, or the CPU.

    Args:
        device: `auto` is every GPU, or the CPU where there is none; else the one that is named.
        workers: how many; None is one for each GPU, and on the CPU as many as the cores feed.
        threads: of one worker.
        per_gpu: workers for each GPU, where their number is not given.

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
    return [names[index % len(names)] for index in range(workers or len(names) * (per_gpu or 1))]
