"""Models that many runs share, each trained once: Original, Retrains, oracle, an attacker's clean model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from benchmark.api import derive_seed
from benchmark.config import identity
from benchmark.models import load_checkpoint
from benchmark.store.artifacts import Artifact
from benchmark.tracks.models import Summary, Workbench, checkpoint_sha256
from benchmark.tracks.stored import Made, hash_rows


@dataclass(frozen=True, eq=False)
class SharedModel:
    """A model by what goes into it: its name is known before it is trained, and who needs it first has it trained."""

    bench: Workbench
    title: str
    """For people: what it is, of which block."""
    key: Mapping[str, Any]
    make: Callable[[], Made]
    images: int
    """Gradient-equivalents of its training: images that go forward and backward. 0 where nothing is trained."""
    needs: tuple["SharedModel", ...] = ()
    """What must be there before it can be made."""
    further_bytes: int = 0
    """That it stores beside weights and logits, roughly."""
    summary: Summary | None = None
    """What alone is stored of it, where its weights serve nobody."""

    @cached_property
    def id(self) -> str:
        """The name of its artifact."""
        return identity(self.bench.keyed(self.key))

    def get(self) -> Artifact:
        """The trained model, found or made.

        Raises:
            Diverged: its training did.
        """
        return self.bench.keep(self.key, self.make, summary=self.summary)


def original(bench: Workbench, block: int) -> SharedModel:
    """The model that has seen the whole train pool; of the block and the pool alone (PROTOCOL 1.2)."""
    return _imported(bench) if bench.checkpoint else trained(bench, bench.splits.pool, block, "original")


def surrogate(bench: Workbench, block: int) -> SharedModel:
    """A clean model of an attacker's own: other seeds than those of the models that are attacked and compared."""
    return trained(bench, bench.splits.pool, block, "surrogate")


def oracle(bench: Workbench, block: int, honest: np.ndarray) -> SharedModel:
    """The Original's seeds on the honest rows of the pool alone: what a model without the poison is like."""
    return replace(trained(bench, honest, block, "original"), title=f"oracle, block {block}")


def retrained(
    bench: Workbench, block: int, index: int, retain: np.ndarray, forgotten_class: int | None = None
) -> SharedModel:
    """The index-th reference: trained on the retain rows from its own initialisation and order."""
    return trained(bench, retain, block, f"retrain {index}", forgotten_class)


def trained(
    bench: Workbench, rows: np.ndarray, block: int, purpose: str, forgotten_class: int | None = None
) -> SharedModel:
    """What the suite's training loop makes of these rows, under seeds that the block and the purpose name."""
    validation, title = bench.validation_rows(forgotten_class), f"{purpose}, block {block}"

    def make() -> Made:
        model, split = bench.fresh_model(block, purpose, "model"), bench.split(rows, block, purpose, "order")
        return bench.fit(model, split, validation, title, seed=derive_seed(block, purpose, "global"))

    kind, known_by = purpose.split(maxsplit=1)[0], f"{purpose} on {len(rows):,} images, block {block}"
    own = {"kind": kind, "purpose": purpose, "block": block, "rows": hash_rows(rows)}
    return SharedModel(bench, known_by, bench.common_key(validation) | own, make, len(rows) * bench.recipe.epochs)


def _imported(bench: Workbench) -> SharedModel:
    """The user's own checkpoint."""
    checkpoint = bench.checkpoint
    assert checkpoint is not None  # noqa: S101 - for the type checker

    def make() -> Made:
        return Made(load_checkpoint(bench.fresh_model("load"), checkpoint), {"flops": None, "seconds": None})

    own = {"kind": "checkpoint", "sha256": checkpoint_sha256(checkpoint)}
    return SharedModel(bench, f"checkpoint {checkpoint.name}", bench.common_key(bench.splits.validation) | own, make, 0)
