"""What a defender can get at: the walk that looks for leaks, proved on planted ones."""

import dataclasses
from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import pytest
import torch

from attacks.badnets import BadNets
from benchmark.api import DefenseTask, PoisonedTrainingTask, Split
from benchmark.data.datasets import load_dataset
from benchmark.models import build_model
from tests.helpers import holders, poisoned_task, reachable

SECRET = torch.arange(48, dtype=torch.uint8).reshape(3, 4, 4) + 100


@dataclasses.dataclass(frozen=True, eq=False)
class Holder:
    inside: object


@dataclasses.dataclass(slots=True)
class Slotted:
    inside: object


class Bench:
    def __init__(self, inside):
        self.inside = inside

    def fit(self, model):
        return model


def in_a_closure(inside):
    def function():
        return inside

    return function


def in_a_default(inside):
    def function(value=inside, *, other=None):
        return value, other

    return function


def in_a_keyword_default(inside):
    def function(*, value=inside):
        return value

    return function


def in_a_cache(inside):
    cached = lru_cache(lambda: inside)
    cached()
    return cached


def in_a_generator(inside):
    generator = (inside for _ in range(3))
    next(generator)
    return generator


def in_a_function_attribute(inside):
    function = in_a_closure(None)
    function.kept = inside
    return function


def in_itself(inside):
    ring = [inside]
    ring.append(ring)
    return ring


def with_gradient():
    parameter = torch.nn.Parameter(torch.zeros(3, 4, 4))
    parameter.grad = SECRET.float().div(255)
    return parameter


class WithBuffer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("kept", SECRET.clone())


PLACES: dict[str, Callable[[object], object]] = {
    "dataclass field": Holder,
    "slot": Slotted,
    "attribute": Bench,
    "list": lambda inside: [[inside]],
    "tuple": lambda inside: (0, (inside,)),
    "dict": lambda inside: {"a": {"b": inside}},
    "key": lambda inside: {inside: 1},
    "set": lambda inside: {inside},
    "deque": lambda inside: deque([inside]),
    "closure": in_a_closure,
    "closure of a closure": lambda inside: in_a_closure(in_a_closure(inside)),
    "default": in_a_default,
    "keyword default": in_a_keyword_default,
    "partial": lambda inside: partial(print, inside),
    "partial keyword": lambda inside: partial(print, end=inside),
    "partial of a closure": lambda inside: partial(in_a_closure(inside)),
    "partial of a bound method": lambda inside: partial(Bench(inside).fit, None),
    "bound method": lambda inside: Bench(inside).fit,
    "bound method of a list": lambda inside: [inside].append,
    "cache": in_a_cache,
    "generator": in_a_generator,
    "iterator": lambda inside: map(str, [inside]),
    "function attribute": in_a_function_attribute,
    "ring": in_itself,
}
"""How something can be hidden in an object."""

FORMS: dict[str, Callable[[], object]] = {
    "tensor": SECRET.clone,
    "array": lambda: SECRET.numpy().copy(),
    "row of a batch": lambda: torch.stack([SECRET * 0, SECRET]),
    "floats": lambda: SECRET.float().div(255),
    "channels last": lambda: SECRET.permute(1, 2, 0).contiguous(),
    "channels_last batch": lambda: SECRET[None].float().div(255).contiguous(memory_format=torch.channels_last),
    "left out by a slice": lambda: torch.stack([SECRET, SECRET * 0])[1:],
    "left out by a slice of an array": lambda: np.stack([SECRET.numpy(), 0 * SECRET.numpy()])[1:],
    "array of objects": lambda: np.array([None, SECRET], dtype=object),
    "buffer of a model": WithBuffer,
    "gradient": with_gradient,
}
"""How an image can be there."""


@pytest.mark.parametrize("place", PLACES)
def test_whatever_is_hidden_is_found(place):
    class Mark:
        pass

    mark = Mark()
    assert any(thing is mark for _, thing in reachable(PLACES[place](mark)))


@pytest.mark.parametrize("place", ["closure", "partial keyword", "bound method", "generator", "dataclass field"])
@pytest.mark.parametrize("form", FORMS)
def test_a_hidden_image_is_found_in_every_form(place, form):
    assert holders(PLACES[place](FORMS[form]()), SECRET)
    assert not holders(PLACES[place](FORMS[form]()), SECRET.flip(0))


def test_the_path_says_where():
    task = Holder({"fit": partial(Bench([SECRET]).fit, None)})
    assert holders(task, SECRET) == ["task.inside['fit'].func.__self__.inside[0]"]


def test_plain_values_are_named_wherever_they_are():
    paths = {path for path, thing in reachable({"num_classes": 3, "target": 3}) if thing == 3}
    assert paths == {"task['num_classes']", "task['target']"}


def test_globals_classes_and_modules_are_not_walked():
    def reads_a_global():
        return SECRET

    assert not holders(reads_a_global, SECRET)
    assert not holders([WithBuffer, np, torch], SECRET)


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("bloodmini")


def test_a_task_of_copies_holds_its_own_images_and_none_of_the_others(dataset):
    task = poisoned_task(dataset)
    clean = int(torch.nonzero(dataset.labels[:240] == 0)[0])
    assert holders(task, dataset.images[clean]) == ["task.train.images"]
    assert not any(holders(task, dataset.images[row]) for row in (240, int(dataset.test[0]), int(dataset.test[-1])))
    assert not any(isinstance(thing, BadNets) for _, thing in reachable(task))


LEAKS: dict[str, Callable[[object], dict[str, object]]] = {
    "fit that is a method of what holds the data": lambda data: {"fit": Bench(data).fit},
    "fresh_model that closes over the data": lambda data: {
        "fresh_model": lambda: build_model("cnn-small", channels=data.channels, num_classes=8, seed=0)
    },
    "fit with the data among its arguments": lambda data: {"fit": partial(Bench(None).fit, data)},
    "images that are a view": lambda data: {"train": Split(data.images[:240], data.labels[:240], seed=0)},
    "transform of the split": lambda data: {
        "train": dataclasses.replace(poisoned_task(data).train, transform=lambda images, rows: data.images[rows])
    },
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_task_that_leads_to_test_images_is_found_out(dataset, leak):
    task = dataclasses.replace(poisoned_task(dataset), **LEAKS[leak](dataset))
    assert holders(task, dataset.images[int(dataset.test[0])])


@pytest.mark.parametrize(
    ("task", "data"), [(DefenseTask, {"clean", "insertion_point"}), (PoisonedTrainingTask, {"train"})]
)
def test_a_defenders_task_has_no_other_fields(task, data):
    common = {"num_classes", "recipe", "generator", "fresh_model", "fit", "progress"}
    assert {field.name for field in dataclasses.fields(task)} == common | data
