"""Retrain: train a fresh model on the retained data alone, by the Original's recipe.

    theta = A(D_r),  A = the Original's training from a new initialisation

It is exact, and the reference of every other method. This row is one more Retrain, drawn apart from the K references,
so that its gap shows what chance alone does: it should equal the null (PROTOCOL 3.1).
"""

from dataclasses import dataclass

from torch import nn

from benchmark.api import UnlearningTask, unlearning_method


@unlearning_method("retrain", version=1)
@dataclass(frozen=True)
class Retrain:
    """Start again without the forget set."""

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Train a fresh model on the retain set."""
        return task.fit(task.fresh_model(), task.retain)
