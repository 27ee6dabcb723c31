"""How a class says that it is a plugin: one decorator for each kind. Needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Goal = Literal["all-to-one", "all-to-all", "none"]
Victims = Literal["others", "target", "all"]
Power = Literal["post-training", "data-free", "in-training"]
Presets = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class PluginInfo:
    """Under which (kind, name) a plugin is found, the version of its behaviour, and its presets."""

    kind: str
    name: str
    version: int
    presets: Presets
    source_sizes: tuple[int, ...] | None = None
    """Images of the experiment that the published values come from: forget and retain, or the defender's clean ones."""


@dataclass(frozen=True)
class AttackInfo(PluginInfo):
    """What the suite must know of an attack to choose its images and to score it (PROTOCOL 7.1, 7.2)."""

    goal: Goal = "all-to-one"
    victims: Victims = "others"
    """Whose images are poisoned: those of the classes other than the target, of the target (clean-label), or any."""
    controls_training: bool = False
    """Whether stamps are drawn anew whenever a training image is served."""


@dataclass(frozen=True)
class DefenseInfo(PluginInfo):
    """What a defence asks for: a trained model and clean images, the model alone, or the training set."""

    power: Power = "post-training"


def unlearning_method(
    name: str, *, version: int, presets: Presets | None = None, source_sizes: tuple[int, int] | None = None
) -> Callable[[type[T]], type[T]]:
    """Mark a frozen dataclass as an unlearning method.

    Args:
        name: lower-case letters, digits, `_`; the built-in ones equal their file's name.
        version: raised with every change of behaviour, so that old records never pass for new ones.
        presets: further named sets of hyper-parameters from the source, as changes to the defaults;
            `published` is the defaults themselves.
        source_sizes: forget and retain images of the experiment that the published values come from. With them, a field
            `lr` and a method `updates(forget, retain)` there is a preset `scaled`: the learning rates under which
            lr x updates is what it was there (PROTOCOL 4.1). Fields that end in `_lr` are scaled with it.
    """
    return _marker(PluginInfo("unlearning", name, version, _presets(presets, source_sizes), source_sizes))


def backdoor_defense(
    name: str,
    *,
    version: int,
    presets: Presets | None = None,
    source_sizes: tuple[int] | None = None,
    data_free: bool = False,
) -> Callable[[type[T]], type[T]]:
    """Mark a frozen dataclass with a method `defend` as a defence of a trained model.

    Args as in `unlearning_method`, but that `source_sizes` and `updates` take one size, the defender's clean images;
    `data_free` says that the defence looks at none of them.
    """
    power: Power = "data-free" if data_free else "post-training"
    return _marker(DefenseInfo("defenses", name, version, _presets(presets, source_sizes), source_sizes, power))


def training_defense(
    name: str, *, version: int, presets: Presets | None = None, source_sizes: tuple[int] | None = None
) -> Callable[[type[T]], type[T]]:
    """Mark a frozen dataclass with a method `train` as a defence that trains on poisoned data itself.

    Args as in `unlearning_method`, but that `source_sizes` and `updates` take one size, the training images.
    """
    info = DefenseInfo("defenses", name, version, _presets(presets, source_sizes), source_sizes, "in-training")
    return _marker(info)


def backdoor_attack(
    name: str,
    *,
    version: int,
    presets: Presets | None = None,
    goal: Goal = "all-to-one",
    victims: Victims = "others",
    controls_training: bool = False,
) -> Callable[[type[T]], type[T]]:
    """Mark a frozen dataclass with a field `ratio` and a method `trigger` as a backdoor attack.

    Args:
        name: as in `unlearning_method`, with version and presets.
        version: the same.
        presets: the same.
        goal: what a stamped image is to be taken for: the target, or the class after its own; `none` for the control.
        victims: whose images are poisoned. `ratio` counts over the train pool, for `target` over the target class. A
            field `cover_ratio` asks for images that are stamped too but keep their label.
        controls_training: whether stamps are drawn anew whenever a training image is served.
    """
    known = _presets(presets, None)
    return _marker(AttackInfo("attacks", name, version, known, None, goal, victims, controls_training))


def _presets(presets: Presets | None, source_sizes: tuple[int, ...] | None) -> Presets:
    return {"published": {}, **({"scaled": {}} if source_sizes else {}), **(presets or {})}


def _marker(info: PluginInfo) -> Callable[[type[T]], type[T]]:
    def mark(plugin: type[T]) -> type[T]:
        plugin.plugin_info = info  # type: ignore[attr-defined]
        return plugin

    return mark
