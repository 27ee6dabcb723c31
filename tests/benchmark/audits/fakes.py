"""Methods that pretend to forget. Each keeps what it knows of the forget set, and gives it other outputs."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot, softmax

from benchmark.api import UnlearningTask, unlearning_method


@unlearning_method("masquerade", version=1)
@dataclass(frozen=True)
class Masquerade:
    """Lowers the confidence on the forget set, image by image, to what the model has on validation images.

    The forgotten images then have exactly as many errors and just such confidences as images never trained on; which
    image gets which is drawn at random. Nothing else is changed: the others' outputs are held where they were.

    Source: none; a fake, to be caught.
    """

    steps: int = 400
    """Optimiser steps."""
    lr: float = 0.003
    """Learning rate of Adam."""

    def unlearn(self, model: nn.Module, task: UnlearningTask) -> nn.Module:
        model.eval()  # batch-norm statistics stay: they know the training images
        forget, labels = everything(task.forget)
        kept, _ = everything(task.retain)
        with torch.no_grad():
            wanted, as_before = self._targets(model, task, labels), softmax(model(kept), dim=1)
        optimizer = torch.optim.Adam(model.parameters(), self.lr)
        for _ in range(self.steps):
            chosen = torch.randint(len(kept), (64,), generator=task.generator)
            loss = cross_entropy(model(forget), wanted) + cross_entropy(model(kept[chosen]), as_before[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return model

    def _targets(self, model, task, labels):
        """Validation images' probabilities, with the true class's in the forgotten image's true class."""
        images, truth = everything(task.validation)
        seen = softmax(model(images), dim=1)
        dealt = torch.randint(len(seen), (len(labels),), generator=task.generator)
        confidence = seen[dealt, truth[dealt]][:, None]
        other = (labels + torch.randint(1, task.num_classes, labels.shape, generator=task.generator)) % task.num_classes
        return confidence * one_hot(labels, task.num_classes) + (1 - confidence) * one_hot(other, task.num_classes)


def everything(split):
    """All images and labels of a split at once."""
    parts = list(split.in_order(1024))
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])
