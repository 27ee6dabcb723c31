"""My method: how it trains a clean model on poisoned images, in one sentence.

    S = the share 1 - q of the images whose loss is lowest under a first model;   min_theta  CE(theta; S)

Source: authors, title, venue and year; on which data and network the default values below were published.
Authors' code differs: every difference to the paper is an option of its own; name each here.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import PoisonedTrainingTask, Split, training_defense

# As it stands this throws away what a first model finds hardest, and trains anew: a baseline. Replace the formula, then
# the two functions.


@training_defense(
    "my_method",
    version=1,  # raise it with every change of what is computed: old records then no longer count as new ones
    # Further sets of hyper-parameters from the source, as changes to the defaults; `--preset gentle` chooses one:
    # presets={"gentle": {"removed_share": 0.02}},
)
@dataclass(frozen=True)
class MyMethod:
    """Each field is a hyper-parameter with its published value: int, float, bool, str or a Literal of these."""

    removed_share: float = 0.1
    """Share q of the images that is thrown away, in [0, 1)."""

    def __post_init__(self) -> None:
        """Refuse what means nothing, in one line: the user reads it before anything is trained."""
        if not 0 <= self.removed_share < 1:
            raise ValueError(f"removed_share must lie in [0, 1), not {self.removed_share}")

    def train(self, task: PoisonedTrainingTask) -> nn.Module:
        """Return a model trained on the poisoned images that does not obey the trigger."""
        # What the task holds is all that a defender may see: the `train` images as the attacker hands them over,
        # `num_classes`, `recipe` (how the others train), `fit` (the suite's training loop), `fresh_model`, `generator`,
        # `progress`. No image is known to be clean, and nothing leads to the trigger or the target class.
        #
        # Batches are float images in [0, 1] (n, channels, height, width) and int64 labels, on the device, shuffled and
        # augmented by the split: `task.train.batches(size, epochs=...)`, `.in_order()`; `.part(rows)` is some of them.
        #
        # Randomness: `torch.rand(..., generator=task.generator)`. Seed no global generator.
        # Device: everything is where it belongs; a new tensor goes to `images.device`. Call no `.cuda()`.
        # Say `raise Unsupported("why")` where the method cannot work on a network or data set, and
        # `raise Diverged("why")` where its training has left the finite numbers (both from benchmark.api): the run is
        # recorded with this reason. Print nothing; `task.progress` wraps a loop and shows how far it is.
        model = task.fit(task.fresh_model(), task.train)
        kept = round((1 - self.removed_share) * len(task.train))
        easiest = losses(model, task.train).argsort(stable=True)[:kept]
        return task.fit(task.fresh_model(), task.train.part(easiest))


@torch.no_grad()
def losses(model: nn.Module, split: Split) -> Tensor:
    """Cross-entropy of every image in the order of the split: float32 (n,)."""
    model.eval()
    return torch.cat([cross_entropy(model(images), labels, reduction="none") for images, labels in split.in_order()])
