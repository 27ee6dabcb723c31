"""The published recipe on data of BloodMNIST's size: Original, Retrain and SalUn through the suite's own functions."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from benchmark.config import DataSpec
from benchmark.data.splits import Splits, make_splits
from benchmark.data.units import Rows
from benchmark.handout import carry_out
from benchmark.perf.gpu_setting import SOURCE, Figure, Setting, blood_sized
from benchmark.store.artifacts import ArtifactStore
from benchmark.tracks.models import Workbench
from benchmark.training import predict
from methods.unlearning.salun import SalUn

FORGOTTEN = 0.1
LIMITS = {128: "60 s", 512: "30 s"}


@dataclass(frozen=True)
class Bench:
    """A workbench, and which training images are forgotten."""

    work: Workbench
    train: Rows
    forget: Rows

    @property
    def retain(self) -> Rows:
        """The rest."""
        return np.setdiff1d(self.train, self.forget)


def recipe(setting: Setting) -> Iterator[Figure]:
    """Wall seconds of the whole recipe; then what unlearning costs beside it."""
    epochs, first, original = setting.sizes.recipe_epochs, True, None
    for batch in (128, 512):
        setting.free_memory()
        with bench(setting, batch) as made:
            model, figure = _trained(setting, made, made.train, f"Original, {epochs} epochs, batch {batch}")
            required = LIMITS[batch] if setting.sizes.architecture == "resnet18" else None
            yield replace(figure, required=required)
            if first:
                original, first = model, False
    yield setting.peak_memory("the same")
    with bench(setting, 128) as made:
        yield from _unlearned(setting, made, original)
        yield _trained(setting, made, made.retain, f"Retrain, {epochs} epochs, batch 128")[1]


@contextmanager
def bench(setting: Setting, batch: int) -> Iterator[Bench]:
    """The suite's own workbench over a store that is thrown away."""
    dataset = blood_sized(setting.sizes.blood)
    data = DataSpec(dataset.name, dataset.sha256, allowed_augmentations=tuple(sorted(dataset.allowed)))
    splits: Splits = make_splits(dataset, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        work = Workbench(
            data, dataset, dataset.images.to(setting.device), splits, setting.sizes.architecture,
            setting.recipe(batch, setting.sizes.recipe_epochs), ArtifactStore(Path(folder)), setting.progress,
        )  # fmt: skip
        forget = np.random.default_rng(0).permutation(dataset.train)[: round(FORGOTTEN * len(dataset.train))]
        yield Bench(work, dataset.train, np.sort(forget))


def _trained(setting: Setting, made: Bench, rows: Rows, what: str) -> tuple[nn.Module, Figure]:
    work = made.work
    model, split = work.fresh_model("gpu", "model"), work.split(rows, "gpu", "order")
    start = setting.now()
    model = work.fit(model, split, work.splits.validation, what, seed=0).model
    seconds = setting.now() - start
    note = f"BloodMNIST-size ({SOURCE} turned and mirrored), {len(rows):,} images; {_accuracy(work, model)}"
    return model, Figure(what, round(seconds, 2), "s", note=note)


def _unlearned(setting: Setting, made: Bench, original: nn.Module | None) -> Iterator[Figure]:
    """SalUn's defaults, as a run carries them out."""
    if original is None:
        return
    work, parts = made.work, {"forget": made.forget, "retain": made.retain, "validation": made.work.splits.validation}
    shares = {name: work.share(rows, "gpu", name) for name, rows in parts.items()}
    handout = replace(work.handout("unlearning", 0, shares), weights=original.state_dict())
    start = setting.now()
    model, cost = carry_out(SalUn(), handout, 0, setting.progress)
    seconds = setting.now() - start
    note = f"{len(made.forget):,} of {len(made.train):,} images forgotten, {cost['flops'] / 1e12:,.1f} TFLOP"
    if isinstance(model, nn.Module):
        yield Figure("SalUn, defaults", round(seconds, 2), "s", note=f"{note}; {_accuracy(work, model)}")


def _accuracy(work: Workbench, model: nn.Module) -> str:
    rows = work.rows_on_device(work.dataset.test)
    right = predict(model, work.images[rows]).argmax(1) == work.dataset.labels[rows.cpu()]
    return f"test accuracy {right.float().mean():.1%}"
