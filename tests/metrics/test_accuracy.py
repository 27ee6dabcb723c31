import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn import metrics as sklearn_metrics

from metrics.accuracy import accuracy, balanced_accuracy, macro_auc, per_class_sensitivity, unlearning_accuracy
from metrics.declaration import Unresolved

seeds = st.integers(0, 2**32 - 1)


def predictions(seed: int, count: int = 300, classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are right more often than not, on imbalanced classes that all occur."""
    generator = np.random.default_rng(seed)
    shares = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    labels = np.concatenate([np.arange(classes), generator.choice(classes, count - classes, p=shares)])
    return generator.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels], labels


@pytest.mark.parametrize("seed", range(3))
def test_the_shares_agree_with_scikit_learn(seed):
    logits, labels = predictions(seed)
    predicted = logits.argmax(axis=1)
    assert accuracy(logits, labels) == pytest.approx(sklearn_metrics.accuracy_score(labels, predicted))
    assert balanced_accuracy(logits, labels) == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(labels, predicted)
    )
    assert per_class_sensitivity(logits, labels) == pytest.approx(
        sklearn_metrics.recall_score(labels, predicted, average=None)
    )


@pytest.mark.parametrize("seed", range(3))
def test_macro_auc_agrees_with_scikit_learn(seed):
    logits, labels = predictions(seed)
    expected = sklearn_metrics.roc_auc_score(labels, softmax(logits, axis=1), multi_class="ovr", average="macro")
    assert macro_auc(logits, labels) == pytest.approx(expected)


def test_with_two_classes_the_auc_is_that_of_class_one():
    logits, labels = predictions(0, classes=2)
    expected = sklearn_metrics.roc_auc_score(labels, logits[:, 1] - logits[:, 0])
    assert macro_auc(logits, labels) == pytest.approx(expected)
    assert macro_auc(logits, labels, classes=[0, 1]) == macro_auc(logits, labels)


def test_macro_auc_leaves_a_forgotten_class_out_of_the_mean_but_in_the_softmax():
    logits, labels = predictions(0)
    kept = labels != 2
    logits, labels = logits[kept], labels[kept]
    probabilities = softmax(logits, axis=1)
    expected = np.mean([sklearn_metrics.roc_auc_score(labels == k, probabilities[:, k]) for k in (0, 1, 3, 4)])
    assert macro_auc(logits, labels, classes=[0, 1, 3, 4]) == pytest.approx(expected)


def test_an_auc_with_nothing_to_rank_is_unresolved():
    logits, labels = predictions(0)
    with pytest.raises(Unresolved, match="class 2 has 0 of"):
        macro_auc(logits[labels != 2], labels[labels != 2])
    with pytest.raises(Unresolved, match="class 2 has"):
        macro_auc(logits[labels == 2], labels[labels == 2], classes=[2])
    with pytest.raises(Unresolved, match="no classes"):
        macro_auc(logits, labels, classes=[])


def test_a_model_that_still_answers_with_a_forgotten_class_is_wrong():
    still_answers = np.array([[0.0, 1.0, 5.0], [0.0, 1.0, -5.0]])
    assert accuracy(still_answers, np.array([1, 1])) == 0.5


def test_a_class_without_images_has_no_sensitivity_and_does_not_count():
    logits, labels = np.eye(3)[[0, 0, 2, 0]], np.array([0, 0, 2, 2])
    assert per_class_sensitivity(logits, labels) == [1.0, None, 0.5]
    assert balanced_accuracy(logits, labels) == 0.75


def test_a_class_that_is_never_found_counts_fully_in_the_balanced_accuracy():
    assert balanced_accuracy(np.eye(2)[[0, 0, 0]], np.array([0, 0, 1])) == 0.5


@pytest.mark.parametrize("share", [accuracy, unlearning_accuracy, balanced_accuracy])
def test_a_share_of_no_images_is_unresolved(share):
    with pytest.raises(Unresolved):
        share(np.empty((0, 3)), np.empty(0, dtype=int))


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_unlearning_accuracy_is_what_accuracy_leaves(seed):
    logits, labels = predictions(seed, count=50)
    assert unlearning_accuracy(logits, labels) == 1 - accuracy(logits, labels)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_the_order_of_the_images_does_not_matter(seed):
    logits, labels = predictions(seed, count=50)
    order = np.random.default_rng(seed).permutation(50)
    for value in (accuracy, macro_auc, balanced_accuracy):
        assert value(logits, labels) == pytest.approx(value(logits[order], labels[order]))
        assert 0 <= value(logits, labels) <= 1
    assert per_class_sensitivity(logits, labels) == per_class_sensitivity(logits[order], labels[order])


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(-50, 50))
def test_a_constant_added_to_all_logits_of_an_image_changes_nothing(seed, constant):
    logits, labels = predictions(seed, count=50)
    assert accuracy(logits + constant, labels) == accuracy(logits, labels)
    assert macro_auc(logits + constant, labels) == pytest.approx(macro_auc(logits, labels), abs=1e-9)
