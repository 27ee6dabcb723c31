"""How far an unlearned model's answers are from Retrain's, image by image.

All functions take logits of shape (n, C), float, of two models on the same n images in the same order, and compute in
float64. Each distance has two forms: `..._per_sample`, shape (n,), and its mean over the images. With u and r for the
two softmax outputs of one image, distances are 0 where u = r and do not depend on the labels. All functions raise
ValueError on NaN, infinities and mismatched shapes; the means raise Unresolved where there is no image.
"""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax

from metrics.checks import Floats, finite
from metrics.declaration import Unresolved, metric


def kl_per_sample(unlearned: ArrayLike, retrained: ArrayLike) -> Floats:
    """KL(u || r) = sum over classes of u log(u / r), in nats, at least 0; it has no upper end.

    Source: Kullback and Leibler, On Information and Sufficiency, 1951.
    """
    log_u, log_r = _log_outputs(unlearned, retrained)
    divergence = np.sum(np.exp(log_u) * (log_u - log_r), axis=1)
    return np.asarray(np.maximum(divergence, 0.0), dtype=np.float64)  # rounding alone can fall below 0


def js_per_sample(first: ArrayLike, second: ArrayLike) -> Floats:
    """(KL(u || m) + KL(r || m)) / 2 with m = (u + r) / 2, in nats, in [0, log 2]; symmetric.

    Source: Lin, Divergence Measures Based on the Shannon Entropy, 1991.
    """
    log_u, log_r = _log_outputs(first, second)
    excess = log_r - log_u
    # log(u / m) = log 2 - log(1 + r / u): exactly 0 where both agree, and finite where an output has underflown
    terms = np.exp(log_u) * (math.log(2) - np.logaddexp(0.0, excess))
    terms += np.exp(log_r) * (math.log(2) - np.logaddexp(0.0, -excess))
    return np.asarray(np.clip(terms.sum(axis=1) / 2, 0.0, math.log(2)), dtype=np.float64)


def activation_distance_per_sample(unlearned: ArrayLike, retrained: ArrayLike) -> Floats:
    """Euclidean distance of the softmax outputs, ||u - r||, in [0, sqrt(2)]."""
    log_u, log_r = _log_outputs(unlearned, retrained)
    return np.asarray(np.linalg.norm(np.exp(log_u) - np.exp(log_r), axis=1), dtype=np.float64)


def zrf_per_sample(unlearned: ArrayLike, untrained: ArrayLike) -> Floats:
    """1 - JS(u, v), v being the output of a randomly initialised network of the same architecture.

    In [1 - log 2, 1]: 1 where the model answers as one that never learned anything.

    The source sums over images and classes and divides by their number, n C: a JS that shrinks with the number of
    classes, and a ZRF that stays close to 1 whatever the model does. Here the JS of an image is divided by nothing.
    """
    return 1.0 - js_per_sample(unlearned, untrained)


@metric("kl_to_retrain", title="KL to Retrain", direction="lower", range=(0, math.inf), version=1, unit="nats")
def kl_to_retrain(unlearned: ArrayLike, retrained: ArrayLike) -> float:
    """Mean over images of KL(unlearned || Retrain) between the softmax outputs, in nats."""
    return _mean(kl_per_sample(unlearned, retrained))


@metric("js_to_retrain", title="JS to Retrain", direction="lower", range=(0, math.log(2)), version=1, unit="nats")
def js_to_retrain(unlearned: ArrayLike, retrained: ArrayLike) -> float:
    """Mean over images of the Jensen-Shannon divergence of the softmax outputs of the model and Retrain, in nats."""
    return _mean(js_per_sample(unlearned, retrained))


@metric("activation_distance", direction="lower", range=(0, math.sqrt(2)), version=1, unit="probability")
def activation_distance(unlearned: ArrayLike, retrained: ArrayLike) -> float:
    """Mean over images of the Euclidean distance between the softmax outputs of the model and Retrain.

    Source: Golatkar et al., Mixed-Privacy Forgetting in Deep Networks, CVPR 2021.
    """
    return _mean(activation_distance_per_sample(unlearned, retrained))


@metric("zrf", title="ZRF", direction="retrain", range=(1 - math.log(2), 1), version=1, unit="index")
def zrf(unlearned: ArrayLike, untrained: ArrayLike) -> float:
    """Mean over images of 1 - JS between the softmax outputs of the model and of an untrained network.

    Good is what Retrain gets: it has not seen the forget set, but it is no untrained network either.

    Source: Chundawat et al., Can Bad Teaching Induce Forgetting?, AAAI 2023; `zrf_per_sample` says what differs.
    """
    return _mean(zrf_per_sample(unlearned, untrained))


def _log_outputs(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    left, right = finite(first, 2, "first logits"), finite(second, 2, "second logits")
    if left.shape != right.shape:
        raise ValueError(f"logits of shapes {left.shape} and {right.shape} are not of the same images and classes")
    return log_softmax(left, axis=1), log_softmax(right, axis=1)


def _mean(per_sample: Floats) -> float:
    if not len(per_sample):
        raise Unresolved("no images to compare")
    return float(per_sample.mean())
