"""What an attack does to a block: the poisoned set, the model trained on it, and the stamped test images."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmark.api import (
    AttackInfo,
    AttackTask,
    Diverged,
    MedsafeError,
    Split,
    Trigger,
    Unsupported,
    derive_seed,
)
from benchmark.config import MethodSpec
from benchmark.data.poison import VERSION, PoisonRows, draw_poison, target_class
from benchmark.handout import Handout, Share
from benchmark.seeding import seeded
from benchmark.store.artifacts import Artifact
from benchmark.tracks.models import Workbench
from benchmark.tracks.shared import SharedModel, oracle, original, surrogate
from benchmark.tracks.stored import Made, hash_rows

POISON = "poison.safetensors"


class AttackFailed(Exception):
    """The attack came to nothing: it diverged, or cannot work here. It counts for no defence (PROTOCOL 7.2)."""


@dataclass(frozen=True, eq=False)
class Attack:
    """A configured attack: what it wants, its hyper-parameters, and its part of a run's identity."""

    info: AttackInfo
    method: Any
    spec: MethodSpec

    def rows(self, bench: Workbench, block: int) -> PoisonRows:
        """The images that it stamps in a block."""
        shares = {"ratio": self.method.ratio, "cover_ratio": getattr(self.method, "cover_ratio", 0.0)}
        return draw_poison(bench.dataset, bench.splits, self.info, block=block, **shares)


@dataclass(frozen=True, eq=False)
class AttackedBlock:
    """What all defences of a block share: every comparison is paired on it."""

    number: int
    target: int
    clean: Artifact
    """The model trained on the clean pool."""
    oracle: Artifact
    """The same seeds, without the poisoned images; cover images in their clean form (PROTOCOL 7.3)."""
    attack: Artifact | None
    """The attacker's model, and the poison; None in the control."""
    backdoored: Artifact
    """What is to be repaired, or, for defences that train, what training without a defence gives (PROTOCOL 7.5)."""

    @cached_property
    def poison(self) -> dict[str, Tensor]:
        """`stamped` test images, the `images` and `labels` of the static poisoned pool, `unchanged` test images."""
        return load_file(self.attack / POISON) if self.attack else {}


def prepare(bench: Workbench, attack: Attack, block: int, *, in_training: bool) -> AttackedBlock:
    """Have the block's models trained, or found.

    Raises:
        AttackFailed: there is no attack to defend against.
    """
    clean, *others = shared_models(bench, attack, block, in_training=in_training)
    found, target = clean.get(), target_class(bench.dataset, block)
    if not others:
        return AttackedBlock(block, target, found, found, None, found)
    attacker = attacked(bench, attack, block)
    ideal, *static = (model.get() for model in others[1:])
    return AttackedBlock(block, target, found, ideal, attacker, static[0] if static else attacker)


def shared_models(bench: Workbench, attack: Attack, block: int, *, in_training: bool) -> list[SharedModel]:
    """The clean model; and where there is an attack, the attacker's, the oracle, and that of a static poisoned set."""
    clean = original(bench, block)
    if attack.info.goal == "none":
        return [clean]
    rows, attacker = attack.rows(bench, block), attacked_model(bench, attack, block)
    honest = oracle(bench, block, np.setdiff1d(bench.splits.pool, rows.poisoned))
    static = [_on_static_poison(bench, attacker, block)] if in_training and attack.info.controls_training else []
    return [clean, attacker, honest, *static]


def stamped_test(bench: Workbench, attack: Attack, block: int) -> Tensor:
    """The official test images under the block's trigger, uint8, in the order of `bench.splits.test`."""
    return load_file(attacked(bench, attack, block) / POISON)["stamped"]


def training_handout(bench: Workbench, block: AttackedBlock) -> Handout:
    """The static poisoned set as a defender gets it, with the seeds under which the backdoored model was trained."""
    if block.attack:
        images, labels = (block.poison[name].to(bench.device) for name in ("images", "labels"))
        train = Share(images, labels, derive_seed(block.number, "original", "order"))
    else:
        train = bench.share(bench.splits.pool, block.number, "original", "order")
    return bench.handout("in-training", block.number, {"train": train}, model_purpose="original")


def _on_static_poison(bench: Workbench, attacker: SharedModel, block: int) -> SharedModel:
    """What ordinary training makes of the images that an attacker who controls the training hands over."""
    title = f"static poison, block {block}"

    def make() -> Made:
        static = load_file(attacker.get() / POISON)
        images, labels = (static[name].to(bench.device) for name in ("images", "labels"))
        split = Split(images, labels, derive_seed(block, "original", "order"), bench.augmentation)
        model, seed = bench.fresh_model(block, "original", "model"), derive_seed(block, "original", "global")
        return bench.fit(model, split, bench.splits.validation, title, seed=seed)

    key = bench.common_key(bench.splits.validation) | {"kind": "backdoored", "static": attacker.id, "block": block}
    return SharedModel(bench, title, key, make, attacker.images, needs=(attacker,))


def attacked(bench: Workbench, attack: Attack, block: int) -> Artifact:
    """The model trained on the poisoned pool with the Original's seeds, and the poison.

    Raises:
        AttackFailed: the attack diverged, or cannot work here.
    """
    try:
        return attacked_model(bench, attack, block).get()
    except (Diverged, Unsupported) as error:
        raise AttackFailed(str(error)) from error
    except SystemExit as error:
        raise RuntimeError(f"attack {attack.info.name} raised SystemExit") from error


def attacked_model(bench: Workbench, attack: Attack, block: int) -> SharedModel:
    """The same, before it is trained."""
    rows, title = attack.rows(bench, block), f"{attack.info.name}, block {block}"
    target = target_class(bench.dataset, block)

    def make() -> Made:
        task = _attack_task(bench, block, rows)
        with bench.clock.span("training"), seeded(derive_seed(block, "attack", "global")):
            trigger = attack.method.trigger(task)
            split = _training_split(bench, attack.info, task, trigger, block)
            model, seed = bench.fresh_model(block, "original", "model"), derive_seed(block, "original", "global")
            made = bench.fit(model, split, bench.splits.validation, title, seed=seed, before_step=trigger.before_step)
            return replace(made, files={POISON: _poison(bench, attack.info, task, trigger, split)})

    key = bench.common_key(bench.splits.validation) | {
        "kind": "backdoored", "attack": asdict(attack.spec), "block": block, "poisoning_version": VERSION,
        "rows": hash_rows(bench.splits.pool), "target": target,
        "poisoned": hash_rows(rows.poisoned), "cover": hash_rows(rows.cover),
    }  # fmt: skip
    poison = (len(bench.splits.pool) + len(bench.splits.test)) * bench.images[0].nbytes
    return SharedModel(
        bench, title, key, make, len(bench.splits.pool) * bench.recipe.epochs, further_bytes=poison
    )  # fmt: skip


def _attack_task(bench: Workbench, block: int, rows: PoisonRows) -> AttackTask:
    pool = bench.splits.pool
    return AttackTask(
        train=bench.split(pool, block, "attack", "train"),
        target=target_class(bench.dataset, block),
        poisoned=bench.rows_on_device(np.searchsorted(pool, rows.poisoned)),
        cover=bench.rows_on_device(np.searchsorted(pool, rows.cover)),
        num_classes=bench.dataset.num_classes,
        generator=torch.Generator(bench.device).manual_seed(derive_seed(block, "attack", "draws")),
        clean_model=lambda: bench.load(surrogate(bench, block).get()),
        progress=bench.progress,
    )


def _training_split(bench: Workbench, info: AttackInfo, task: AttackTask, trigger: Trigger, block: int) -> Split:
    """The poisoned pool as the model is trained on it: stamped once, or anew at every serve."""
    labels = task.train.labels.clone()
    labels[task.poisoned] = (labels[task.poisoned] + 1) % task.num_classes if info.goal == "all-to-all" else task.target
    seed = derive_seed(block, "original", "order")
    if info.controls_training:
        transform = _stamper(task, trigger)
        return Split(task.train.images, labels, seed, bench.augmentation, transform)
    return Split(_stamped_pool(task, trigger), labels, seed, bench.augmentation)


def _poison(bench: Workbench, info: AttackInfo, task: AttackTask, trigger: Trigger, split: Split) -> dict[str, Tensor]:
    """What outlives the attack: the stamped test set, and the static poisoned pool of its last state (PROTOCOL 7.5)."""
    test = bench.images[bench.rows_on_device(bench.splits.test)]
    stamped = _stamp_in_parts(trigger.stamp, test)
    return {
        "stamped": stamped,
        "unchanged": (stamped == test).flatten(1).all(dim=1).sum(),
        "images": _stamped_pool(task, trigger) if info.controls_training else split.images,
        "labels": split.labels,
    }


def _stamper(task: AttackTask, trigger: Trigger) -> Callable[[Tensor, Tensor], Tensor]:
    """Stamps those of a batch's images that are the attacker's, by their rows."""
    stamps = _stamps(task, trigger)

    def transform(images: Tensor, rows: Tensor) -> Tensor:
        stamped = images.clone()
        for whose, stamp in stamps:
            mine = whose[rows]
            if mine.any():
                stamped[mine] = stamp(images[mine])
        return stamped

    return transform


def _stamped_pool(task: AttackTask, trigger: Trigger) -> Tensor:
    stamped = task.train.images.clone()
    for whose, stamp in _stamps(task, trigger):
        if whose.any():
            stamped[whose] = _stamp_in_parts(stamp, task.train.images[whose])
    return stamped


def _stamps(task: AttackTask, trigger: Trigger) -> list[tuple[Tensor, Callable[[Tensor], Tensor]]]:
    """Boolean masks over the pool, each with the stamp of its images."""
    masks = []
    for rows, own in ((task.poisoned, trigger.train_stamp), (task.cover, trigger.cover_stamp)):
        mask = torch.zeros(len(task.train), dtype=torch.bool, device=rows.device)
        mask[rows] = True
        masks.append((mask, own or trigger.stamp))
    return masks


def _stamp_in_parts(stamp: Callable[[Tensor], Tensor], images: Tensor, size: int = 1024) -> Tensor:
    """A generator's maps of a whole test set need more memory than they should."""
    stamped = torch.cat([stamp(part) for part in images.split(size)])
    if stamped.shape != images.shape or stamped.dtype != images.dtype:
        raise MedsafeError(
            f"the attack's stamp returns {stamped.dtype} {tuple(stamped.shape)}, not images as it got them"
        )
    return stamped
