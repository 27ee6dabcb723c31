"""My method: how it repairs a backdoored model, in one sentence.

    min_theta  CE(theta; D_clean),  from the backdoored model

Source: authors, title, venue and year; on which data and network the default values below were published.
Authors' code differs: every difference to the paper is an option of its own; name each here.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import DefenseTask, backdoor_defense, steps_per_epoch

# As it stands this is fine-tuning on the clean images: a baseline to beat. Replace the formula, then the loop.


@backdoor_defense(
    "my_method",
    version=1,  # raise it with every change of what is computed: old records then no longer count as new ones
    # Further sets of hyper-parameters from the source, as changes to the defaults; `--preset gentle` chooses one:
    # presets={"gentle": {"lr": 0.001}},
    # Clean images of the published experiment. With this and `updates` below there is a preset `scaled`, whose
    # learning rate makes up for there being fewer updates here:
    # source_sizes=(2_500,),
    # A defence that looks at no image at all says so, and is ranked as such:
    # data_free=True,
)
@dataclass(frozen=True)
class MyMethod:
    """Each field is a hyper-parameter with its published value: int, float, bool, str or a Literal of these."""

    epochs: int = 100
    """Passes over the clean images."""
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256

    def __post_init__(self) -> None:
        """Refuse what means nothing, in one line: the user reads it before anything is trained."""
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, not {self.epochs}")

    def defend(self, model: nn.Module, task: DefenseTask) -> nn.Module:
        """Return one self-contained model that no longer obeys the trigger.

        `model` is a private copy of the backdoored model: change it in place. Pruning is baked into the weights, no
        hook stays behind; `benchmark.api.insert_before` adds layers, at best in front of `task.insertion_point`.
        """
        # What the task holds is all that a defender may see: the few `clean` images, `num_classes`, `recipe` (how the
        # model was trained), `fit` (the same training loop), `fresh_model`, `insertion_point`, `generator`, `progress`.
        # There are no test images, and nothing leads to the trigger or the target class. Whoever selects a step or a
        # threshold cuts his validation images from the clean ones: `train, held_out = task.clean.divided(0.2)`.
        #
        # Batches are float images in [0, 1] (n, channels, height, width) and int64 labels, on the device, shuffled and
        # augmented by the split: `task.clean.batches(size, epochs=...)`, `.cycle(size)`, `.in_order()`.
        #
        # Randomness: `torch.rand(..., generator=task.generator)`. Seed no global generator.
        # Device: everything is where it belongs; a new tensor goes to `images.device`. Call no `.cuda()`.
        # Say `raise Unsupported("why")` where the method cannot work on a network or data set, and
        # `raise Diverged("why")` where its training has left the finite numbers (both from benchmark.api): the run is
        # recorded with this reason. Print nothing; `task.progress` shows how far it is.
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        for _ in task.progress(range(self.epochs), "my_method"):
            for images, labels in task.clean.batches(self.batch_size, epochs=1):
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(images), labels).backward()
                optimizer.step()
        return model

    def updates(self, clean: int) -> int:
        """Optimiser steps on so many images; only the preset `scaled` asks for it."""
        return self.epochs * steps_per_epoch(clean, self.batch_size)
