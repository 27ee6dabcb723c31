"""What crosses between the suite and a plugin's process: an order and a handout there, an answer and weights back.

Plain JSON and safetensors. What comes back was written by code that nobody vouches for: it is read with a limit on its
size, never through a link, and checked before use.
"""

import json
import os
import stat
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor

from benchmark.api import Recipe
from benchmark.checks import BrokenMethod
from benchmark.contracts.insertion import LAYERS, Insertion
from benchmark.describe import Description
from benchmark.errors import MedsafeError
from benchmark.handout import Handout, Network, Share
from benchmark.store.tensors import write_tensors

ORDER, PARTS, TENSORS = "order.json", "handout.json", "handout.safetensors"
ANSWER, WEIGHTS, FINDINGS = "answer.json", "model.safetensors", "findings.jsonl"
MOST_JSON = 4_000_000
"""Bytes that an answer may take."""
SPARE = 1_000_000
"""Bytes that a file of weights may take beside its tensors."""

NonNegative = Annotated[FiniteFloat, Field(ge=0)]
Argument = int | bool | str | list[int]


class Message(BaseModel):
    """Nothing unknown is read over."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Order(Message):
    """What the plugin's process is to do; written by the suite."""

    operation: Literal["describe", "configure", "carry out", "check"]
    kind: str
    name: str
    file: str | None = None
    """The plugin's file in the exchange folder; None: an installed package."""
    entry: str | None = None
    """Module and class in that package: the process may not see what the package says of itself."""
    preset: str = "published"
    parameters: dict[str, str] = {}
    sizes: tuple[int, ...] | None = None
    hyperparameters: dict[str, JsonValue] = {}
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    file_bytes: int
    """The largest file that the process may write."""
    memory_bytes: int


class Cost(Message):
    """What a call cost, as the plugin's process counted it."""

    flops: Annotated[int, Field(ge=0)]
    seconds: NonNegative


class Inserted(Message):
    """A declared insertion of layers that are allowed."""

    before: Annotated[str, Field(max_length=1000)]
    layers: Annotated[list[tuple[str, dict[str, Argument]]], Field(max_length=16)]

    def plain(self) -> Insertion:
        """As `benchmark.contracts.insertion` takes it.

        Raises:
            BrokenMethod: a layer that is not allowed.
        """
        for name, arguments in self.layers:
            if name not in LAYERS or {"device", "dtype"} & set(arguments):
                raise BrokenMethod(f"inserted a layer that is not allowed: '{name}'")
        return {"before": self.before, "layers": [[name, dict(arguments)] for name, arguments in self.layers]}


class Answer(Message):
    """What the plugin's process made of its order."""

    outcome: Literal["ok", "refused", "diverged", "unsupported", "broken"] = "ok"
    reason: Annotated[str, Field(max_length=10_000)] = ""
    descriptions: list[Description] = []
    hyperparameters: dict[str, JsonValue] = {}
    cost: Cost | None = None
    insertions: Annotated[list[Inserted], Field(max_length=16)] = []


def write_handout(folder: Path, handout: Handout) -> None:
    """Put a handout into the exchange folder.

    Raises:
        MedsafeError: it does not fit there, or the folder cannot be written.
    """
    tensors = {f"weights.{name}": tensor for name, tensor in handout.weights.items()}
    for name, share in handout.shares.items():
        tensors |= {f"{name}.images": share.images, f"{name}.labels": share.labels}
    parts = {
        "kind": handout.kind, "seeds": {name: share.seed for name, share in handout.shares.items()},
        "channels_last": [name for name, share in handout.shares.items() if is_channels_last(share.images)],
        "augmentation": handout.augmentation, "network": asdict(handout.network), "model_seed": handout.model_seed,
        "draw_seed": handout.draw_seed, "recipe": asdict(handout.recipe), "selects_epoch": handout.selects_epoch,
        "insertion_point": handout.insertion_point, "insertions": handout.insertions,
    }  # fmt: skip
    try:
        write_tensors({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, folder / TENSORS)
        (folder / PARTS).write_text(json.dumps(parts))
    except OSError as error:
        reason = f"'{folder.parent}' cannot hold what a method is handed ({error.strerror})"
        raise MedsafeError(f"{reason}: set TMPDIR to a folder that can") from error


def read_handout(folder: Path, device: torch.device) -> Handout:
    """The same handout again; the suite's own file, so that nothing is checked."""
    parts = json.loads((folder / PARTS).read_text())
    tensors = load_file(folder / TENSORS, str(device))
    for name in parts.pop("channels_last"):  # kernels, and so bits, depend on it
        tensors[f"{name}.images"] = tensors[f"{name}.images"].contiguous(memory_format=torch.channels_last)
    shares = {
        name: Share(tensors[f"{name}.images"], tensors[f"{name}.labels"], seed)
        for name, seed in parts.pop("seeds").items()
    }
    policy, allowed = parts.pop("augmentation")
    recipe = parts.pop("recipe")
    return Handout(
        shares=shares, augmentation=(policy, tuple(allowed)), network=Network(**parts.pop("network")),
        recipe=Recipe(**recipe | {"milestones": tuple(recipe["milestones"])}),
        weights={name.removeprefix("weights."): t for name, t in tensors.items() if name.startswith("weights.")},
        insertions=tuple(parts.pop("insertions")), **parts,
    )  # fmt: skip


def read_answer(folder: Path) -> Answer:
    """What the process said.

    Raises:
        BrokenMethod: nothing, or nothing that can be read.
    """
    text = read_regular(folder / ANSWER, MOST_JSON)
    try:
        return Answer.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise BrokenMethod(f"ended with an answer that cannot be read: {place} {first['msg']}") from None


def read_weights(folder: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The returned state dict, on the CPU: names, shapes and dtypes as expected.

    Raises:
        BrokenMethod: it is missing, unreadable, too large, or of another structure.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in expected.values())
    content = read_regular(folder / WEIGHTS, size + SPARE)
    try:
        weights = load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BrokenMethod(f"returned weights that cannot be read: {error}") from None
    form = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in weights.items()}
    wanted = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in expected.items()}
    if form != wanted:
        changed = sorted({name for name, _ in set(form.items()) ^ set(wanted.items())})
        raise BrokenMethod(f"returned a model of another structure: {changed[0]} differs")
    return weights


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a plain file that is no link and not too large.

    Raises:
        BrokenMethod: it is no such file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise BrokenMethod(f"ended without an answer: {path.name} is missing") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise BrokenMethod(f"returned a {path.name} that is no plain file of at most {most} bytes")
        return file.read(most)


def is_channels_last(images: Tensor) -> bool:
    """Whether images lie in memory pixel by pixel, and not channel by channel."""
    return not images.is_contiguous() and images.is_contiguous(memory_format=torch.channels_last)
