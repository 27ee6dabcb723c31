"""Spectral signatures: poisoned images stand out along the direction in which their class's features vary most.

    M_c    = [f(x) - mean f]  over all x that are labelled c,   f = the input of the last linear layer
    tau(x) = ((f(x) - mean f) . v_c)^2,                         v_c = top right singular vector of M_c
    S      = D without the round(q * |D_c|) highest tau of every class c;   train anew on S

Source: Tran et al., Spectral Signatures in Backdoor Attacks, NeurIPS 2018, algorithm 1: the 1.5 * epsilon highest
scores go, epsilon being an upper bound of the poison in a class, which the defender has to guess. With epsilon = 10 %
of the class that is q = 0.15, the same share as BackdoorBench's scores above the 85th percentile. Both take it from
every class, since none is known to be the target. A ratio of 10 % over all images can make half of the target class
poison, far more than q removes. The paper leaves open which layer f is; the last hidden one is BackdoorBench's.

Training is the suite's recipe, from the same initialisation twice.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.api import PoisonedTrainingTask, training_defense
from methods.layers import penultimate_features


@training_defense("spectral_signatures", version=1)
@dataclass(frozen=True)
class SpectralSignatures:
    removed_share: float = 0.15
    """Share q of each class's images that is thrown away, in [0, 1)."""

    def __post_init__(self) -> None:
        """Refuse a share outside [0, 1)."""
        if not 0 <= self.removed_share < 1:
            raise ValueError(f"removed_share must lie in [0, 1), not {self.removed_share}")

    def train(self, task: PoisonedTrainingTask) -> nn.Module:
        """Train, throw the outliers away, train again."""
        model = task.fit(task.fresh_model(), task.train)
        suspects = self.suspects(penultimate_features(model, task.train), task.train.labels)
        return task.fit(task.fresh_model(), task.train.part(torch.nonzero(~suspects).flatten()))

    def suspects(self, features: Tensor, labels: Tensor) -> Tensor:
        """Which images are thrown away, bool (n,), given features (n, d) and labels (n,)."""
        scores, suspects = outlier_scores(features, labels), torch.zeros_like(labels, dtype=torch.bool)
        for label in labels.unique():
            rows = torch.nonzero(labels == label).flatten()
            highest = scores[rows].argsort(descending=True, stable=True)
            suspects[rows[highest[: round(self.removed_share * len(rows))]]] = True
        return suspects


def outlier_scores(features: Tensor, labels: Tensor) -> Tensor:
    """Squared projection of every image's centred features on its class's top singular direction: float64 (n,)."""
    scores = torch.zeros(len(labels), dtype=torch.float64, device=features.device)
    for label in labels.unique():
        rows = torch.nonzero(labels == label).flatten()
        centred = features[rows].double()
        centred = centred - centred.mean(dim=0)
        # The top right singular vector is the last eigenvector of the (d, d) Gram matrix, however large the class is.
        direction = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
        scores[rows] = (centred @ direction).square()
    return scores
