"""The scores of an unlearned model the plain way: a pass of the model for each, scikit-learn for the rest."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC
from torch import nn

from benchmark.perf.plain import Batches, accuracy

DRAWS, FOLDS = 20, 5
"""Of the confidence attack, as in `metrics.membership.mia_svc`."""
Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]


@torch.no_grad()
def probabilities(model: nn.Module, batches: Batches) -> tuple[Floats, Integers]:
    """Softmax outputs (n, classes) and labels (n,)."""
    model.eval()
    outputs = [(model(images).softmax(1), labels) for images, labels in batches]
    return torch.cat([each for each, _ in outputs]).numpy(), torch.cat([each for _, each in outputs]).numpy()


def confidences(model: nn.Module, batches: Batches) -> tuple[Floats, Integers]:
    """Probability of the true class (n,), and labels (n,)."""
    outputs, labels = probabilities(model, batches)
    return outputs[np.arange(len(labels)), labels], labels


def scores(model: nn.Module, loaders: dict[str, Batches], seed: int) -> dict[str, float]:
    """Every score of one model; `loaders` are those of forget, retain, non_members and test, none shuffled."""
    forget, retain, non_members, test = (loaders[name] for name in ("forget", "retain", "non_members", "test"))
    return {
        "ua": 1 - accuracy(model, forget),
        "ra": accuracy(model, retain),
        "ta": accuracy(model, test),
        "balanced_accuracy": balanced_accuracy(model, test),
        "macro_auc": macro_auc(model, test),
        "mia_svc": mia_svc(model, retain, non_members, forget, seed)[0],
        "mia_svc_original": mia_svc_original(model, retain, test, forget),
        "mia_loss_auc": mia_loss_auc(model, non_members, forget),
    }


def balanced_accuracy(model: nn.Module, test: Batches) -> float:
    """Mean sensitivity over classes."""
    outputs, labels = probabilities(model, test)
    return float(balanced_accuracy_score(labels, outputs.argmax(1)))


def macro_auc(model: nn.Module, test: Batches) -> float:
    """Mean one-vs-rest AUC."""
    outputs, labels = probabilities(model, test)
    return float(roc_auc_score(labels, outputs.astype(np.float64), multi_class="ovr", labels=_classes(outputs)))


def mia_svc(
    model: nn.Module, retain: Batches, non_members: Batches, forget: Batches, seed: int
) -> tuple[float, float, float]:
    """Shares of forget set and of held-out non-members called non-member, and the attack's own accuracy."""
    members, member_labels = confidences(model, retain)
    others, other_labels = confidences(model, non_members)
    forgotten, _ = confidences(model, forget)
    rng, found = np.random.default_rng(seed), []
    for draw in range(DRAWS):
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=draw)
        for seen, held_out in folds.split(others, other_labels):
            own = _like(other_labels[seen], member_labels, rng)
            attack = _attack(members[own], others[seen])
            right = attack.predict(members[own][:, None]).mean(), 1 - attack.predict(others[seen][:, None]).mean()
            shares = [1 - attack.predict(part[:, None]).mean() for part in (forgotten, others[held_out])]
            found.append((*shares, sum(right) / 2))
    forget_share, held_out_share, correct = np.mean(found, axis=0)
    return float(forget_share), float(held_out_share), float(correct)


def mia_svc_original(model: nn.Module, retain: Batches, test: Batches, forget: Batches) -> float:
    """Share of the forget set called non-member, with the test set as non-members."""
    members, others, forgotten = (confidences(model, batches)[0] for batches in (retain, test, forget))
    count = min(len(members), len(others))
    return float(1 - _attack(members[:count], others[:count]).predict(forgotten[:, None]).mean())


def mia_loss_auc(model: nn.Module, non_members: Batches, forget: Batches) -> float:
    """Probability that a non-member is less certain than a forgotten image."""
    others, forgotten = (confidences(model, batches)[0] for batches in (non_members, forget))
    is_other = np.repeat([True, False], [len(others), len(forgotten)])
    return float(roc_auc_score(is_other, -np.concatenate([others, forgotten])))


def _attack(members: Floats, others: Floats) -> SVC:
    """Says 1 for a member, 0 for another."""
    is_member = np.repeat([1, 0], [len(members), len(others)])
    return SVC(C=3, gamma="auto").fit(np.concatenate([members, others])[:, None], is_member)


def _like(wanted: Integers, labels: Integers, rng: np.random.Generator) -> Integers:
    """Rows with these labels that have the classes of `wanted`, as often as there."""
    counts = np.bincount(wanted)
    return np.concatenate(
        [rng.choice(np.flatnonzero(labels == label), count, replace=False) for label, count in enumerate(counts)]
    )


def _classes(outputs: Floats) -> Integers:
    return np.arange(outputs.shape[1])
