"""The suite's side: a plugin that somebody else wrote, never loaded into the suite's own process."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.api import Diverged, PluginInfo, Unsupported
from benchmark.checks import BrokenMethod
from benchmark.config import canonical_json
from benchmark.contracts.insertion import Insertion, rebuild
from benchmark.describe import Description, describe
from benchmark.errors import MedsafeError, unknown
from benchmark.handout import Handout
from benchmark.isolation.messages import (
    FINDINGS,
    MOST_JSON,
    Answer,
    read_regular,
    read_weights,
    write_handout,
)
from benchmark.isolation.origin import Isolation, Origin
from benchmark.registry import BUILT_IN, WORDS, Plugin, built_in, find, in_file, installed, name_taken, taken

MOST_GROWTH = 4
"""With inserted layers a model may have so many times its weights, and so many times its largest output."""


@dataclass(frozen=True)
class IsolatedMethod:
    """A configured plugin, to be carried out in a process of its own."""

    origin: Origin
    kind: str
    name: str
    hyperparameters: Mapping[str, Any]

    def carry_out(self, handout: Handout, seed: int) -> tuple[nn.Module, dict[str, float]]:
        """The model that it returns, built anew from the weights that came back, and the cost that it reports.

        Raises:
            TimedOut, BrokenMethod, Diverged, Unsupported: as it went.
        """
        order = {
            "operation": "carry out", "kind": self.kind, "name": self.name, "seed": seed,
            "hyperparameters": self.hyperparameters, "device": str(handout.device),
        }  # fmt: skip
        with self.origin.exchange() as folder:
            write_handout(folder, handout)
            try:
                answer = self.origin.send(folder, order)
            except MedsafeError as error:
                raise BrokenMethod(str(error)) from error
            _raise_outcome(answer)
            model = _rebuilt(handout, [each.plain() for each in answer.insertions])
            model.load_state_dict(read_weights(folder, model.state_dict()))
        if answer.cost is None:
            raise BrokenMethod("ended with an answer that says no cost")
        return model, answer.cost.model_dump()


@dataclass(frozen=True)
class IsolatedPlugin:
    """What `registry.Plugin` is, of a plugin that is not loaded here."""

    origin: Origin
    description: Description

    @property
    def info(self) -> PluginInfo:
        """What its decorator declares."""
        return self.description.info

    @property
    def version(self) -> str:
        """The declared version, and the hash of its file or the name of its package."""
        return f"{self.description.version}+{self.origin.source}"

    def configure(
        self, preset: str, parameters: dict[str, str], sizes: tuple[int, ...] | None = None
    ) -> IsolatedMethod:
        """As `registry.Plugin.configure`; the plugin's own process does it."""
        values = _configured(
            self.origin, self.info.kind, self.info.name, preset, tuple(parameters.items()),
            sizes if preset == "scaled" else None,
        )  # fmt: skip
        try:
            canonical_json(values)
        except ValueError as error:
            raise MedsafeError(f"{self.info.name}: {error}") from error
        return IsolatedMethod(self.origin, self.info.kind, self.info.name, values)

    def values(self, method: IsolatedMethod) -> dict[str, Any]:
        """The hyper-parameters of a method that it configured."""
        return dict(method.hyperparameters)

    def findings(self) -> Iterator[str]:
        """Every finding of the conformance checks as JSON, as far as they went.

        Raises:
            TimedOut, BrokenMethod: the checks did not come to their end.
        """
        with self.origin.exchange() as folder:
            order = {"operation": "check", "kind": self.info.kind, "name": self.info.name}
            try:
                self.origin.send(folder, order)
            finally:
                if (folder / FINDINGS).exists():
                    yield from read_regular(folder / FINDINGS, MOST_JSON).decode(errors="replace").splitlines()


AnyPlugin = Plugin | IsolatedPlugin


def look_up(kind: str, name: str, file: Path | None, isolation: Isolation) -> AnyPlugin:
    """The plugin of this kind and name; what did not come with the suite stays outside its process.

    Raises:
        MedsafeError: as `registry.find`.
    """
    if isolation.in_process:
        return find(kind, name, file)
    theirs = {each.name: each for each in _in_file(file, isolation) if each.kind == kind}
    for claimed in theirs:
        if claimed in (*built_in(kind), *installed(kind)):
            raise name_taken(claimed, f"'{file}'")
    if name in theirs and file is not None:
        return IsolatedPlugin(Origin.of_file(file, isolation), theirs[name])
    if problem := taken(kind, name):
        raise problem
    if name in installed(kind):
        origin = Origin(isolation, point=installed(kind)[name])
        return IsolatedPlugin(origin, _only(origin.descriptions(kind, name), kind, name))
    if name not in built_in(kind):
        raise unknown(WORDS[kind], name, [*built_in(kind), *installed(kind), *theirs])
    return find(kind, name)


def _only(found: list[Description], kind: str, name: str) -> Description:
    """The description that was asked for: a stranger's process may send another."""
    if len(found) != 1 or (found[0].kind, found[0].name) != (kind, name):
        raise MedsafeError(f"plugin '{name}' is unavailable: it describes itself as something else")
    return found[0]


def kind_of(
    name: str, file: Path | None, isolation: Isolation, among: tuple[str, ...] = ("unlearning", "defenses")
) -> str:
    """The first of the kinds that has a method of this name.

    Raises:
        MedsafeError: none has, or a file that cannot be loaded.
    """
    theirs = _in_file(file, isolation)
    known = {
        kind: {*built_in(kind), *installed(kind), *(each.name for each in theirs if each.kind == kind)}
        for kind in among
    }
    for kind in among:
        if name in known[kind]:
            return kind
    raise unknown("method", name, sorted(set().union(*known.values())))


def description_of(name: str, kind: str | None, file: Path | None, isolation: Isolation) -> Description:
    """What a plugin of any kind says of itself.

    Raises:
        MedsafeError: there is none of this name.
    """
    kind = kind or kind_of(name, file, isolation, tuple(BUILT_IN))
    plugin = look_up(kind, name, file, isolation)
    return plugin.description if isinstance(plugin, IsolatedPlugin) else describe(plugin.cls)


def offered(kind: str) -> Iterator[tuple[str, str | None]]:
    """Name of every plugin of an installed package, and why it is unavailable, if it is."""
    for name in sorted(installed(kind)):
        try:
            look_up(kind, name, None, Isolation())
        except MedsafeError as error:
            yield name, str(error)
        else:
            yield name, None


def _in_file(file: Path | None, isolation: Isolation) -> list[Description]:
    if file is None:
        return []
    if isolation.in_process:
        return [describe(plugin.cls) for plugin in in_file(file)]
    return Origin.of_file(file, isolation).descriptions()


@cache
def _configured(
    origin: Origin,
    kind: str,
    name: str,
    preset: str,
    parameters: tuple[tuple[str, str], ...],
    sizes: tuple[int, ...] | None,
) -> dict[str, Any]:
    order = {
        "operation": "configure", "kind": kind, "name": name, "preset": preset, "parameters": dict(parameters),
        "sizes": sizes,
    }  # fmt: skip
    return origin.ask(order).hyperparameters


def _raise_outcome(answer: Answer) -> None:
    errors: dict[str, type[Exception]] = {"diverged": Diverged, "unsupported": Unsupported, "broken": BrokenMethod}
    if answer.outcome in errors:
        raise errors[answer.outcome](answer.reason)


def _rebuilt(handout: Handout, insertions: list[Insertion]) -> nn.Module:
    """A fresh model with the declared layers; first without memory, for their sizes come from a stranger."""
    try:
        with torch.device("meta"):
            shapes = rebuild(handout.network.build(torch.device("meta"), 0), insertions)
            images = torch.empty((2, *next(iter(handout.shares.values())).images.shape[1:]))
            bare = handout.network.build(torch.device("meta"), 0)
            sizes = [(_weights(each), _largest_output(each, images)) for each in (shapes, bare)]
        for what, size, allowed in zip(("weights", "values in one output"), *sizes, strict=True):
            if size > MOST_GROWTH * allowed:
                raise BrokenMethod(f"inserted layers with {size} {what}: at most {MOST_GROWTH * allowed} are allowed")
        return rebuild(handout.network.build(handout.device, 0), insertions)
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise BrokenMethod(f"inserted layers that cannot be built: {error}") from error


def _weights(model: nn.Module) -> int:
    return sum(tensor.numel() for tensor in model.state_dict().values())


def _largest_output(model: nn.Module, images: Tensor) -> int:
    """Values in the largest output of any of its modules."""
    sizes: list[int] = []
    for module in model.modules():
        module.register_forward_hook(lambda _, __, output: sizes.append(output.numel()))
    model.eval()(images)
    return max(sizes)
