"""Calls of the method that is examined: what costs, so that all checks share a few."""

import hashlib
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

from torch import Tensor, nn

from benchmark.api import DefenseInfo, Diverged, Unsupported, derive_seed
from benchmark.checks import BrokenMethod, check_finite, check_module
from benchmark.conformance.surroundings import Surroundings
from benchmark.conformance.tiny import Scene, make_scene, with_few_images
from benchmark.handout import Handout, Kind, Share, call
from benchmark.registry import Plugin
from benchmark.seeding import seeded
from benchmark.training import silent


@dataclass(frozen=True)
class Budget:
    """How long one call on the tiny task may take: the smaller of the two.

    Attributes:
        trainings: times the suite's own training of the same network on the same images, measured in the same process;
            a method that is slower than so many retrainings has no use. ANP, the dearest of the suite's own, takes 40.
        seconds: by the clock.
    """

    trainings: float = 200
    seconds: float = 60


@dataclass(frozen=True, eq=False)
class Call:
    """One call of the method, and what was found afterwards.

    Attributes:
        scene: what it was handed.
        result: what it returned.
        error: what it raised instead.
        seconds: how long that took.
        overwritten: images and labels of its task that it has changed.
        left: settings and functions of the process that it has left changed.
    """

    scene: Scene
    result: object
    error: Exception | None
    seconds: float
    overwritten: list[str]
    left: list[str]


def make_call(method: Any, scene: Scene) -> Call:
    """Call the method as a track does, and put the process back in order."""
    handout = _private(scene.handout)
    model, task = handout.model() if handout.weights else None, handout.task(silent)
    before, result, error = _digests(handout), None, None
    with seeded(derive_seed("conformance", "global")):
        surroundings = Surroundings.of(handout.network.build(handout.device, seed=0))
        started = time.perf_counter()
        try:
            result = call(method, handout.kind, model, task)
        except (BrokenMethod, Diverged, Unsupported) as raised:
            error = raised
        seconds = time.perf_counter() - started
        left = surroundings.restore()
    overwritten = [name for name, digest in _digests(handout).items() if digest != before[name]]
    return Call(scene, result, error, seconds, overwritten, left)


@dataclass(frozen=True, eq=False)
class Trials:
    """The method under examination, and its calls, each made when a check first asks for it."""

    plugin: Plugin
    architecture: str = "cnn-small"
    budget: Budget = field(default_factory=Budget)

    @cached_property
    def method(self) -> Any:
        """With its published hyper-parameters; MedsafeError where they cannot be had."""
        return self.plugin.configure("published", {})

    @cached_property
    def kind(self) -> Kind:
        """Which contract it fulfils."""
        info = self.plugin.info
        return cast("Kind", "post-training" if self.is_data_free else getattr(info, "power", "unlearning"))

    @property
    def is_data_free(self) -> bool:
        """Whether it says that it looks at no image."""
        return isinstance(self.plugin.info, DefenseInfo) and self.plugin.info.power == "data-free"

    @cached_property
    def scene(self) -> Scene:
        """What it is handed in the first place."""
        return make_scene(self.kind, self.architecture)

    @cached_property
    def first(self) -> Call:
        """The call that most checks look at."""
        return make_call(self.method, self.scene)

    @cached_property
    def again(self) -> Call:
        """The same once more."""
        return make_call(self.method, self.scene)

    @cached_property
    def with_few(self) -> Call:
        """On hardly any images."""
        return make_call(self.method, with_few_images(self.scene))

    @cached_property
    def on_grey(self) -> Call:
        """On one channel and two classes."""
        return make_call(self.method, make_scene(self.kind, self.architecture, grey=True))

    @cached_property
    def on_gpu(self) -> Call:
        """On the first GPU."""
        return make_call(self.method, make_scene(self.kind, self.architecture, device="cuda"))

    @property
    def model(self) -> nn.Module:
        """What the first call returned; BrokenMethod where that is no module."""
        return check_module(self.first.result)

    @cached_property
    def logits(self) -> Tensor:
        """Of the first call's model on the sample; Diverged where they are not finite."""
        return check_finite(self.model, self.scene.sample)


def _private(handout: Handout) -> Handout:
    """With tensors of its own: what one call overwrites, no other sees."""
    shares = {name: Share(each.images.clone(), each.labels.clone(), each.seed) for name, each in handout.shares.items()}
    return replace(handout, shares=shares)


def _digests(handout: Handout) -> dict[str, str]:
    """Name -> sha256 of all images and labels that the method can write to."""
    return {
        f"{name}.{part}": hashlib.sha256(tensor.cpu().numpy().tobytes()).hexdigest()
        for name, share in handout.shares.items()
        for part, tensor in (("images", share.images), ("labels", share.labels))
    }
