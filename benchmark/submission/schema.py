"""What a record and a manifest look like when a stranger hands them in; the first fault is named in one line."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError, create_model

from benchmark.config import BackdoorSpec, UnlearningSpec
from benchmark.errors import MedsafeError
from benchmark.store.records import as_json
from benchmark.submission.compare import spelled
from benchmark.tracks.scoring import metrics_of
from metrics.backdoor import SCORES
from metrics.declaration import MetricInfo

LONGEST_TEXT = 2000
BY_CLASS = ("sensitivity", "asr_by_class")
"""The metrics with a value for each class."""

RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]


class Refused(MedsafeError):
    """A submission is not what it says: broken, at odds with itself, or with what is computed anew."""


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Environment(Strict):
    """Where a run was computed; further entries are kept."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | int]
    device: str
    threads: Annotated[int, Field(ge=1, le=1024)]
    torch: str
    numpy: str
    system: str
    medsafe: str
    python: str


class Setting(Strict):
    goal: Literal["all-to-one", "all-to-all", "none"]
    victims: Literal["others", "target", "all"]
    controls_training: bool
    target: NonNegativeInt
    power: Literal["post-training", "data-free", "in-training"]
    unchanged: Share


class Gate(Strict):
    passed: bool
    reason: str | None


class Expense(Strict):
    flops: NonNegativeFloat | None
    seconds: NonNegativeFloat | None


class Cost(Expense):
    flops_share: NonNegativeFloat | None
    original: Expense
    retrain_seconds: NonNegativeFloat | None


class Roc(Strict):
    fpr: list[Share]
    model: list[Share]
    original: list[Share]
    retrain: list[list[Share]]


class Curves(Strict):
    roc: Roc | None = None


class Seconds(Strict):
    training: NonNegativeFloat
    method: NonNegativeFloat
    prediction: NonNegativeFloat
    metrics: NonNegativeFloat
    waiting: NonNegativeFloat
    suite: NonNegativeFloat
    total: NonNegativeFloat


class RecordFile(Strict):
    """`benchmark.store.records.Record` with every type laid down; what depends on track and status is in `model_of`."""

    schema_version: Literal[1] = Field(alias="schema")
    id: RunId
    reason: str | None
    curves: Curves | None = None
    declarations: dict[str, dict[str, Any]]
    classes: list[str] = Field(min_length=2)
    notes: list[str]
    artifacts: dict[str, Sha256] = {}
    environment: Environment
    seconds: Seconds | None = None
    created: str
    verification: dict[str, Any] = {}


class Method(Strict):
    kind: Literal["unlearning", "defenses"]
    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    version: str


class Manifest(Strict):
    """`submission.json`: what is claimed, and what the submission consists of."""

    schema_version: Literal[1] = Field(alias="schema")
    method: Method
    claim: str = Field(min_length=1)
    link: Annotated[str, Field(pattern=r"^https?://\S+$")] | None
    code: dict[str, str] | None
    """Where a method comes from that is not the suite's."""
    environments: list[Environment]
    records: dict[RunId, Sha256] = Field(min_length=1)
    """Run -> sha256 of its record's file, as `medsafe submit` wrote it."""


@cache
def model_of(track: str, ok: bool) -> type[BaseModel]:
    """The schema of a record of this track that came to its end, or that did not."""
    needed: Any = ... if ok else None
    own, beside = _scores(metrics_of(track)), _references(track)
    parts: dict[str, Any] = {
        "spec": (UnlearningSpec if track == "unlearning" else BackdoorSpec, ...),
        "status": (Literal["ok"] if ok else Literal["diverged", "skipped", "error", "timeout"], ...),
        "metrics": (own, ...) if ok else (create_model("Nothing", __base__=Strict) | None, None),
        "unresolved": (dict[str, str], ... if ok else {}),
        "references": (beside if ok else beside | None, needed),
        "cost": (Cost if ok else Cost | None, needed),
        "sizes": (dict[str, NonNegativeInt], ... if ok else {}),
    }
    if track == "backdoor":
        parts |= {"setting": (Setting if ok else Setting | None, needed), "gate": (Gate if ok else Gate | None, needed)}
    return create_model(f"{track}-{ok}", __base__=RecordFile, **parts)


def _references(track: str) -> type[BaseModel]:
    if track == "unlearning":
        scores = _scores(metrics_of(track))
        parts = {"original": scores, "retrain": Annotated[list[scores], Field(min_length=1)]}  # type: ignore[valid-type]
    else:
        parts = dict.fromkeys(("clean", "backdoored", "oracle"), _scores({entry.name: entry.info for entry in SCORES}))
    return create_model("References", __base__=Strict, **{name: (kind, ...) for name, kind in parts.items()})  # type: ignore[call-overload,no-any-return]


def _scores(infos: Mapping[str, MetricInfo]) -> type[BaseModel]:
    """Every one of these metrics, in its range, or None."""
    parts: dict[str, Any] = {}
    for name, info in infos.items():
        value = Annotated[float, Field(ge=info.range[0], le=info.range[1])] | None
        parts[name] = (list[value] | None if name in BY_CLASS else value, ...)
    return create_model("Scores", __base__=Strict, **parts)


def read(content: bytes, file: str) -> dict[str, Any]:
    """A file of a submission as JSON: strict, and to the byte as the suite writes it, so that no key comes twice.

    Raises:
        Refused: it is not.
    """
    try:
        data = json.loads(content)
        bad = next((text for text in _texts(data) if len(text) > LONGEST_TEXT or not text.isprintable()), None)
        as_written = isinstance(data, dict) and as_json(data) == content
    except (ValueError, RecursionError) as error:
        raise Refused(f"{file}: is no whole, strict JSON file ({error})") from None
    if bad is not None:
        raise Refused(f"{file}: holds a text that is too long or cannot be printed: {ascii(bad)[:60]}")
    if not as_written:
        raise Refused(f"{file}: is not as the suite writes its files: edited by hand, or a key stands in it twice")
    return dict(data)


def check(model: type[BaseModel], data: Mapping[str, Any], file: str) -> None:
    """Refuse what does not keep the schema, and name its first fault."""
    try:
        model.model_validate_json(json.dumps(data))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key, said = _key(fault["loc"], data, fault["type"] == "missing"), fault["msg"]
        raise Refused(f"{file}: {key}: {said[:1].lower()}{said[1:]}") from None


def _key(path: tuple[int | str, ...], data: Any, missing: bool) -> str:
    """Where a fault is; what of pydantic's path is no key, but one of several types, is left out."""
    found: list[int | str] = []
    for part in path:
        if part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int):
            found, data = [*found, part], data[part]
    return spelled([*found, path[-1]] if missing else found)


def _texts(data: Any) -> Iterator[str]:
    """Every text and every key, at any depth."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict):
        for key, value in data.items():
            yield key
            yield from _texts(value)
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value)
