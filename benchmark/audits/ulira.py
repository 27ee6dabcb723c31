"""U-LiRA (PROTOCOL 6.2): can images that were unlearned be told from images never trained on, given the same unlearner?

Its material are audit runs on `part:k/n`: the pool of each target is dealt into n disjoint forget sets, so that n runs
of a method label every image of a target once as forgotten, and the images of its other half n times as unseen. Fitted
and scored on disjoint targets. The null are the rows of the method `retrain`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from benchmark.data.scenarios import parse_scenario
from benchmark.leaderboard.blocks import key_of
from benchmark.store.artifacts import Artifact, ArtifactStore
from benchmark.store.records import Record
from benchmark.tracks.stored import predictions_of
from benchmark.tracks.unlearning import splits_of
from metrics.declaration import Unresolved
from metrics.lira import Judged, u_lira
from metrics.membership import attack_auc, log_odds, tpr_at_fpr

COLUMNS = (
    "dataset", "architecture", "recipe", "parts", "method", "preset", "targets", "runs", "pairs", "auc",
    "tpr_1", "unresolved",
)  # fmt: skip


def u_lira_table(records: Iterable[Record], store: ArtifactStore) -> pd.DataFrame:
    """One row for each method and setting that has runs on parts: the mean AUC over targets, and TPR at 1 % FPR.

    The latter is a mean over runs. In one run every unseen image counts once, while all runs of a target hold the same
    ones again: no more images than one of them, which resolve no smaller rate (PROTOCOL 3.4).

    Targets with a failed or missing run, or with a model that is not in the cache, are left out, and the row says so.
    No interval is given. Targets are judged by Gaussians that were fitted on one another, so they are not independent:
    of Student's 95 % intervals over targets fewer than 90 % hold the truth.
    """
    groups = defaultdict(list)
    for record in records:
        if record["spec"]["track"] == "audit" and record["spec"]["scenario"].startswith("part:"):
            parts = parse_scenario(record["spec"]["scenario"]).part
            groups[key_of(record, without=("block", "scenario")), parts and parts[1]].append(record)
    rows = [_row(group, parts or 0, store) for (_, parts), group in sorted(groups.items())]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(records: Sequence[Record], parts: int, store: ArtifactStore) -> dict[str, Any]:
    spec, runs = records[0]["spec"], list(_whole_targets(records, parts, store))
    row: dict[str, Any] = {
        "dataset": spec["data"]["name"], "architecture": spec["architecture"], "recipe": spec["recipe"]["name"],
        "parts": parts, "method": spec["method"]["name"], "preset": spec["method"]["preset"],
        "targets": len(runs) // parts, "runs": len(runs),
    }  # fmt: skip
    left_out = len({record["spec"]["block"] for record in records}) - row["targets"]
    said = [f"{left_out} targets left out: runs that failed or are not in the cache"] if left_out else []
    try:
        row |= _scores(*_judge(runs, store))
    except Unresolved as reason:
        said.append(str(reason))
    return row | {"unresolved": "; ".join([*said, *filter(None, [row.get("unresolved")])])}


def _whole_targets(records: Sequence[Record], parts: int, store: ArtifactStore) -> Iterator[Record]:
    """The runs of the targets of which every part is there."""
    by_target = defaultdict(list)
    for record in records:
        if record["status"] == "ok" and store.has(record["artifacts"]["model"]):
            by_target[record["spec"]["block"]].append(record)
    for _, runs in sorted(by_target.items()):
        if len(runs) == parts:
            yield from sorted(runs, key=lambda record: record["spec"]["scenario"])


def _judge(runs: Sequence[Record], store: ArtifactStore) -> tuple[Judged, np.ndarray]:
    """What U-LiRA says of all labelled pairs of image and run, and the target of each pair."""
    if not runs:
        raise Unresolved("no target has all of its parts")
    columns = [_column(predictions_of(_found(store, record))) for record in runs]
    values, forgotten, unseen = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
    targets = np.array([record["spec"]["block"] for record in runs])
    judged = u_lira(values, forgotten, unseen, targets // 2)  # 2k and 2k + 1 have complementary halves
    return judged, targets[judged.runs]


def _column(stored: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One run: log-odds of all images, which of them were forgotten, and which its target never saw."""
    splits, images = splits_of(stored), np.arange(len(stored["labels"]))
    forgotten, unseen = np.isin(images, splits.forget), np.isin(images, splits.non_members)
    return log_odds(stored["logits"], stored["labels"]), forgotten, unseen


def _scores(judged: Judged, target_of: np.ndarray) -> dict[str, Any]:
    areas = [attack_auc(*sides) for sides in _sides(judged, target_of)]
    found: dict[str, Any] = {"pairs": len(judged.scores), "auc": float(np.mean(areas))}
    try:
        found["tpr_1"] = float(np.mean([tpr_at_fpr(*sides) for sides in _sides(judged, judged.runs)]))
    except Unresolved as reason:
        found["unresolved"] = str(reason)
    return found


def _sides(judged: Judged, owner: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Scores of the forgotten and of the unseen images of each owner of pairs."""
    for each in np.unique(owner):
        own = owner == each
        yield judged.scores[own & judged.is_member], judged.scores[own & ~judged.is_member]


def _found(store: ArtifactStore, record: Record) -> Artifact:
    artifact = store.find(record["artifacts"]["model"])
    if artifact is None:
        raise Unresolved(f"the model of run {record['id']} is damaged in the cache: run it again")
    return artifact
