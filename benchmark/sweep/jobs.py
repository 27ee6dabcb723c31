"""From requests to jobs: which runs are missing, which models they share, and what has to wait for what."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from benchmark.config import BackdoorSpec, RunSpec
from benchmark.errors import MedsafeError
from benchmark.plan import Plan, Request, plan_on
from benchmark.runner import is_final
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from benchmark.sweep.estimate import Estimator, Expected
from benchmark.tracks.shared import SharedModel
from benchmark.workbenches import Workbenches


@dataclass(frozen=True)
class Job:
    """A shared model to be trained, or a run to be recorded; plain data, so that any process can do it."""

    id: str
    """Of the model's artifact, or of the run."""
    title: str
    request: Request
    """Of one block."""
    model: int | None = None
    """Which of the run's shared models; None is the run itself."""
    needs: frozenset[str] = frozenset()
    """Ids of the jobs that come first."""
    expected: Expected = field(default_factory=Expected)
    failed: str | None = None
    """Why the run cannot be computed: it is to be recorded as an error with this reason."""


@dataclass
class Todo:
    """What is left of a sweep, and what is there already."""

    jobs: dict[str, Job] = field(default_factory=dict)
    """By id; none before what it needs."""
    recorded: list[RunSpec] = field(default_factory=list)
    """Runs that are final, of this folder or published."""
    uses: Counter[str] = field(default_factory=Counter)
    """Model -> how many of the missing runs use it."""
    cached: set[str] = field(default_factory=set)
    """Models that are needed, and trained already."""

    @property
    def models(self) -> list[Job]:
        """The trainings."""
        return [job for job in self.jobs.values() if job.model is not None]

    @property
    def runs(self) -> list[Job]:
        """The runs."""
        return [job for job in self.jobs.values() if job.model is None]


def todo(requests: Iterable[Request], store: ArtifactStore, known: Iterable[RecordStore], estimator: Estimator) -> Todo:
    """What of these requests is still to be done; nothing is kept of what the estimator tries out.

    Args:
        requests: runs that two of them ask for are taken once.
        store: the cache in which models are looked for.
        known: folders whose final records count.
        estimator: says what the jobs will cost.

    Raises:
        MedsafeError: a request cannot be run as it stands.
    """
    result, seen, workbenches, stores = Todo(), set[str](), Workbenches(store), list(known)
    for request in requests:
        plan = _planned(request, workbenches)
        for spec in plan.specs:
            if spec.id in seen:
                continue
            seen.add(spec.id)
            if _is_recorded(spec, stores):
                result.recorded.append(spec)
            else:
                _add(result, plan, spec, replace(request, blocks=f"{spec.block}-{spec.block}"), estimator)
    return result


def _planned(request: Request, workbenches: Workbenches) -> Plan:
    try:
        return plan_on(request, workbenches)
    except MedsafeError as error:
        setting = [request.method, request.dataset, request.scenario or request.attack]
        raise MedsafeError(f"{', '.join(filter(None, setting))}: {error}") from error


def _is_recorded(spec: RunSpec, stores: list[RecordStore]) -> bool:
    found = (store.read(spec.fields, spec.id) for store in stores)
    return any(record is not None and is_final(record) for record in found)


def _add(result: Todo, plan: Plan, spec: RunSpec, request: Request, estimator: Estimator) -> None:
    models, store = plan.track.models(spec), plan.bench.store
    ids = {model: model.id for model in models}
    for number, model in enumerate(models):
        own = ids[model]
        result.uses[own] += 1
        if own in result.jobs or own in result.cached:
            continue
        if store.has(own):
            result.cached.add(own)
        else:
            title = f"{_place(plan)} · {model.title}"
            expected = estimator.model(plan.bench, model)
            result.jobs[own] = Job(own, title, request, number, _missing(model.needs, store), expected)
    title = f"{_place(plan)} · {_task(spec)} · {spec.method.name} ({spec.method.preset}) · block {spec.block}"
    needs, expected = frozenset(ids.values()) & result.jobs.keys(), estimator.run(plan, spec)
    result.jobs[spec.id] = Job(spec.id, title, request, needs=needs, expected=expected)


def _missing(models: tuple[SharedModel, ...], store: ArtifactStore) -> frozenset[str]:
    return frozenset(model.id for model in models if not store.has(model.id))


def _place(plan: Plan) -> str:
    return f"{plan.bench.data.name} · {plan.bench.architecture}"


def _task(spec: RunSpec) -> str:
    return spec.attack.name if isinstance(spec, BackdoorSpec) else str(getattr(spec, "scenario", spec.track))
