"""What a job will cost, before it is done: gradient-equivalents by published runs, seconds on this machine, bytes."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmark.config import RunSpec
from benchmark.cost import CostCounter
from benchmark.plan import Plan
from benchmark.runner import one_line
from benchmark.store.records import Record
from benchmark.tracks.models import Workbench
from benchmark.tracks.shared import SharedModel
from benchmark.training import predict, train

_Key = tuple[str, ...]
LONG_ENOUGH = 0.5
"""Seconds of a training that says how fast this machine trains."""
MOST_PREDICTED = 1024
RECORD_BYTES = 20_000


@dataclass(frozen=True)
class Expected:
    """What a job will cost; nothing where nobody asked."""

    images: int = 0
    """Gradient-equivalents: images that go forward and backward."""
    seconds: float = 0.0
    """Of one worker that works alone."""
    bytes: int = 0
    """On the disk of cache and results."""
    guessed: bool = False
    """No such run is published: one under another recipe is taken for it, or a training."""
    untimed: str | None = None
    """Why this machine cannot tell how long it takes: a training of this net failed."""


@dataclass(frozen=True)
class Speed:
    """How fast this machine is, in images a second."""

    training: float
    prediction: float


class PublishedCosts:
    """Gradient-equivalents of methods, by FLOPs of their published runs."""

    def __init__(self, records: Iterable[Record]) -> None:
        found: defaultdict[_Key, list[float]] = defaultdict(list)
        self._grows: dict[_Key, bool] = {}
        for record in records:
            images = _gradient_equivalents(record)
            if images is None:
                continue
            for key in _keys(record["spec"]):
                found[key].append(images)
                self._grows[key] = _grows(record)
        self._images = {key: statistics.median(values) for key, values in found.items()}

    def of(self, spec: RunSpec, pool: int) -> tuple[int, bool] | None:
        """Of a run, with so many images in its train pool; whether only another recipe's are known; None: no such run.

        A method that trains as its recipe says would take more epochs under a longer one.
        """
        for key in _keys(spec.fields):
            if key in self._images:
                return round(self._images[key] * (pool if self._grows[key] else 1)), len(key) == len(_METHOD)
        return None


class Estimator:
    """Says what jobs will cost; times this machine when it first meets a net, a recipe and images of a size.

    Args:
        published: records to learn methods' costs from.
        sharing: how many workers share a device, and slow each other down.
    """

    def __init__(self, published: Iterable[Record], sharing: int = 1) -> None:
        self._costs, self._sharing = PublishedCosts(published), sharing
        self._speeds: dict[Any, Speed | str] = {}
        self._weights: dict[str, int] = {}

    def model(self, bench: Workbench, model: SharedModel) -> Expected:
        """The training of a shared model."""
        kept = 4 * len(bench.images) if model.summary else self._bytes(bench)
        return self._timed(bench, Expected(model.images, bytes=kept + model.further_bytes))

    def run(self, plan: Plan, spec: RunSpec) -> Expected:
        """A run whose shared models are there."""
        bench = plan.bench
        training = len(bench.splits.pool) * bench.recipe.epochs
        images, guessed = self._costs.of(spec, len(bench.splits.pool)) or (training, True)
        return self._timed(bench, Expected(images, bytes=self._bytes(bench) + RECORD_BYTES, guessed=guessed))

    def _timed(self, bench: Workbench, expected: Expected) -> Expected:
        shape = (bench.images.shape[1:], bench.dataset.num_classes, bench.device)
        key = (bench.architecture, bench.recipe, shape)
        if key not in self._speeds:
            self._speeds[key] = _speed_or_reason(bench)
        speed = self._speeds[key]
        if isinstance(speed, str):
            return replace(expected, untimed=speed)
        seconds = expected.images / speed.training + len(bench.images) / speed.prediction
        return replace(expected, seconds=self._sharing * seconds)

    def _bytes(self, bench: Workbench) -> int:
        """Of weights and logits."""
        key = f"{bench.architecture} {bench.images.shape[1]} {bench.dataset.num_classes}"
        if key not in self._weights:
            state = bench.fresh_model("estimate").state_dict()
            self._weights[key] = sum(tensor.nbytes for tensor in state.values())
        return self._weights[key] + 4 * len(bench.images) * bench.dataset.num_classes


def measure_speed(bench: Workbench) -> Speed:
    """Train on ever more of the pool until that takes long enough to tell; then predict."""
    model, pool, images = bench.fresh_model("estimate"), bench.splits.pool, 2 * bench.recipe.batch_size
    _seconds_of_training(bench, model, pool[:images])  # the first steps choose kernels
    while (seconds := _seconds_of_training(bench, model, pool[:images])) < LONG_ENOUGH and images < len(pool):
        images *= 2
    return Speed(min(images, len(pool)) / seconds, _prediction_speed(bench))


def _speed_or_reason(bench: Workbench) -> Speed | str:
    """A net that cannot be trained is for its runs to record."""
    try:
        return measure_speed(bench)
    except Exception as error:
        return f"{bench.architecture} under {bench.recipe.name}: {type(error).__name__}: {one_line(error)}"


def _seconds_of_training(bench: Workbench, model: nn.Module, rows: NDArray[np.int64]) -> float:
    with CostCounter(bench.device) as cost:  # its clock waits for the device
        train(model, bench.split(rows, "estimate"), replace(bench.recipe, epochs=1), counted=cost.repeated)
    return cost.seconds


def _prediction_speed(bench: Workbench) -> float:
    images = bench.images[:MOST_PREDICTED]
    model = bench.fresh_model("estimate")
    predict(model, images[:1])
    start = time.perf_counter()
    predict(model, images)
    if images.is_cuda:
        torch.cuda.synchronize()
    return len(images) / (time.perf_counter() - start)


def _gradient_equivalents(record: Record) -> float | None:
    """What a run's method took: passes over the train pool, or where its work does not grow with it, images."""
    cost, sizes = record.get("cost") or {}, record.get("sizes") or {}
    training = (cost.get("original") or {}).get("flops")
    pool = sizes.get("train") or sizes.get("forget", 0) + sizes.get("retain", 0)
    if not training or cost.get("flops") is None or not pool:
        return None
    passes = float(cost["flops"] / training * record["spec"]["recipe"]["epochs"])
    return passes if _grows(record) else passes * pool


def _grows(record: Record) -> bool:
    """Whether a method's work grows with the train pool: a defender's clean images are as many, however large it is."""
    return not (record.get("sizes") or {}).get("clean_images")


def _keys(spec: Mapping[str, Any]) -> Iterator[_Key]:
    """Under which a run is known, the closest first: as it is, in another task, under another recipe."""
    method = (spec["method"]["kind"], spec["method"]["name"], spec["method"]["preset"])
    task = spec["scenario"] if "scenario" in spec else spec["attack"]["name"]
    yield (*method, str(spec["recipe"]["epochs"]), task)
    yield (*method, str(spec["recipe"]["epochs"]))
    yield method


_METHOD = ("kind", "name", "preset")
"""What a key without a recipe consists of."""
