"""What every metric refuses, whatever it computes."""

import numpy as np
import pytest

from metrics import (
    accuracy,
    checks,
    distances,
    epsilon,
    gaps,
    intervals,
    klom,
    membership,
    representation,
    variance,
)

GOOD = np.linspace(0.1, 0.9, 60)
LABELS = np.zeros(60, dtype=int)

TAKES_ONE_ARRAY = {
    "accuracy": lambda bad: accuracy.accuracy(bad[:, None], LABELS),
    "unlearning_accuracy": lambda bad: accuracy.unlearning_accuracy(bad[:, None], LABELS),
    "macro_auc": lambda bad: accuracy.macro_auc(bad[:, None], LABELS),
    "balanced_accuracy": lambda bad: accuracy.balanced_accuracy(bad[:, None], LABELS),
    "per_class_sensitivity": lambda bad: accuracy.per_class_sensitivity(bad[:, None], LABELS),
    "cross_entropy": lambda bad: membership.cross_entropy(bad[:, None], LABELS),
    "true_class_probability": lambda bad: membership.true_class_probability(bad[:, None], LABELS),
    "mia_svc, retain": lambda bad: membership.mia_svc(bad, LABELS, GOOD, LABELS, GOOD, seed=0),
    "mia_svc, non-members": lambda bad: membership.mia_svc(GOOD, LABELS, bad, LABELS, GOOD, seed=0),
    "mia_svc, forget": lambda bad: membership.mia_svc(GOOD, LABELS, GOOD, LABELS, bad, seed=0),
    "mia_svc_original, retain": lambda bad: membership.mia_svc_original(bad, GOOD, GOOD),
    "mia_svc_original, test": lambda bad: membership.mia_svc_original(GOOD, bad, GOOD),
    "mia_svc_original, forget": lambda bad: membership.mia_svc_original(GOOD, GOOD, bad),
    "mia_loss_auc, forget": lambda bad: membership.mia_loss_auc(bad, GOOD),
    "mia_loss_auc, non-members": lambda bad: membership.mia_loss_auc(GOOD, bad),
    "tpr_at_fpr, members": lambda bad: membership.tpr_at_fpr(bad, GOOD, 0.5),
    "tpr_at_fpr, non-members": lambda bad: membership.tpr_at_fpr(GOOD, bad, 0.5),
    "mia_loss_tpr": lambda bad: membership.mia_loss_tpr(bad, GOOD, 0.5),
    "mia_loss_tpr_over": lambda bad: membership.mia_loss_tpr_over(bad, GOOD, 0.5),
    "method_gap, values": lambda bad: gaps.method_gap(bad, GOOD[:, None]),
    "method_gap, retrains": lambda bad: gaps.method_gap(GOOD, bad[:, None]),
    "null_gap": lambda bad: gaps.null_gap(bad.reshape(30, 2)),
    "signed_differences": lambda bad: gaps.signed_differences(bad, GOOD[:, None]),
    "gap_of_means": lambda bad: gaps.gap_of_means(bad, GOOD[:, None]),
    "average_gap": lambda bad: gaps.average_gap({"ua": bad}, {"ua": GOOD[:, None]}),
    "null_average_gap": lambda bad: gaps.null_average_gap({"ua": bad.reshape(30, 2)}),
    "tow": lambda bad: gaps.tow({"ua": bad}, {"ua": GOOD[:, None]}),
    "null_tow": lambda bad: gaps.null_tow({"ua": bad.reshape(30, 2)}),
    "kl_to_retrain, unlearned": lambda bad: distances.kl_to_retrain(bad[:, None], GOOD[:, None]),
    "kl_to_retrain, retrained": lambda bad: distances.kl_to_retrain(GOOD[:, None], bad[:, None]),
    "js_to_retrain": lambda bad: distances.js_to_retrain(bad[:, None], GOOD[:, None]),
    "activation_distance": lambda bad: distances.activation_distance(bad[:, None], GOOD[:, None]),
    "zrf": lambda bad: distances.zrf(bad[:, None], GOOD[:, None]),
    "klom, unlearned": lambda bad: klom.klom(bad[None], GOOD[None]),
    "klom, retrained": lambda bad: klom.klom(GOOD[None], bad[None]),
    "gaussian_klom": lambda bad: klom.gaussian_klom(bad[None], GOOD[None]),
    "klom.summarise": klom.summarise,
    "eps_lower_bound, unlearned": lambda bad: epsilon.eps_lower_bound(bad[None], GOOD[None]),
    "eps_lower_bound, retrained": lambda bad: epsilon.eps_lower_bound(GOOD[None], bad[None]),
    "linear_cka": lambda bad: representation.linear_cka(bad[:, None], GOOD[:, None]),
    "debiased_linear_cka": lambda bad: representation.debiased_linear_cka(GOOD[:, None], bad[:, None]),
    "linear_probe_accuracy": lambda bad: representation.linear_probe_accuracy(bad[:, None], LABELS, [0, 7], [1]),
    "nested_variance": lambda bad: variance.nested_variance(bad.reshape(3, 4, 5)),
    "t_interval": intervals.t_interval,
    "bootstrap_interval": lambda bad: intervals.bootstrap_interval(bad, seed=0),
    "verdict": intervals.verdict,
    "paired_t, first": lambda bad: intervals.paired_t(bad, GOOD),
    "paired_t, second": lambda bad: intervals.paired_t(GOOD, bad),
    "holm": intervals.holm,
}


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", TAKES_ONE_ARRAY)
def test_a_value_that_is_no_number_is_refused_and_never_dropped(name, poison):
    bad = GOOD.copy()
    bad[7] = poison
    with pytest.raises(ValueError, match=r"NaN or infinite|\[0, 1\]"):
        TAKES_ONE_ARRAY[name](bad)


def test_labels_stored_as_a_column_are_refused_instead_of_broadcast():
    with pytest.raises(ValueError, match=r"shape \(60, 1\)"):
        accuracy.accuracy(np.zeros((60, 2)), LABELS[:, None])


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_that_has_no_logit_is_refused(label):
    with pytest.raises(ValueError, match="labels"):
        accuracy.accuracy(np.zeros((1, 2)), np.array([label]))


def test_as_many_labels_as_rows_are_needed():
    with pytest.raises(ValueError, match="2 rows"):
        accuracy.accuracy(np.zeros((2, 2)), np.array([0]))


def test_a_mask_is_not_taken_for_row_numbers():
    with pytest.raises(ValueError, match="bool"):
        checks.indices(np.array([True, False]), 2, "split")


def test_numbers_are_computed_in_double_precision_whatever_is_stored():
    assert checks.finite(np.array([0.5], dtype=np.float16), 1, "values").dtype == np.float64
