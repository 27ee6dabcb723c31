"""How often a classifier is right: overall, by class, and by rank.

All functions take logits of shape (n, C), float, and labels of shape (n,), int in [0, C). A prediction is the argmax
over all C logits, also where a class was forgotten: a model that still answers with that class is wrong. All of them
raise ValueError on NaN, infinities and mismatched shapes.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from metrics.checks import Floats, indices, logits_and_labels
from metrics.declaration import Unresolved, metric


@metric("accuracy", direction="higher", range=(0, 1), version=1)
def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Share of images whose largest logit is that of the true class.

    Raises:
        Unresolved: there is no image.
    """
    scores, truth = logits_and_labels(logits, labels)
    if not len(truth):
        raise Unresolved("no images to score")
    return float(np.mean(scores.argmax(axis=1) == truth))


@metric("ua", title="Unlearning accuracy", direction="retrain", range=(0, 1), version=1)
def unlearning_accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Share of the forget set that is classified wrongly: 1 - accuracy.

    Raises:
        Unresolved: there is no image.

    Source: Fan et al., SalUn, ICLR 2024. Good is what Retrain gets, which is far from 1 in a random forget set.
    """
    return 1.0 - accuracy(logits, labels)


@metric("macro_auc", title="Macro AUC", direction="higher", range=(0, 1), version=1)
def macro_auc(logits: ArrayLike, labels: ArrayLike, classes: ArrayLike | None = None) -> float:
    """Mean over classes of the one-vs-rest ROC AUC of the softmax probability.

    With two logits both classes have the same AUC, so class 1 alone is scored.

    Args:
        logits: shape (n, C), float; the softmax runs over all C.
        labels: shape (n,), int.
        classes: the classes to average over, shape (k,), int; all C by default.

    Raises:
        Unresolved: a class has no image, or no image stands against it.

    Source: Yang et al., MedMNIST v2, Scientific Data 2023 (the official evaluator averages the same way).
    """
    scores, truth = logits_and_labels(logits, labels)
    probabilities = softmax(scores, axis=1)
    class_count = scores.shape[1]
    wanted = indices(range(class_count) if classes is None else classes, class_count, "classes")
    if not len(wanted):
        raise Unresolved("no classes to average over")
    if class_count == 2:
        wanted = np.array([1])
    return float(np.mean([_one_vs_rest(truth == k, probabilities[:, k], k) for k in wanted]))


def _one_vs_rest(positive: NDArray[np.bool_], scores: Floats, class_index: int) -> float:
    if not positive.any() or positive.all():
        raise Unresolved(f"class {class_index} has {positive.sum()} of {len(positive)} images: its AUC is undefined")
    return float(roc_auc_score(positive, scores))


@metric("sensitivity", title="Sensitivity by class", direction="higher", range=(0, 1), version=1)
def per_class_sensitivity(logits: ArrayLike, labels: ArrayLike) -> list[float | None]:
    """Recall of every class, in class order; None where the class has no image."""
    scores, truth = logits_and_labels(logits, labels)
    class_count = scores.shape[1]
    images = np.bincount(truth, minlength=class_count)
    found = np.bincount(truth[scores.argmax(axis=1) == truth], minlength=class_count)
    return [int(hits) / int(count) if count else None for hits, count in zip(found, images, strict=True)]


@metric("balanced_accuracy", title="Balanced accuracy", direction="higher", range=(0, 1), version=1)
def balanced_accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean sensitivity over the classes that have images.

    Raises:
        Unresolved: there is no image.
    """
    present = [recall for recall in per_class_sensitivity(logits, labels) if recall is not None]
    if not present:
        raise Unresolved("no images to score")
    return float(np.mean(present))
