"""Which settings get figures, and what they and their rows are called. The same for every track."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, TypeVar

from benchmark.leaderboard.cells import short_name
from benchmark.leaderboard.figures.style import MARKERS, PALETTE, plain

MOST_SETTINGS = 10
"""Settings of a track that get figures."""

Content = TypeVar("Content")


@dataclass(frozen=True, eq=False)
class Setting(Generic[Content]):
    """One setting of a track, with the rows that may be drawn."""

    identity: str
    spec: Mapping[str, Any]
    ranked: int
    """Number of ranked rows."""
    rows: Sequence[Content]

    @property
    def key(self) -> str:
        """Its short name, as in the CSV."""
        return short_name(self.identity)

    def title(self, last: str) -> str:
        """Its name in words; `last` is the part of the spec that this track adds."""
        spec, recipe = self.spec, self.spec["recipe"]
        parts = (spec["data"]["name"], spec["architecture"], recipe["name"], recipe["augmentation"], spec[last])
        return " · ".join(plain(str(part)) for part in parts)


def chosen(settings: Iterable[Setting[Content]]) -> list[Setting[Content]]:
    """Those with most ranked rows; of equals with most rows. Always in the same order."""
    ordered = sorted(settings, key=lambda setting: (-setting.ranked, -len(setting.rows), setting.identity))
    return ordered[:MOST_SETTINGS]


def titles(settings: Sequence[Setting[Any]], last: str) -> list[str]:
    """Their names in words; with the short name behind those that would read alike."""
    words = [setting.title(last) for setting in settings]
    counts = Counter(words)
    return [
        text if counts[text] == 1 else f"{text} (setting {setting.key})"
        for text, setting in zip(words, settings, strict=True)
    ]


def row_names(methods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the rows of one figure: the method, the preset where it is not the published one.

    Rows that would read alike, such as one's own values of the same method, get four digits that stand for the rest.
    """
    words = [plain(str(m["name"]) + ("" if m["preset"] == "published" else f" ({m['preset']})")) for m in methods]
    counts = Counter(words)
    return [
        word if counts[word] == 1 else f"{word} {short_name(repr(sorted(method.items())))[:4]}"
        for word, method in zip(words, methods, strict=True)
    ]


def counted(shown: int, every: int, what: str) -> str:
    """How many of them a figure shows, in words."""
    number = f"{every}" if shown == every else f"{shown} of {every}"
    return f"{number} {what}{'' if every == 1 else 's'}"


def colors_and_markers(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """One pair for each method of a page; they repeat after 42."""
    pairs = ((PALETTE[index % len(PALETTE)], MARKERS[index % len(MARKERS)]) for index in count())
    return dict(zip(sorted(set(methods)), pairs, strict=False))
