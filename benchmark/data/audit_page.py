"""The groups of an audit as pictures: one HTML file that needs no network."""

import base64
from collections.abc import Sequence
from io import BytesIO

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from PIL import Image

from benchmark.data.audit import KINDS, Group, counts
from benchmark.data.datasets import Dataset
from benchmark.data.npz import SPLITS

GROUPS = 200
"""Groups that are shown at most."""
IMAGES = 8
"""Images of a group that are shown at most: the first, and those farthest from it."""


def audit_page(dataset: Dataset, groups: Sequence[Group], threshold: float) -> str:
    """The page; the same groups give the same text.

    Args:
        dataset: that was audited.
        groups: as `audit` returns them; the first `GROUPS` of them are shown.
        threshold: that they were found with.
    """
    # The look is that of the leaderboard's page, whose style sheet is taken as it is.
    loader = ChoiceLoader([PackageLoader("benchmark.data"), PackageLoader("benchmark.leaderboard.page")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("audit.html").render(
        dataset=dataset,
        sizes=dict(zip(SPLITS, dataset.sizes, strict=True)),
        threshold=threshold,
        counts={kind: counts(groups, kind) for kind in KINDS},
        shown=[(group, _pictures(dataset, group)) for group in groups[:GROUPS]],
        total=len(groups),
    )


def _pictures(dataset: Dataset, group: Group) -> list[dict[str, object]]:
    """The images that are shown of a group, with what is said of each."""
    farthest = sorted(range(1, len(group.rows)), key=lambda place: -group.distances[place])[: IMAGES - 1]
    return [
        {
            "source": _data_uri(dataset, int(group.rows[place])),
            "place": f"{group.splits[place]} {group.indices[place]}",
            "label": dataset.class_names[group.labels[place]],
            "distance": group.distances[place],
        }
        for place in (0, *sorted(farthest))
    ]


def _data_uri(dataset: Dataset, row: int) -> str:
    pixels = dataset.images[row].permute(1, 2, 0).numpy()
    file = BytesIO()
    Image.fromarray(pixels[..., 0] if dataset.channels == 1 else pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
