"""Layers that a method adds to a model, so that model and layers can be stored as weights and built again from them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

LAYERS: dict[str, type[nn.Module]] = {
    "Conv2d": nn.Conv2d, "BatchNorm2d": nn.BatchNorm2d, "Linear": nn.Linear, "ReLU": nn.ReLU,
}  # fmt: skip
"""What may be inserted."""

Insertion = dict[str, Any]
"""`before`: a module's name in the model without insertions; `layers`: a list of [name in `LAYERS`, its arguments]."""


class Inserted(nn.Sequential):
    """The added layers, then the module that they stand in front of."""

    def __init__(self, layers: Sequence[tuple[str, Mapping[str, Any]]], module: nn.Module) -> None:
        added = nn.Sequential(*(LAYERS[name](**arguments) for name, arguments in layers))
        super().__init__(added, module)
        self.layers = [[name, dict(arguments)] for name, arguments in layers]

    @property
    def added(self) -> nn.Module:
        """The added layers alone."""
        return self[0]


def insert_before(model: nn.Module, path: str, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> nn.Module:
    """Put layers in front of a module of the model, in place; returns the layers, to be initialised and trained.

    Args:
        model: changed in place; the layers go to its device.
        path: the module's name, as in `model.named_modules()`.
        layers: (name in `LAYERS`, keyword arguments) of each, first to last.

    Raises:
        KeyError: a layer that is not allowed.
        AttributeError: no such module.
    """
    inserted = Inserted(layers, model.get_submodule(path)).to(next(model.parameters()).device)
    model.set_submodule(path, inserted)
    return inserted.added


def insertions_of(model: nn.Module) -> list[Insertion]:
    """The insertions that rebuild the model's structure from a fresh one, in the order in which they are to be made."""
    return list(_insertions(model, ""))


def rebuild(model: nn.Module, insertions: Sequence[Insertion]) -> nn.Module:
    """A fresh model with the same insertions, its added layers untrained; changed in place and returned."""
    for insertion in insertions:
        insert_before(model, insertion["before"], insertion["layers"])
    return model


def _insertions(module: nn.Module, path: str) -> Iterator[Insertion]:
    for name, child in module.named_children():
        here = f"{path}.{name}" if path else name
        found, inner = list[Insertion](), child
        while isinstance(inner, Inserted):
            found.append({"before": here, "layers": inner.layers})
            inner = inner[1]
        yield from _insertions(inner, here)  # first, while the names on the way are those of the fresh model
        yield from reversed(found)  # of several in one place the innermost came first
