"""Comparisons that many tests make."""

import gc
import json
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType, NoneType

import numpy as np
import psutil
import torch
from torch import Tensor

from attacks.badnets import BadNets
from benchmark.api import PoisonedTrainingTask, Recipe, Split
from benchmark.models import build_model
from benchmark.training import silent, train


def same_bits(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    """Whether two state dicts are equal to the last bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def records(folder: str = "results/local") -> list[dict[str, object]]:
    """Every record below a folder."""
    return [json.loads(path.read_text()) for path in sorted(Path(folder).rglob("*.json"))]


def poisoned_task(dataset, seed=0, augmentation=None, served=None) -> PoisonedTrainingTask:
    """The task of training on 240 images, 30 of them stamped and called class 0; `served` collects what is trained on.

    A new one for each call: drawing from a task changes its streams.
    """
    images, labels = dataset.images[:240].clone(), dataset.labels[:240].clone()
    rows = torch.nonzero(labels != 0).flatten()[:30]
    images[rows], labels[rows] = BadNets().stamp(images[rows]), 0
    recipe, num_classes = Recipe("test", "sgd", 0.05, epochs=2, batch_size=32), dataset.num_classes

    def fit(model, split):
        if served is not None:
            served.append(split)
        return train(model, split, recipe)

    return PoisonedTrainingTask(
        train=Split(images, labels, seed, augmentation),
        num_classes=num_classes,
        recipe=recipe,
        generator=torch.Generator().manual_seed(seed + 1),
        fresh_model=lambda: build_model("cnn-small", channels=3, num_classes=num_classes, seed=seed + 2),
        fit=fit,
        progress=silent,
    )


LEAVES = (str, bytes, int, float, complex, NoneType, type, ModuleType, CodeType, np.generic, torch.dtype, torch.device)
"""Where a walk ends: plain values, and what every module can import anyway."""


def reachable(start: object, name: str = "task") -> Iterator[tuple[str, object]]:
    """(path, thing) of all that code holding `start` can get at; nearest first, each object once, plain values always.

    Follows attributes, slots, containers, what functions close over and default to, the arguments of partials, the
    selves of bound methods, and the memory behind views. Ends at classes, modules and the globals of functions.
    """
    seen: dict[int, object] = {}  # also keeps alive what is made here, so that no id is given twice
    waiting = deque([(name, start)])
    while waiting:
        path, thing = waiting.popleft()
        if id(thing) in seen:
            continue
        yield path, thing
        if not isinstance(thing, LEAVES):
            seen[id(thing)] = thing
            waiting.extend((path + step, part) for step, part in _parts(thing))


def holders(start: object, image: Tensor) -> list[str]:
    """Paths of the reachable tensors and arrays that hold this uint8 image (channels, height, width).

    Found as bytes or as floats in [0, 1], with channels first or last, anywhere in the memory behind a view.
    """
    layouts = (image.cpu(), image.cpu().permute(1, 2, 0))
    forms = [_bytes(form) for layout in layouts for form in (layout, layout.float().div(255))]
    arrays = ((path, thing) for path, thing in reachable(start) if isinstance(thing, Tensor | np.ndarray))
    return [path for path, array in arrays if any(form in _bytes(array) for form in forms)]


def _bytes(array: Tensor | np.ndarray) -> bytes:
    if isinstance(array, np.ndarray):
        return array.tobytes()
    return array.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _parts(thing: object) -> Iterator[tuple[str, object]]:
    """(step of the path, what it leads to) for everything that an object holds itself."""
    attributes = getattr(thing, "__dict__", {})
    yield from ((f".{name}", value) for name, value in attributes.items())
    if isinstance(thing, Mapping):
        yield from ((f"[{key!r}]", value) for key, value in thing.items())
        yield from ((".keys()", key) for key in thing if not isinstance(key, LEAVES))
    elif isinstance(thing, list | tuple | deque):
        yield from ((f"[{place}]", item) for place, item in enumerate(thing))
    elif isinstance(thing, FunctionType):
        closed = zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True)
        yield from ((f".<{name}>", value) for name, cell in closed for value in gc.get_referents(cell))
        yield from ((f".{name}", getattr(thing, name)) for name in ("__defaults__", "__kwdefaults__"))
    elif isinstance(thing, partial):
        yield from ((f".{name}", getattr(thing, name)) for name in ("func", "args", "keywords"))
    elif isinstance(thing, MethodType | BuiltinFunctionType):
        yield from ((f".{name}", getattr(thing, name, None)) for name in ("__self__", "__func__"))
    elif isinstance(thing, Tensor):
        storage = thing.untyped_storage()
        if storage.nbytes() > thing.numel() * thing.element_size():
            yield ".untyped_storage()", torch.empty(0, dtype=torch.uint8, device=thing.device).set_(storage)
        yield ".grad", thing.grad if thing.is_leaf else None
    elif isinstance(thing, np.ndarray):
        yield ".base", thing.base
        yield ".tolist()", thing.tolist() if thing.dtype == object else None
    elif isinstance(thing, FrameType):
        yield ".f_locals", thing.f_locals
    else:  # slots, sets, generators, iterators, caches: whatever the garbage collector can see
        held = (part for part in gc.get_referents(thing) if part is not attributes)
        yield from (("->", part) for part in held if not attributes or not isinstance(part, LEAVES))


def words_of(process: psutil.Process) -> str:
    """A process's command line; nothing where it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
