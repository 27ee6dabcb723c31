"""(kind, name) -> plugin: built in, from an entry point, or a .py file. Nothing is imported until asked for."""

import dataclasses
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import math
import pkgutil
import re
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmark.api import PluginInfo
from benchmark.config import canonical_json
from benchmark.errors import MedsafeError, unknown

BUILT_IN = {"unlearning": "methods.unlearning", "defenses": "methods.defenses", "attacks": "attacks"}
"""Kind -> the package whose modules are named after the plugins they hold; names that start with _ are helpers."""
WORDS = {"unlearning": "unlearning method", "defenses": "defence", "attacks": "attack"}
"""What a plugin of a kind is called in a message."""
MARKERS = {
    "unlearning": "unlearning_method", "defenses": "backdoor_defense or @training_defense", "attacks": "backdoor_attack"
}  # fmt: skip
"""The decorators of each kind."""


LOWEST = {"epochs": 1, "batch_size": 1, "rounds": 1, "lr": 0, "momentum": 0, "weight_decay": 0}
"""Smallest values of hyper-parameters that mean the same in every method: found out before anything is trained."""


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin and where it came from."""

    info: PluginInfo
    cls: type
    source: str
    """`built-in`, the distribution's name, or the hash of the plugin file."""

    @property
    def version(self) -> str:
        """What a record pins: the declared version, with the file's hash for a plugin that is not built in."""
        return str(self.info.version) if self.source == "built-in" else f"{self.info.version}+{self.source}"

    def configure(self, preset: str, parameters: dict[str, str], sizes: tuple[int, ...] | None = None) -> Any:
        """The method with a preset's hyper-parameters, and the user's own on top, given as text.

        Args:
            preset: one of the plugin's.
            parameters: name -> value as text.
            sizes: forget and retain images, or the defender's images, which the preset `scaled` needs.

        Raises:
            MedsafeError: no such preset or hyper-parameter, or a value of the wrong type.
        """
        if preset not in self.info.presets:
            raise unknown(f"preset of {self.info.name}", preset, self.info.presets)
        fields = {field.name: field for field in dataclasses.fields(self.cls)}
        types = typing.get_type_hints(self.cls)
        chosen = dict(self.info.presets[preset])
        if preset == "scaled" and sizes is not None and self.info.source_sizes is not None:
            published = self.cls()
            if not hasattr(published, "updates"):
                raise MedsafeError(f"preset scaled of {self.info.name} needs its method `updates`, a number of steps")
            there, here = published.updates(*self.info.source_sizes), published.updates(*sizes)
            rates = [field for field in fields if field == "lr" or field.endswith("_lr")]
            chosen |= {rate: getattr(published, rate) * there / here for rate in rates}
        for name, text in parameters.items():
            if name not in fields:
                raise unknown(f"hyper-parameter of {self.info.name}", name, fields)
            chosen[name] = _parse(self.info.name, name, text, types[name])
            if name in LOWEST and chosen[name] < LOWEST[name]:
                raise MedsafeError(
                    f"hyper-parameter '{name}' of {self.info.name} is at least {LOWEST[name]}, not {text}"
                )
        return self.with_values(chosen)

    def with_values(self, values: Mapping[str, Any]) -> Any:
        """The method with these hyper-parameters, the others by default; a list is taken for the tuple it was."""
        try:
            method = self.cls(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
            canonical_json(dataclasses.asdict(method))
        except (TypeError, ValueError) as error:
            raise MedsafeError(f"{self.info.name}: {error}") from error
        return method

    def values(self, method: Any) -> dict[str, Any]:
        """The hyper-parameters of a method that it configured."""
        return dataclasses.asdict(method)


def find(kind: str, name: str, file: Path | None = None) -> Plugin:
    """The plugin of this kind and name; `file` is a .py file to look in as well.

    Raises:
        MedsafeError: unknown name, a name that is taken twice, or a plugin that cannot be imported.
    """
    sources = _sources(kind, file)
    if name not in sources:
        raise unknown(WORDS[kind], name, sources)
    if problem := taken(kind, name):
        raise problem
    return sources[name]()


def in_file(file: Path) -> list[Plugin]:
    """Every plugin of a file, of whatever kind; runs the file in this process."""
    module, digest = _load(file)
    return [_checked(cls, digest) for kind in BUILT_IN for cls in _plugins_of(module, kind).values()]


def installed(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    """Name -> entry point of every plugin that an installed package offers; imports none of them.

    Raises:
        MedsafeError: no such kind.
    """
    _package(kind)
    return {point.name: point for point in _entry_points(kind)}


@functools.cache
def built_in(kind: str) -> tuple[str, ...]:
    """Names that come with the suite, without importing any of them."""
    modules = (module.name for module in pkgutil.iter_modules(_package(kind).__path__))
    return tuple(sorted(name for name in modules if not name.startswith("_")))


def _entry_points(kind: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    return _entry_points_on(kind, tuple(sys.path))


@functools.cache
def _entry_points_on(kind: str, path: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    """Those of the packages on this path; kept, for a look at every package takes longer than all else of a plan."""
    return tuple(importlib.metadata.entry_points(group=f"medsafe.{kind}"))


def taken(kind: str, name: str) -> MedsafeError | None:
    """Why a name that an installed package claims cannot be used, where somebody else has it."""
    points = [point for point in _entry_points(kind) if point.name == name]
    if points and (name in built_in(kind) or points[1:]):
        return name_taken(name, f"entry point '{points[-1].value}'")
    return None


def _package(kind: str) -> ModuleType:
    if kind not in BUILT_IN:
        raise unknown("kind of plugin", kind, BUILT_IN)
    return importlib.import_module(BUILT_IN[kind])


def names(kind: str) -> list[str]:
    """All names of a kind, without importing any of them."""
    return sorted(_sources(kind, None))


def _sources(kind: str, file: Path | None) -> dict[str, Callable[[], Plugin]]:
    """Name -> how to load it. A name that a file claims although somebody has it is an error, whoever asks."""
    sources: dict[str, Callable[[], Plugin]] = {name: partial(_from_suite, kind, name) for name in built_in(kind)}
    for name, point in installed(kind).items():
        sources[name] = partial(from_entry_point, point, kind)
    if file is not None:
        for plugin in _from_file(file, kind):
            if plugin.info.name in sources:
                raise name_taken(plugin.info.name, f"'{file}'")
            sources[plugin.info.name] = partial(_itself, plugin)
    return sources


def _itself(plugin: Plugin) -> Plugin:
    return plugin


def name_taken(name: str, claimant: str) -> MedsafeError:
    """The error for a name that somebody else has."""
    return MedsafeError(f"the name '{name}' of {claimant} is taken: choose another name for it")


def _plugins_of(module: ModuleType, kind: str) -> dict[str, type]:
    """The classes that this very module marks as plugins of a kind, by name."""
    plugins: dict[str, type] = {}
    for item in _marked(module):
        info: PluginInfo = item.plugin_info  # type: ignore[attr-defined]
        if info.kind == kind and plugins.setdefault(info.name, item) is not item:
            raise MedsafeError(f"the name '{info.name}' is taken by two classes of '{module.__file__}'")
    return plugins


def _marked(module: ModuleType) -> list[type]:
    marked = [item for item in vars(module).values() if isinstance(item, type) and "plugin_info" in vars(item)]
    return [item for item in marked if item.__module__ == module.__name__]


def _from_suite(kind: str, name: str) -> Plugin:
    module = importlib.import_module(f"{BUILT_IN[kind]}.{name}")
    found = _plugins_of(module, kind)
    if name not in found:
        raise MedsafeError(f"module '{module.__name__}' marks no {WORDS[kind]} '{name}'")
    return _checked(found[name], "built-in")


def from_entry_point(point: importlib.metadata.EntryPoint, kind: str) -> Plugin:
    """What an installed package offers; imports it."""
    try:
        cls = point.load()
    except Exception as error:
        raise MedsafeError(f"plugin '{point.name}' is unavailable: {type(error).__name__}: {error}") from error
    info = getattr(cls, "plugin_info", None)
    if not isinstance(info, PluginInfo) or (info.kind, info.name) != (kind, point.name):
        raise MedsafeError(f"entry point '{point.name}' is no {WORDS[kind]} of that name: mark its class with one")
    return _checked(cls, distribution_of(point))


def distribution_of(point: importlib.metadata.EntryPoint) -> str:
    """Name and version of the package that an entry point belongs to."""
    return f"{point.dist.metadata['Name']}-{point.dist.version}" if point.dist else f"{point.value}-0"


def _from_file(file: Path, kind: str) -> list[Plugin]:
    module, digest = _load(file)
    found = _plugins_of(module, kind)
    if not found:
        raise MedsafeError(f"plugin file '{file}' marks no {WORDS[kind]}: decorate a class with @{MARKERS[kind]}(...)")
    return [_checked(cls, digest) for cls in found.values()]


def _load(file: Path) -> tuple[ModuleType, str]:
    """A plugin file as a module, and the hash of its bytes."""
    if not file.is_file():
        raise MedsafeError(f"plugin file '{file}' does not exist")
    source = file.read_bytes()
    digest = hashlib.sha256(source).hexdigest()[:12]
    name = f"medsafe_plugin_{digest}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise MedsafeError(f"plugin file '{file}' is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up here
    try:
        exec(compile(source, file, "exec"), vars(module))  # noqa: S102 - the very bytes that were hashed, no stale cache
    except Exception as error:
        raise MedsafeError(f"plugin file '{file}' cannot be imported: {type(error).__name__}: {error}") from error
    return module, digest


def _checked(cls: type, source: str) -> Plugin:
    info: PluginInfo = cls.plugin_info  # type: ignore[attr-defined]
    if not re.fullmatch(r"[a-z0-9_]+", info.name):  # it becomes part of a file's name
        raise MedsafeError(f"method name '{info.name}': use lower-case letters, digits and _ alone")
    if not dataclasses.is_dataclass(cls):
        raise MedsafeError(f"method '{info.name}' is no dataclass: decorate it with @dataclass(frozen=True)")
    return Plugin(info, cls, source)


def _parse(method: str, name: str, text: str, expected: Any) -> Any:
    """A hyper-parameter's value from its text, by the type its field declares."""
    problem = f"hyper-parameter '{name}' of {method} takes"
    if typing.get_origin(expected) is typing.Literal:
        choices = {str(choice): choice for choice in typing.get_args(expected)}
        if text not in choices:
            raise MedsafeError(f"{problem} one of {', '.join(choices)}; not '{text}'")
        return choices[text]
    if expected is bool:
        if text.lower() not in ("true", "false"):
            raise MedsafeError(f"{problem} true or false; not '{text}'")
        return text.lower() == "true"
    if expected not in (int, float, str):
        raise MedsafeError(f"{problem} {expected}, which cannot be given as text: name it in a preset")
    try:
        value = expected(text)
    except ValueError:
        raise MedsafeError(f"{problem} a value of type {expected.__name__}; not '{text}'") from None
    if expected is float and not math.isfinite(value):
        raise MedsafeError(f"{problem} a finite number; not '{text}'")
    return value
