"""Activation clustering: a class whose activations fall into a large and a small group hides poison in the small one.

    A_c = inputs of the last linear layer over all x labelled c, reduced to 10 dimensions
    (small, large) = 2-means of A_c
    drop small  if  |small| / |A_c| <= 0.35  and  silhouette(small, large) >= 0.1;   train anew on what is left

Source: Chen et al., Detecting Backdoor Attacks on Deep Neural Networks by Activation Clustering, SafeAI at AAAI 2019:
independent components of the last hidden layer, 2-means, images grouped by their label. The paper has three ways to
judge a split: relative size, silhouette, and what a model trained without the cluster takes it for; which to use stays
open. Here the first two must agree. As far as we remember the paper, it calls 0.10 to 0.15 a reasonable threshold of
the silhouette and sets that of the size by the poison expected (to be checked). 0.35 is no figure of the paper: an
honest class splits about evenly. A class that is half poison does too: with ten classes, a ratio of 10 % over all
images is that much, and neither 0.35 nor another threshold finds it.

BackdoorBench clusters inside every mini-batch of 256 and always drops the smaller cluster of every class:
`drop="always"` does the latter, over whole classes.

A class with no more images than `dimensions` is left as it is, and a class whose features span fewer dimensions is
reduced to those. Where nothing is suspected the first model is the result. Training is the suite's recipe, from the
same initialisation twice. Independent components that have not converged after 200 iterations are used as they are.
They all have unit variance, so that 2-means has many poor optima: it is started 50 times (the source says nothing).
"""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.api import PoisonedTrainingTask, training_defense
from methods.layers import penultimate_features


@training_defense("activation_clustering", version=1, presets={"always-drop": {"drop": "always"}})
@dataclass(frozen=True)
class ActivationClustering:
    dimensions: int = 10
    reduction: Literal["ica", "pca"] = "ica"
    drop: Literal["suspicious", "always"] = "suspicious"
    """Which smaller clusters go: those that look like poison, or every class's."""
    size_threshold: float = 0.35
    """Largest share of its class that a suspicious cluster may have."""
    silhouette_threshold: float = 0.1
    """Smallest mean silhouette of a split in which a cluster is suspicious."""
    restarts: int = 50
    """Starts of 2-means, of which the best counts."""

    def __post_init__(self) -> None:
        """Refuse thresholds that mean nothing."""
        if min(self.dimensions, self.restarts) < 1:
            raise ValueError(f"dimensions and restarts must be at least 1, not {self.dimensions} and {self.restarts}")
        if not 0 <= self.size_threshold <= 0.5:
            raise ValueError(f"size_threshold must lie in [0, 0.5], not {self.size_threshold}")
        if not -1 <= self.silhouette_threshold <= 1:
            raise ValueError(f"silhouette_threshold must lie in [-1, 1], not {self.silhouette_threshold}")

    def train(self, task: PoisonedTrainingTask) -> nn.Module:
        """Train, drop suspicious clusters, train again."""
        model = task.fit(task.fresh_model(), task.train)
        draw = torch.randint(2**31 - 1, (1,), generator=task.generator, device=task.generator.device)
        suspects = self.suspects(penultimate_features(model, task.train), task.train.labels, int(draw))
        if not bool(suspects.any()):
            return model
        return task.fit(task.fresh_model(), task.train.part(torch.nonzero(~suspects).flatten()))

    def suspects(self, features: Tensor, labels: Tensor, seed: int) -> Tensor:
        """Which images are dropped, bool (n,), given features (n, d) and labels (n,)."""
        suspects = torch.zeros_like(labels, dtype=torch.bool)
        for label in labels.unique():
            rows = torch.nonzero(labels == label).flatten()
            dropped = self.smaller_cluster(features[rows].double().cpu().numpy(), seed)
            suspects[rows] = torch.from_numpy(dropped).to(suspects.device)
        return suspects

    def smaller_cluster(self, features: np.ndarray, seed: int) -> np.ndarray:
        """Which images of one class are in a cluster that is to be dropped: bool (n,)."""
        from sklearn.cluster import KMeans  # takes a second to import, and only this defence needs it
        from sklearn.metrics import silhouette_score

        nothing = np.zeros(len(features), dtype=bool)
        reduced = self.reduce(features, seed)
        if reduced is None:
            return nothing
        clusters = KMeans(2, n_init=self.restarts, random_state=seed).fit_predict(reduced)
        smaller: np.ndarray = clusters == np.bincount(clusters).argmin()
        if self.drop == "always":
            return smaller
        suspicious = smaller.mean() <= self.size_threshold
        return smaller if suspicious and silhouette_score(reduced, clusters) >= self.silhouette_threshold else nothing

    def reduce(self, features: np.ndarray, seed: int) -> np.ndarray | None:
        """Fewer dimensions, at most as many as the features span; None for a class that is too small or all alike."""
        from sklearn.decomposition import FastICA
        from sklearn.exceptions import ConvergenceWarning

        left, values, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
        # Features are float32: what they span is counted at that precision.
        spanned = int((values > values[0] * max(features.shape) * np.finfo(np.float32).eps).sum())
        if len(features) <= self.dimensions or spanned == 0:
            return None
        count = min(self.dimensions, spanned)
        principal: np.ndarray = left[:, :count] * values[:count]
        if self.reduction == "pca":
            return principal
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            independent: np.ndarray = FastICA(count, random_state=seed).fit_transform(principal)
        return independent
