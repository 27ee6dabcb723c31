"""My method: what it does to the model, in one sentence.

    min_theta  CE(theta; D_r),  from the Original

Source: authors, title, venue and year; on which data and network the default values below were published.
Authors' code differs: every difference to the paper is an option of its own; name each here.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import UnlearningTask, steps_per_epoch, unlearning_method

# As it stands this is fine-tuning on the retained images: a baseline to beat. Replace the formula, then the loop.


@unlearning_method(
    "my_method",
    version=1,  # raise it with every change of what is computed: old records then no longer count as new ones
    # Further sets of hyper-parameters from the source, as changes to the defaults; `--preset gentle` chooses one:
    # presets={"gentle": {"lr": 0.001}},
    # Images (forgotten, retained) of the published experiment. With these and `updates` below there is a preset
    # `scaled`, whose learning rate makes up for there being fewer updates here:
    # source_sizes=(4_500, 40_500),
)
@dataclass(frozen=True)
class MyMethod:
    """Each field is a hyper-parameter with its published value: int, float, bool, str or a Literal of these."""

    epochs: int = 10
    """Passes over the retained images."""
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Refuse what means nothing, in one line: the user reads it before anything is trained."""
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        """Return a model without the forgotten images' influence.

        `model` is a private copy of the Original: change it in place, or start from `task.fresh_model()`. The result
        has the same layers, and maybe some that `benchmark.api.insert_before` has added.
        """
        # What the task holds is all that a method may see: `forget`, `retain` and `validation` images, `num_classes`,
        # `recipe` (how the Original was trained), `fit` (the same training loop), `generator`, `progress`.
        # There are no test images, no images that were never trained on, and no retrained model.
        #
        # Batches are float images in [0, 1] (n, channels, height, width) and int64 labels, on the device, shuffled and
        # augmented by the split: `task.forget.batches(size, epochs=...)`, `.cycle(size)`, `.in_order()`.
        #
        # Randomness: `torch.rand(..., generator=task.generator)`. Seed no global generator.
        # Device: everything is where it belongs; a new tensor goes to `images.device`. Call no `.cuda()`.
        # Say `raise Unsupported("why")` where the method cannot work on a network or data set, and
        # `raise Diverged("why")` where its training has left the finite numbers (both from benchmark.api): the run is
        # recorded with this reason. Print nothing; `task.progress` shows how far it is.
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        for _ in task.progress(range(self.epochs), "my_method"):
            for images, labels in task.retain.batches(self.batch_size, epochs=1):
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(images), labels).backward()
                optimizer.step()
        return model

    def updates(self, forget: int, retain: int) -> int:
        """Optimiser steps on so many images; only the preset `scaled` asks for it."""
        return self.epochs * steps_per_epoch(retain, self.batch_size)
