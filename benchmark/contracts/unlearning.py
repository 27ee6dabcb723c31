"""What an unlearning method is, and all that it may see."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from benchmark.contracts.common import Progress, Recipe, Split


@dataclass(frozen=True, eq=False)
class UnlearningTask:
    """All that an unlearning method may see: no test image, no non-member, no retrained reference."""

    forget: Split
    retain: Split
    validation: Split
    num_classes: int
    recipe: Recipe
    """The Original's training recipe."""
    generator: torch.Generator
    """Seeded, on the device: for every draw that is the method's own."""
    fresh_model: Callable[[], nn.Module]
    """A newly initialised, seeded model of the Original's architecture."""
    fit: Callable[[nn.Module, Split], nn.Module]
    """The suite's training loop under `recipe`; trains in place and returns the model."""
    progress: Progress


class UnlearningMethod(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters and whose defaults are the published ones."""

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Return a model without the forget set's influence. `model` is a private copy and may be changed in place."""
        ...
