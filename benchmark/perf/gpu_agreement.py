"""Whether a GPU computes what a CPU computes: the same weights, the same images, in full precision."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmark.api import Split
from benchmark.perf.gpu_setting import Figure, Setting
from benchmark.perf.gpu_throughput import EAGER, model_on
from benchmark.training import predict, train

LOGITS, PREDICTIONS, GRADIENTS = 1e-3, 2e-3, 1e-3
"""Tolerances: share of the largest logit; share of unequal predictions; relative length of gradients' difference."""
BATCH = 64


def agreement(setting: Setting) -> Iterator[Figure]:
    """Logits, predictions and the gradients of one step, beside those of the CPU."""
    split = setting.split(setting.sizes.compared_images, augmented=False)
    model = model_on(setting)
    train(model, split, setting.recipe(BATCH, 2), often=EAGER, progress=setting.progress)
    there, here = predict(model, split.images), predict(copy.deepcopy(model).cpu(), split.images.cpu())
    against = "against the CPU" if setting.on_gpu else "the CPU against itself"
    apart = float((there - here).abs().max() / here.abs().max())
    note = f"{against}, {len(here)} images, of the largest logit"
    yield _within("predict: largest difference of logits", apart, LOGITS, note)
    unequal = float((there.argmax(1) != here.argmax(1)).float().mean())
    yield _within("predict: share of unequal predictions", unequal, PREDICTIONS, f"{against}, {len(here)} images")
    images, labels = next(Split(split.images, split.labels, 0).batches(BATCH, epochs=1))
    mine = _gradients(model, images, labels)
    theirs = _gradients(copy.deepcopy(model).cpu(), images.cpu(), labels.cpu())
    note = f"{against}, fp32, batch {len(labels)}, relative length"
    yield _within("one step: difference of gradients", float((mine - theirs).norm() / theirs.norm()), GRADIENTS, note)


def _gradients(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Of the mean cross-entropy in training mode, without reduced precision, as one vector on the CPU in float64."""
    parameters = list(model.train().parameters())
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        gradients = torch.autograd.grad(cross_entropy(model(images), labels), parameters)
    return torch.cat([gradient.flatten().double().cpu() for gradient in gradients])


def _within(what: str, value: float, tolerance: float, note: str) -> Figure:
    verdict = "within" if value <= tolerance else "OUTSIDE"
    return Figure(what, value, "", f"at most {tolerance}", f"{note}: {verdict} tolerance")
