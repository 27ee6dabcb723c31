import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import accuracy
from metrics.backdoor import (
    COMPARISONS,
    METRICS,
    SCORES,
    asr,
    asr_by_class,
    asr_correct,
    compare,
    cured,
    der,
    gate,
    recovery_accuracy,
    score_backdoor,
    signed_gap,
    wanted_labels,
)
from metrics.declaration import Unresolved

CLASSES = 3
LABELS = [0, 0, 1, 1, 1, 2, 2]
TARGET = 1
ANSWERS = [1, 0, 1, 1, 1, 1, 0]
"""To stamped images: of the four that are not of class 1, two are taken for 1, one is recovered, one is wrong."""


def logits(answers, classes=CLASSES):
    return np.eye(classes)[list(answers)]


def test_the_rates_are_over_images_of_the_other_classes():
    stamped = logits(ANSWERS)
    assert asr(stamped, LABELS, TARGET) == 2 / 4
    assert recovery_accuracy(stamped, LABELS, TARGET) == 1 / 4
    assert asr_by_class(stamped, LABELS, TARGET) == [1 / 2, None, 1 / 2]


def test_images_of_the_target_class_change_nothing():
    for answer in range(CLASSES):
        answers = [answer if label == TARGET else given for given, label in zip(ANSWERS, LABELS, strict=True)]
        assert asr(logits(answers), LABELS, TARGET) == 2 / 4
        assert recovery_accuracy(logits(answers), LABELS, TARGET) == 1 / 4


def test_all_to_all_wants_the_next_class_of_every_image():
    answers = [1, 0, 2, 1, 0, 0, 2]
    assert asr(logits(answers), LABELS, 0, "all-to-all") == 3 / 7
    assert recovery_accuracy(logits(answers), LABELS, 0, "all-to-all") == 3 / 7
    assert asr_by_class(logits(answers), LABELS, 0, "all-to-all") == [1 / 2, 1 / 3, 1 / 2]


def test_the_known_images_are_those_that_the_clean_model_gets_right():
    known = np.array([True, False, True, True, True, False, True])
    assert asr_correct(logits(ANSWERS), LABELS, known, TARGET) == 1 / 2
    with pytest.raises(Unresolved, match="clean model is right on no image"):
        asr_correct(logits(ANSWERS), LABELS, np.array(LABELS) == TARGET, TARGET)
    with pytest.raises(ValueError, match="known: expected bool"):
        asr_correct(logits(ANSWERS), LABELS, np.ones(7), TARGET)


def test_the_wanted_labels_are_one_rule_for_all_goals():
    for goal, wanted, counted in (
        ("all-to-one", [1] * 7, [True, True, False, False, False, True, True]),
        ("all-to-all", [1, 1, 2, 2, 2, 0, 0], [True] * 7),
        ("none", LABELS, [False] * 7),
    ):
        found = wanted_labels(LABELS, CLASSES, goal, TARGET)
        assert [array.tolist() for array in found] == [wanted, counted]


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="target 3: classes are 0 to 2"):
        wanted_labels(LABELS, CLASSES, "all-to-one", 3)
    with pytest.raises(ValueError, match="goal 'some'"):
        wanted_labels(LABELS, CLASSES, "some", 0)
    for function in (asr, recovery_accuracy, asr_by_class):
        with pytest.raises(Unresolved, match="no stamped image"):
            function(logits([1, 1]), [1, 1], TARGET)
        with pytest.raises(Unresolved, match="no trigger"):
            function(logits(ANSWERS), LABELS, TARGET, "none")
        with pytest.raises(ValueError, match="NaN"):
            function(np.full((7, 3), np.nan), LABELS, TARGET)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 40), st.sampled_from(["all-to-one", "all-to-all"]))
def test_no_stamped_image_is_both_taken_for_the_wanted_class_and_recovered(seed, classes, count, goal):
    rng = np.random.default_rng(seed)
    labels, stamped = rng.integers(classes, size=count), rng.normal(size=(count, classes))
    labels[0], target = 0, classes - 1
    rates = asr(stamped, labels, target, goal), recovery_accuracy(stamped, labels, target, goal)
    assert all(0 <= rate <= 1 for rate in rates)
    assert sum(rates) <= 1 + 1e-12


@given(st.integers(0, 2**32 - 1))
def test_the_classes_shares_weigh_up_to_the_whole(seed):
    rng = np.random.default_rng(seed)
    labels, stamped = np.append(0, rng.integers(4, size=60)), rng.normal(size=(61, 4))
    by_class = asr_by_class(stamped, labels, 2)
    hits = sum(share * np.sum(labels == label) for label, share in enumerate(by_class) if share is not None)
    assert hits / np.sum(labels != 2) == pytest.approx(asr(stamped, labels, 2))


def test_der_is_half_for_nothing_done_and_one_for_a_trigger_removed_at_no_cost():
    assert der(0.9, 0.97, 0.9, 0.97) == 0.5
    assert der(0.9, 0.0, 0.9, 1.0) == 1.0
    assert der(0.8, 0.1, 0.9, 1.0) == pytest.approx(0.9)
    # gains of ACC and a higher ASR are not counted
    assert der(0.95, 1.0, 0.9, 0.9) == 0.5
    assert der(0.0, 1.0, 1.0, 1.0) == 0.0


def rates(acc, asr, recovery, oracle=(0.95, 0.02, 0.93)):
    oracle = dict(zip(("oracle_acc", "oracle_asr", "oracle_recovery"), oracle, strict=True))
    return cured(acc, asr, recovery, **oracle)


def test_cured_means_within_five_points_of_the_oracle_in_all_three_rates():
    assert rates(0.95, 0.02, 0.93) == 1.0
    assert rates(0.90, 0.07, 0.88) == 1.0  # exactly at the margin, in floating point
    assert rates(1.0, 0.0, 1.0) == 1.0
    assert rates(0.899, 0.02, 0.93) == 0.0
    assert rates(0.95, 0.071, 0.93) == 0.0
    assert rates(0.95, 0.02, 0.879) == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(0, 4), st.floats(0, 1))
def test_a_constant_prediction_is_never_cured_where_the_oracle_has_learnt_anything(seed, classes, answer, excess):
    """Its ACC is the share of one class, so the oracle's has only to be 5 points above that of the largest."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=50)])
    chance = np.bincount(labels).max() / len(labels)
    oracle_acc = min(1.0, chance + 0.0501 + excess * (1 - chance))
    if oracle_acc - chance <= 0.05:
        return
    constant = logits([answer % classes] * len(labels), classes)
    own = score_backdoor(constant, constant, labels, goal="all-to-one", target=0, known=None).values
    for oracle_asr in (0.0, 1.0):
        oracle = {"acc": oracle_acc, "asr": oracle_asr, "recovery": 0.0}
        assert compare(own, oracle, oracle).values["cured"] == 0.0


def test_a_constant_wrong_prediction_has_a_der_of_64_percent_and_is_not_cured():
    labels = np.repeat(np.arange(4), [25, 25, 25, 24])
    constant = logits([3] * 99, 4)
    own = score_backdoor(constant, constant, labels, goal="all-to-one", target=0, known=None).values
    assert own["asr"] == 0.0
    backdoored, oracle = {"acc": 0.96, "asr": 1.0, "recovery": 0.0}, {"acc": 0.96, "asr": 0.01, "recovery": 0.95}
    compared = compare(own, backdoored, oracle).values
    assert compared["der"] == pytest.approx(0.64, abs=0.005)
    assert compared["cured"] == 0.0


@pytest.mark.parametrize(
    ("acc", "asr", "reason"),
    [
        (0.95, 0.80, None),
        (0.90, 0.9, None),  # 0.95 - 0.90 is more than 0.05 in floating point
        (0.99, 1.0, None),
        (0.95, 0.7999, "ASR 79.99% is below 80%"),
        (0.8999, 0.9, "ACC is 5.01 points below the clean model's, more than 5"),
        (0.5, 0.5, "ASR 50.00% is below 80%, ACC is 45.00 points below the clean model's, more than 5"),
    ],
)
def test_an_attack_fails_below_eighty_percent_or_if_it_costs_more_than_five_points(acc, asr, reason):
    assert gate(acc, asr, clean_acc=0.95) == reason


@pytest.fixture
def answers():
    """Of a backdoored model: clean images, stamped images and labels."""
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=200)
    return rng.normal(size=(200, 4)) + 2 * np.eye(4)[labels], rng.normal(size=(200, 4)) + np.eye(4)[1], labels


def test_every_raw_score_is_its_metric(answers):
    clean, stamped, labels = answers
    known = clean.argmax(axis=1) == labels
    scores = score_backdoor(clean, stamped, labels, goal="all-to-one", target=1, known=known)
    taken, others = stamped.argmax(axis=1) == 1, labels != 1
    assert scores.unresolved == {}
    assert scores.values == {
        "acc": known.mean(),
        "balanced_accuracy": accuracy.balanced_accuracy(clean, labels),
        "macro_auc": accuracy.macro_auc(clean, labels),
        "sensitivity": accuracy.per_class_sensitivity(clean, labels),
        "asr": taken[others].mean(),
        "asr_correct": taken[others & known].mean(),
        "recovery": (stamped.argmax(axis=1) == labels)[others].mean(),
        "asr_by_class": asr_by_class(stamped, labels, 1),
    }


def test_the_control_has_accuracies_alone_and_a_gap_of_acc_alone(answers):
    clean, stamped, labels = answers
    for given_stamps in (None, stamped):
        scores = score_backdoor(clean, given_stamps, labels, goal="none", target=0, known=None)
        assert set(scores.unresolved) == {"asr", "asr_correct", "recovery", "asr_by_class"}
        assert set(scores.unresolved.values()) == {"no trigger: the model is a clean one"}
        compared = compare(scores.values, scores.values, scores.values)
        assert compared.values["acc_gap"] == 0.0
        assert set(compared.unresolved) == set(compared.values) - {"acc_gap"}


def test_gaps_are_signed_and_to_the_oracle():
    own, oracle = {"acc": 0.9, "asr": 0.3, "recovery": 0.6}, {"acc": 0.8, "asr": 0.1, "recovery": 0.9}
    compared = compare(own, {"acc": 0.8, "asr": 1.0, "recovery": 0.0}, oracle).values
    assert {name: compared[name] for name in ("acc_gap", "asr_gap", "recovery_gap")} == pytest.approx(
        {"acc_gap": 0.1, "asr_gap": 0.2, "recovery_gap": -0.3}
    )
    assert compared["der"] == pytest.approx(0.85)
    assert compared["cured"] == 0.0
    assert signed_gap(0.25, 0.75) == -0.5


def test_the_declarations_name_every_score_once_with_its_direction():
    names = [entry.name for entry in (*SCORES, *COMPARISONS)]
    assert list(METRICS) == names
    assert {name for name, info in METRICS.items() if info.direction == "lower"} == {
        "asr", "asr_correct", "asr_by_class", "asr_gap",
    }  # fmt: skip
    assert {info.direction for info in METRICS.values()} == {"higher", "lower"}
    assert {name for name, info in METRICS.items() if info.target == 0} == {"acc_gap", "asr_gap", "recovery_gap"}
    json.dumps([asdict(info) for info in METRICS.values()], allow_nan=False)


def test_mismatched_inputs_are_refused(answers):
    clean, stamped, labels = answers
    with pytest.raises(ValueError, match="on clean images, but"):
        score_backdoor(clean, stamped[:-1], labels, goal="all-to-one", target=1, known=None)
    with pytest.raises(ValueError, match="target 9"):
        score_backdoor(clean, stamped, labels, goal="all-to-one", target=9, known=None)
    stamped[3, 0] = np.inf
    with pytest.raises(ValueError, match="NaN or infinite"):
        score_backdoor(clean, stamped, labels, goal="all-to-one", target=1, known=None)


def test_without_a_clean_model_nobody_says_which_images_are_known(answers):
    scores = score_backdoor(*answers, goal="all-to-one", target=1, known=None)
    assert scores.unresolved == {"asr_correct": "no clean model says which images are known"}
