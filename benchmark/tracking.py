"""Following a run from outside: Weights & Biases as one more sink. The records stay the source of truth.

One command is one wandb run. Its config is what the runs of the command have in common. Its history holds the training
curve of every model that was trained or found in the cache, and the status and scores of every record; the
leaderboard's tables come last. All of it is in the records, the cache and the CSVs as well.

Neither host, user, command line, code, git state, packages, console nor hardware is captured, and no path: a run's
folder may leave the hospital. Only what a method's own error says, its `reason`, goes along as it is in the record.
"""

import contextlib
import importlib
import logging
import os
import re
import shlex
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.errors import MedsafeError, unknown
from benchmark.plan import Plan
from benchmark.runner import Outcome, environment
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.tracks.stored import LOSSES, hash_rows

LOG = logging.getLogger(__name__)
MODES = ("off", "offline", "online")
PROJECT = "medsafe-bench"
QUIET = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
"""Read when wandb is imported: it prints nothing, and reports nothing about itself."""
UPLOAD = "WANDB_PROGRAM=medsafe WANDB_ERROR_REPORTING=false wandb sync"
"""By itself it would send the path of the wandb program, and reports about itself."""
PRIVATE = {
    "console": "off", "host": "", "program": "", "disable_git": True, "disable_code": True, "label_disable": True,
    "x_disable_meta": True, "x_disable_machine_info": True, "x_disable_stats": True, "x_disable_viewer": True,
    "x_save_requirements": False,
}  # fmt: skip
PATIENCE = {"init_timeout": 15, "finish_timeout": 60, "finish_timeout_raises": True}
"""Seconds to wait for a server: what it did not take is on the disk, and can be sent later."""


class Tracker:
    """Is told of a command's runs as they go on; this one takes no notice."""

    def start(self, plan: Plan) -> None:
        """The runs are planned; nothing is computed yet."""

    def trained(self, key: Mapping[str, Any], artifact: Artifact) -> None:
        """An artifact was made, or found in the cache."""

    def record(self, outcome: Outcome) -> None:
        """A run is recorded."""

    def finish(self) -> str | None:
        """All runs are recorded and the leaderboards rebuilt; says where to look."""

    def close(self) -> None:
        """The command is over; without `finish` before it, it failed."""


class TrackedStore(ArtifactStore):
    """A cache that tells a tracker what is made or found in it."""

    def __init__(self, root: Path, tracker: Tracker) -> None:
        super().__init__(root)
        self.tracker = tracker

    def get_or_create(self, key: Mapping[str, Any], create: Callable[[Path], Mapping[str, Any]]) -> Artifact:
        """As the cache does it."""
        artifact = super().get_or_create(key, create)
        self.tracker.trained(key, artifact)
        return artifact


@contextmanager
def open_tracker(mode: str, results: Path) -> Iterator[Tracker]:
    """The tracker of a command.

    Args:
        mode: `off`, `offline` (into `<results>/wandb`, sent nowhere), or `online`.
        results: folder with the records and leaderboards.

    Raises:
        MedsafeError: no such mode, or wandb is not installed.
    """
    if mode not in MODES:
        raise unknown("wandb mode", mode, MODES)
    tracker = Tracker() if mode == "off" else Careful(WandbTracker(_wandb(), mode, results))
    try:
        yield tracker
    finally:
        tracker.close()


def _wandb() -> Any:
    os.environ |= QUIET
    try:
        return importlib.import_module("wandb")
    except Exception as error:  # its own dependencies fail in many ways
        raise MedsafeError(
            f"wandb cannot be imported ({error}): `pip install wandb`, or leave the option out"
        ) from error


class Careful(Tracker):
    """A tracker whose failure is one warning, after which nobody is told: no run depends on it."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def start(self, plan: Plan) -> None:
        self._try(lambda: self.tracker.start(plan))

    def trained(self, key: Mapping[str, Any], artifact: Artifact) -> None:
        self._try(lambda: self.tracker.trained(key, artifact))

    def record(self, outcome: Outcome) -> None:
        self._try(lambda: self.tracker.record(outcome))

    def finish(self) -> str | None:
        return self._try(self.tracker.finish)

    def close(self) -> None:
        self._try(self.tracker.close)

    def _try(self, call: Callable[[], str | None]) -> str | None:
        try:
            return call()
        except Exception as error:
            LOG.warning(
                "wandb: %s: no longer tracked; the records are whole, and the same command logs them again",
                _one_line(error),
            )
            failed, self.tracker = self.tracker, Tracker()
            with contextlib.suppress(Exception):
                failed.close()
            return None


class WandbTracker(Tracker):
    """Logs to one wandb run."""

    def __init__(self, wandb: Any, mode: str, results: Path) -> None:
        self.wandb, self.mode, self.results = wandb, mode, results
        self.id = uuid.uuid4().hex[:8]
        self.run: Any = None
        self.statuses: Counter[str] = Counter()
        self.waiting: dict[str, list[float]] = {}
        self.seen: set[Path] = set()

    def start(self, plan: Plan) -> None:
        self.track, self.pool = plan.specs[0].track, hash_rows(plan.bench.splits.pool)
        try:
            self.run = self._init(plan)
        except Exception as error:
            self.wandb.teardown()  # else a server is tried for ever
            if self.mode == "offline":
                raise
            LOG.warning("wandb: %s: tracked offline, to be sent later", _one_line(error))
            for folder in (self.results / "wandb").glob(f"run-*-{self.id}"):
                shutil.rmtree(folder, ignore_errors=True)
            self.mode = "offline"
            self.run = self._init(plan)
        self.run.define_metric("loss/*", step_metric="epoch")
        for part in ("metrics", "references", "cost"):
            self.run.define_metric(f"{part}/*", step_metric="block", summary="mean")

    def trained(self, key: Mapping[str, Any], artifact: Artifact) -> None:
        # Logged with the next record, and not at once: wandb may draw random numbers, and this may be within a method.
        if artifact.folder not in self.seen and LOSSES in artifact.metadata:
            self.seen.add(artifact.folder)
            self.waiting[f"loss/block_{key['block']}/{self._name(key)}"] = artifact.metadata[LOSSES]

    def record(self, outcome: Outcome) -> None:
        record = outcome.record
        self._log_curves()
        about = {
            "block": record["spec"]["block"], "run": record["id"], "status": record["status"],
            "reason": record["reason"] or "", "already_recorded": outcome.reused,
        }  # fmt: skip
        scores = {part: record.get(part) for part in ("metrics", "references", "cost", "gate")}
        self.run.log(about | dict(_flat(scores)))
        self.statuses[record["status"]] += 1

    def finish(self) -> str | None:
        self._log_curves()
        for path in sorted((self.results / "leaderboards").glob(f"{self.track}*.csv")):
            self._log_table(f"leaderboard/{path.stem}", pd.read_csv(path))
        self.run.summary.update({"statuses": dict(self.statuses)})
        offline = f"tracked offline; to upload it: {UPLOAD} {shlex.quote(str(self._folder))}"
        where = offline if self.mode == "offline" else f"tracked: {self.run.url}"
        self._end(0)
        return where

    def close(self) -> None:
        if self.run is not None:
            self._end(1)

    def _init(self, plan: Plan) -> Any:
        (self.results / "wandb").mkdir(
            parents=True, exist_ok=True
        )  # else wandb takes a temporary folder without a word
        settings = self.wandb.Settings(**PRIVATE, **PATIENCE, symlink=False, use_dot_wandb=False)
        return self.wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), id=self.id, name=_title(plan), config=_config(plan),
            dir=self.results, mode=self.mode, settings=settings, reinit="create_new",
        )  # fmt: skip

    def _end(self, exit_code: int) -> None:
        """Have everything written or sent; wandb's logs of itself, full of paths, go."""
        run, self.run = self.run, None
        logs = Path(run.settings.sync_dir, "logs")
        try:
            run.finish(exit_code=exit_code)
        finally:
            self.wandb.teardown(exit_code)
            complaint = _first_error(logs / "debug-internal.log")
            shutil.rmtree(logs, ignore_errors=True)
        if complaint:
            raise RuntimeError(complaint)

    @property
    def _folder(self) -> Path:
        return self.results / "wandb" / Path(self.run.settings.sync_dir).name

    def _name(self, key: Mapping[str, Any]) -> str:
        """What a model is to its block; the oracle is an Original that did not see the whole pool."""
        if key["kind"] == "original":
            return "original" if key["rows"] == self.pool else "oracle"
        return "static" if "static" in key else str(key.get("purpose", key["kind"])).replace(" ", "_")

    def _log_curves(self) -> None:
        names = list(self.waiting)
        for epoch, means in enumerate(zip_longest(*self.waiting.values()), start=1):
            known = {name: mean for name, mean in zip(names, means, strict=True) if mean is not None}
            self.run.log({"epoch": epoch, **known})
        self.waiting.clear()

    def _log_table(self, name: str, frame: pd.DataFrame) -> None:
        cells = frame.astype(object).where(frame.notna(), None).to_numpy().tolist()
        table = self.wandb.Table(columns=list(frame.columns), data=cells, allow_mixed_types=True)
        table.bind_to_run(self.run, name, "summary")  # else wandb also keeps a copy in the user's home folder
        self.run.log({name: table})


def _config(plan: Plan) -> dict[str, Any]:
    """What the runs of a plan have in common, and where they are computed. No paths."""
    common = {name: value for name, value in asdict(plan.specs[0]).items() if name != "block"}
    blocks, runs = zip(*((spec.block, spec.id) for spec in plan.specs), strict=True)
    return common | {"blocks": list(blocks), "runs": list(runs), "environment": environment(plan.bench)}


def _title(plan: Plan) -> str:
    spec = asdict(plan.specs[0])
    setting = spec.get("scenario") or spec["attack"]["name"]
    return f"{spec['method']['name']}, {spec['data']['name']}, {setting}"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values as `metrics/ua` or `references/retrain/0/ua`; what is None has no entry."""
    if isinstance(value, Mapping | list):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _flat(part, f"{name}/{key}" if name else str(key))
    elif value is not None:
        yield name, value


def _first_error(log: Path) -> str | None:
    """Of wandb's process, which tells nobody else of a full disk; its log may end anywhere then."""
    found = re.search(r'"level":"ERROR","msg":"(.*?)"', log.read_text(errors="replace")) if log.exists() else None
    return found and found[1]


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '').rstrip('.')}"
