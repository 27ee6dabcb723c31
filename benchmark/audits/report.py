"""An audit run as one HTML file that works without any network, and as a CSV with a row for each image."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from benchmark.audits.comparison import SIGNED, compare, headline
from benchmark.audits.exposure import changes, per_image
from benchmark.audits.track import audited_models
from benchmark.data.datasets import Dataset
from benchmark.errors import MedsafeError
from benchmark.leaderboard.groups import Group
from benchmark.leaderboard.page.build import PACKAGE as PAGE
from benchmark.leaderboard.spreadsheet import csv_of
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.files import write_atomically
from benchmark.store.records import Record
from metrics.declaration import Unresolved

SHOWN = 24
"""Images of a sheet."""
TITLES = {"lira": "LiRA", "rmia": "RMIA", "forget": "forgotten", "retain": "retained"}


@dataclass(frozen=True)
class Picture:
    """One image of a sheet."""

    uri: str
    """The PNG itself."""
    image: int
    name: str
    """Of its class."""
    before: float
    after: float
    retrain: float


def write_report(
    record: Record, records: Iterable[Record], dataset: Dataset, store: ArtifactStore, output: Path
) -> list[Path]:
    """Write `index.html` and `exposure.csv` of an audit run; the same run gives the same bytes.

    Args:
        record: the run's.
        records: those to compare it with: of its setting and target.
        dataset: the one it was computed on.
        store: with its models' predictions.
        output: the folder, made where it is missing.

    Raises:
        MedsafeError: no audit, one without scores, other data, or predictions that are no longer in the cache.
    """
    _check(record, dataset)
    models = audited_models(record, store)
    if models is None:
        raise MedsafeError(f"the models of run '{record['id']}' are not in the cache {store.root}: run it again")
    try:
        frame = per_image(models, dataset.labels.numpy(), list(dataset.class_names))
        found = list(changes(models, grouped=record["spec"]["data"]["groups_sha256"] is not None))
    except Unresolved as reason:
        raise MedsafeError(f"run '{record['id']}' resolves no exposure: {reason}") from reason
    forget, retain = (frame[frame["split"] == split] for split in ("forget", "retain"))
    rise = (retain["lira_after"] - retain["lira_before"]).sort_values(ascending=False, kind="stable")
    html = _environment().get_template("report.html").render(
        style="\n".join((files(package) / "templates" / name).read_text(encoding="utf-8")
                        for package, name in ((PAGE, "page.css"), (__package__, "report.css"))),
        record=record, spec=record["spec"], changes=found, titles=TITLES, gap=Group([record]).average_gap,
        signed=SIGNED, rows=[(row, list(headline(row))) for row in compare(record, records)],
        points=list(zip(forget["lira_before"], forget["lira_after"], strict=True)),
        exposed=_sheet(forget.sort_values("lira_after", ascending=False, kind="stable"), dataset),
        risen=_sheet(retain.loc[rise[rise > 0].index], dataset),
    )  # fmt: skip
    for name, content in (("exposure.csv", csv_of(frame)), ("index.html", html.encode())):
        write_atomically(output / name, content)
    return [output / "index.html", output / "exposure.csv"]


def _check(record: Record, dataset: Dataset) -> None:
    run, spec = record["id"], record["spec"]
    if spec["track"] != "audit":
        raise MedsafeError(f"run '{run}' is no audit: run its method again with --shadows 32")
    if record["status"] != "ok":
        raise MedsafeError(f"run '{run}' has no scores: its status is {record['status']} ({record['reason']})")
    if spec["data"]["sha256"] != dataset.sha256:
        raise MedsafeError(
            f"run '{run}' was computed on other data than '{dataset.name}': name its file with --dataset"
        )


def _sheet(rows: pd.DataFrame, dataset: Dataset) -> Sequence[Picture]:
    """The first of these images as pictures."""
    return [
        Picture(_png(dataset.images[row["image"]].permute(1, 2, 0).numpy()), row["image"], row["class"],
                row["lira_before"], row["lira_after"], row["lira_retrain"])
        for row in rows.head(SHOWN).to_dict("records")
    ]  # fmt: skip


def _png(pixels: np.ndarray) -> str:
    """A data URI of an image, uint8 (height, width, channels)."""
    content = BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels)).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"percent": _percent, "points": _points}
    return environment


def _points(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"
