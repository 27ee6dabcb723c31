"""How much of a model's representation unlearning changed: many methods only move the classifier.

Features have shape (n, d), float: the input of the last layer, for n images in the same order. Source of the concern:
representation-level audits of unlearning (arXiv 2503.06991). All functions raise ValueError on NaN, infinities and
mismatched shapes.

The scores of a model are at the end: CKA with the Retrains of its block, of a Retrain with the other ones, and probes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metrics.checks import Floats, Integers, finite, indices
from metrics.declaration import MetricInfo, Unresolved, metric
from metrics.scores import Entry, Scores, score_all

ROUNDING = 1e-10
"""Share of the features' squared variance below which an estimate of their spread is rounding alone."""


@metric("linear_cka", title="Linear CKA", direction="retrain", range=(0, 1), version=1, unit="index")
def linear_cka(first: ArrayLike, second: ArrayLike) -> float:
    """Similarity of two models' features that ignores rotation and scale: ||Y'X||^2 / (||X'X|| ||Y'Y||).

    Frobenius norms, X and Y with centred columns. With few images it is far above 0 for unrelated features, and close
    to 1 where n is below d: use `debiased_linear_cka` where n is not many times d.

    Args:
        first: features, shape (n, d).
        second: features of the same images, shape (n, e); d and e may differ.

    Raises:
        Unresolved: fewer than two images, or features that are the same for all images.

    Source: Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019.
    """
    x, y = _centred(first, second, fewest=2)
    similarity = _squared_norm(y.T @ x) / np.sqrt(_squared_norm(x.T @ x) * _squared_norm(y.T @ y))
    return float(min(similarity, 1.0))


@metric(
    "debiased_linear_cka", title="Linear CKA (debiased)", direction="retrain", range=(-1, 1), version=1, unit="index"
)
def debiased_linear_cka(first: ArrayLike, second: ArrayLike) -> float:
    """Linear CKA whose three inner products are unbiased: near 0 for unrelated features, however few the images.

    HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)) with, for K = XX' and L = YY' with their diagonals set to 0,
    HSIC = [tr(KL) + (1'K1)(1'L1) / ((n-1)(n-2)) - 2 (1'KL1) / (n-2)] / (n (n-3)), computed without an n x n matrix.

    Args:
        first: features, shape (n, d).
        second: features of the same images, shape (n, e).

    Raises:
        Unresolved: fewer than four images, or features without an estimate of their own spread.

    Source: Song et al., Feature Selection via Dependence Maximization, JMLR 2012, for the estimator of HSIC.
    """
    x, y = _centred(first, second, fewest=4)
    spreads = [_unbiased_hsic(side, side) for side in (x, y)]
    if any(spread <= ROUNDING * np.mean(side**2) ** 2 for side, spread in zip((x, y), spreads, strict=True)):
        raise Unresolved(f"{len(x)} images; too few for the spread of these features")
    return float(np.clip(_unbiased_hsic(x, y) / np.sqrt(np.prod(spreads)), -1.0, 1.0))


@metric("linear_probe_accuracy", title="Linear probe", direction="retrain", range=(0, 1), version=1)
def linear_probe_accuracy(features: ArrayLike, labels: ArrayLike, fitted: ArrayLike, scored: ArrayLike) -> float:
    """Accuracy of a linear classifier on frozen features: what the features still tell, whatever the last layer says.

    Ridge classification (one-vs-rest least squares on +-1, penalty 1) of features standardised on the fitted rows: a
    closed form, so that the value has no seed and no question of convergence.

    Args:
        features: shape (n, d).
        labels: shape (n,), int.
        fitted: rows that the classifier is fitted on, shape (f,), int.
        scored: rows that it is scored on, shape (s,), int; none of the fitted ones.

    Raises:
        Unresolved: no row to score, or fitted rows of fewer than two classes.
        ValueError: rows that are both fitted and scored.

    Source: Alain and Bengio, Understanding Intermediate Layers Using Linear Classifier Probes, 2016.
    """
    inputs, truth = finite(features, 2, "features"), indices(labels, None, "labels")
    if len(inputs) != len(truth):
        raise ValueError(f"{len(inputs)} rows of features, but {len(truth)} labels")
    fit, score = indices(fitted, len(truth), "fitted"), indices(scored, len(truth), "scored")
    if np.intersect1d(fit, score).size:
        raise ValueError("a row is both fitted and scored")
    classes = len(np.unique(truth[fit]))
    if not len(score) or classes < 2:
        raise Unresolved(f"{classes} class(es) to fit and {len(score)} images to score; needs 2 and 1")
    probe = make_pipeline(StandardScaler(), RidgeClassifier()).fit(inputs[fit], truth[fit])
    return float(np.mean(probe.predict(inputs[score]) == truth[score]))


def _unbiased_hsic(x: Floats, y: Floats) -> float:
    """The estimator of HSIC for linear kernels, from centred features: the rows of XX' sum to 0, its diagonal stays."""
    images = len(x)
    k, m = np.sum(x**2, axis=1), np.sum(y**2, axis=1)  # the two diagonals
    trace = _squared_norm(x.T @ y) - k @ m
    totals = k.sum() * m.sum() / ((images - 1) * (images - 2))
    return float((trace + totals - 2 * (k @ m) / (images - 2)) / (images * (images - 3)))


def _centred(first: ArrayLike, second: ArrayLike, fewest: int) -> tuple[Floats, Floats]:
    sides = finite(first, 2, "first features"), finite(second, 2, "second features")
    if len(sides[0]) != len(sides[1]):
        raise ValueError(f"features of {len(sides[0])} and of {len(sides[1])} images cannot be compared")
    if len(sides[0]) < fewest:
        raise Unresolved(f"{len(sides[0])} image(s); needs {fewest}")
    if any(not np.ptp(side, axis=0).any() for side in sides):
        raise Unresolved("the features are the same for all images")
    x, y = (side - side.mean(axis=0) for side in sides)
    return x / np.abs(x).max(), y / np.abs(y).max()  # the scale cancels, and squares cannot overflow


def _squared_norm(matrix: Floats) -> float:
    return float(np.vdot(matrix, matrix))


@dataclass(frozen=True, eq=False)
class RepresentedModel:
    """A model by its features on images of each of `SPLITS`, and the Retrains that it is compared with."""

    features: Mapping[str, Floats]
    labels: Mapping[str, Integers]
    retrains: Sequence[Mapping[str, Floats]]
    """Their features of the same images; of a Retrain the others', which may be none."""

    def similarity(self, split: str) -> float:
        """Mean CKA with the Retrains on one split."""
        if not self.retrains:
            raise Unresolved("a single Retrain has no other one to compare with")
        own = self.features[split]
        return float(np.mean([debiased_linear_cka(own, retrained[split]) for retrained in self.retrains]))

    def probe(self, split: str) -> float:
        """Accuracy on one split of a probe that is fitted on images which no model of the block was trained on."""
        parts = ("non_members", split)
        features, labels = (np.concatenate([of[part] for part in parts]) for of in (self.features, self.labels))
        fitted, scored = np.split(np.arange(len(labels)), [len(self.labels["non_members"])])
        return linear_probe_accuracy(features, labels, fitted, scored)


SPLITS = ("forget", "test", "non_members")
"""Those whose features the scores need."""
WORDS = {"forget": "forget set", "test": "test images"}


def _similarity(split: str) -> Entry[RepresentedModel]:
    return Entry(
        f"cka_{split}",
        f"CKA with Retrain, {WORDS[split]}",
        f"Debiased linear CKA of the model's features with Retrain's: {WORDS[split]}, mean over Retrains.",
        debiased_linear_cka,
        lambda model: model.similarity(split),
        range=debiased_linear_cka.info.range,
        direction="higher",
    )


def _probe(split: str) -> Entry[RepresentedModel]:
    return Entry(
        f"probe_{split}",
        f"Linear probe, {WORDS[split]}",
        f"Accuracy on the {WORDS[split]} of a linear probe of the features, fitted on images that no model saw.",
        linear_probe_accuracy,
        lambda model: model.probe(split),
    )


SIMILARITIES = tuple(_similarity(split) for split in WORDS)
PROBES = tuple(_probe(split) for split in WORDS)
SCORES = (*SIMILARITIES, *PROBES)
METRICS: dict[str, MetricInfo] = {entry.name: entry.info for entry in SCORES}
"""The declarations of all scores, in display order."""


def score_representation(model: RepresentedModel) -> Scores:
    """Every name of `METRICS` with its value, or with None and the reason."""
    return score_all(SCORES, model)
