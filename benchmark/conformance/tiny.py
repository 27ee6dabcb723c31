"""Real images, few and small, and what a method is handed of them: enough to find out whether it keeps the contract."""

import copy
import time
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from attacks.badnets import BadNets
from benchmark.api import Recipe, Split, derive_seed
from benchmark.data.datasets import load_dataset
from benchmark.handout import Handout, Kind, Network, Share
from benchmark.models import insertion_point
from benchmark.training import get_recipe, train

TRAIN, HELD_OUT, FORGET, FEW = 20, 4, 4, 2
"""Images of each class: trained on, held out, of the former to be forgotten, and in the smallest sets."""
ATTACK = BadNets(patch_share=0.3, pattern="checkerboard")
"""Of these small images a larger corner, which a few stamped ones suffice to teach."""
SAMPLE = 300
"""Images on which a returned model is examined, more than a batch of 256."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What a method is handed, and what else it takes to judge its answer."""

    handout: Handout
    sample: Tensor
    """uint8 (300, channels, 14, 14), on the device."""
    training_seconds: float
    """The suite's own training of the handout's model."""

    @property
    def text(self) -> str:
        """In words."""
        count = sum(len(share.labels) for share in self.handout.shares.values())
        network = self.handout.network
        colour = "colour" if network.channels == 3 else "grey"
        size = "x".join(map(str, self.sample.shape[2:]))
        return f"{network.name}, {count} {colour} images of {size} pixels, {network.num_classes} classes"


def make_scene(kind: Kind, architecture: str, *, grey: bool = False, device: str = "cpu") -> Scene:
    """Blood cells at half their size, in eight classes, or in grey and two; poisoned for a defence, by BadNets."""
    images, labels, sample = (tensor.to(device) for tensor in _pictures(grey))
    num_classes = 2 if grey else int(labels.max()) + 1
    labels = labels % num_classes
    kept = len(labels) * TRAIN // (TRAIN + HELD_OUT)
    seen, held_out = (images[:kept], labels[:kept]), (images[kept:], labels[kept:])
    if kind != "unlearning":
        seen = _poisoned(*seen)
    recipe = replace(get_recipe("cpu"), precision="fp32" if device == "cpu" else "bf16")
    network = Network(architecture, images.shape[1], num_classes, mean=0.5, std=0.5)
    model = network.build(images.device, derive_seed("conformance", "model"))
    seconds = _train(model, seen, recipe)
    handout = Handout(
        kind=kind,
        shares=_shares(kind, seen, held_out),
        augmentation=("none", ()),
        network=network,
        model_seed=derive_seed("conformance", "fresh model"),
        draw_seed=derive_seed("conformance", "draws"),
        recipe=recipe,
        insertion_point=insertion_point(architecture, model),
        weights={} if kind == "in-training" else model.state_dict(),
    )
    return Scene(handout, sample, seconds)


def _train(model: nn.Module, seen: tuple[Tensor, Tensor], recipe: Recipe) -> float:
    """Train by the suite's loop, and say how long that took, without what torch loads for its first training."""
    train(copy.deepcopy(model), Split(*seen, seed=0), replace(recipe, epochs=1))
    started = time.perf_counter()
    train(model, Split(*seen, derive_seed("conformance", "order")), recipe)
    return time.perf_counter() - started


def with_few_images(scene: Scene) -> Scene:
    """One image to forget; else two of each class."""
    few = FEW * scene.handout.network.num_classes

    def cut(share: Share, count: int) -> Share:
        return Share(share.images[:count], share.labels[:count], share.seed)

    shares = {name: cut(share, 1 if name == "forget" else few) for name, share in scene.handout.shares.items()}
    return replace(scene, handout=replace(scene.handout, shares=shares))


@cache
def _pictures(grey: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Images and labels, class after class in turn so that every beginning is balanced; and the sample."""
    dataset = load_dataset("bloodmini")
    rows = [torch.nonzero(dataset.labels == label).flatten() for label in range(dataset.num_classes)]
    chosen = torch.stack([each[: TRAIN + HELD_OUT] for each in rows]).T.flatten()
    chosen = chosen[: len(chosen) // 2] if grey else chosen
    last = torch.from_numpy(dataset.validation[:SAMPLE])
    images = avg_pool2d(dataset.images[torch.cat([chosen, last])].float(), 2)
    images = images.mean(dim=1, keepdim=True) if grey else images
    images = images.round().byte()
    return images[: len(chosen)], dataset.labels[chosen], images[len(chosen) :]


def _poisoned(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every eighth image of the classes other than 0 stamped, and called 0."""
    images, labels = images.clone(), labels.clone()
    rows = torch.nonzero(labels != 0).flatten()[::8]
    images[rows], labels[rows] = ATTACK.stamp(images[rows]), 0
    return images, labels


def _shares(kind: Kind, seen: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]) -> dict[str, Share]:
    forgotten = len(seen[1]) * FORGET // TRAIN
    forget, retain = [(seen[0][rows], seen[1][rows]) for rows in (slice(forgotten), slice(forgotten, None))]
    parts = {
        "unlearning": {"forget": forget, "retain": retain, "validation": held_out},
        "post-training": {"clean": held_out},
        "in-training": {"train": seen},
    }[kind]
    return {name: Share(*part, derive_seed("conformance", name)) for name, part in parts.items()}
