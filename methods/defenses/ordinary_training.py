"""Ordinary training on the poisoned set: what every defence that trains the model itself is measured against.

    min_theta  CE(theta; D_poisoned)   under the suite's own recipe

Source: the baseline of these rows (PROTOCOL 7.5). Where the attack controls the training, this is not its own model but
one trained on the images that it hands over.
"""

from dataclasses import dataclass

from torch import nn

from benchmark.api import PoisonedTrainingTask, training_defense


@training_defense("ordinary_training", version=1)
@dataclass(frozen=True)
class OrdinaryTraining:
    def train(self, task: PoisonedTrainingTask) -> nn.Module:
        """Train as if nothing were wrong with the data."""
        return task.fit(task.fresh_model(), task.train)
