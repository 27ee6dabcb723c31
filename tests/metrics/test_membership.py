import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.svm import SVC

from metrics.declaration import Unresolved
from metrics.membership import (
    cross_entropy,
    mia_loss_auc,
    mia_loss_tpr,
    mia_loss_tpr_over,
    mia_svc,
    mia_svc_original,
    tpr_at_fpr,
    true_class_probability,
)

seeds = st.integers(0, 2**32 - 1)
tied_scores = st.lists(st.integers(-6, 6), min_size=40, max_size=90).map(lambda scores: np.array(scores, dtype=float))


def confidences(generator: np.random.Generator, count: int, mean: float = 1.0) -> np.ndarray:
    return expit(generator.normal(mean, 2.0, count))


def svc_verdict(generator: np.random.Generator, retain=1.0, non_members=1.0, forget=1.0, **options):
    """The attack on three groups of eight balanced classes, each with its own mean of the log-odds."""
    return mia_svc(
        confidences(generator, 800, retain),
        np.arange(800) % 8,
        confidences(generator, 240, non_members),
        np.arange(240) % 8,
        confidences(generator, 240, forget),
        **({"seed": 0, "draws": 3} | options),
    )


def literal_restatement(retain: np.ndarray, test: np.ndarray, forget: np.ndarray) -> float:
    """SalUn's attack, spelled out with scikit-learn."""
    n = min(len(retain), len(test))
    features = np.concatenate([retain[:n], test[:n]]).reshape(-1, 1)
    classifier = SVC(C=3, kernel="rbf", gamma="auto").fit(features, [1] * n + [0] * n)
    return (classifier.predict(forget.reshape(-1, 1)) == 0).mean()


# losses and confidences


@pytest.mark.parametrize("scale", [1, 100])
def test_losses_and_confidences_agree_with_scipy(scale):
    generator = np.random.default_rng(0)
    logits, labels = scale * generator.normal(size=(50, 7)), generator.integers(0, 7, 50)
    rows = np.arange(50)
    assert cross_entropy(logits, labels) == pytest.approx(-log_softmax(logits, axis=1)[rows, labels])
    assert true_class_probability(logits, labels) == pytest.approx(softmax(logits, axis=1)[rows, labels])


def test_losses_of_a_very_confident_model_stay_apart():
    logits = np.array([[40.0, 0.0], [60.0, 0.0]])
    assert cross_entropy(logits, [0, 0]) == pytest.approx(np.exp([-40.0, -60.0]), rel=1e-12)


def test_huge_logits_neither_overflow_nor_become_nan():
    assert cross_entropy(np.array([[1e30, -1e30], [1e30, -1e30]]), [0, 1]).tolist() == [0.0, 2e30]


# the cross-fitted attack


def test_the_share_is_the_same_for_forgotten_and_held_out_images_of_one_distribution():
    excesses = [svc_verdict(np.random.default_rng(seed), draws=2).excess for seed in range(40)]
    assert np.mean(excesses) == pytest.approx(0, abs=0.02)


def test_a_forget_set_that_still_looks_like_training_data_is_called_non_member_less_often():
    found = svc_verdict(np.random.default_rng(0), retain=5.0, non_members=1.0, forget=5.0)
    assert found.excess < -0.4
    assert found.training_balanced_accuracy > 0.75


def test_an_over_forgotten_set_is_called_non_member_more_often_than_held_out_images():
    assert svc_verdict(np.random.default_rng(0), retain=5.0, non_members=3.0, forget=-3.0).excess > 0.2


def test_a_perfectly_unlearned_set_is_treated_like_held_out_images_although_the_attack_works():
    found = [svc_verdict(np.random.default_rng(seed), retain=6.0, draws=2) for seed in range(20)]
    assert min(one.training_balanced_accuracy for one in found) > 0.8
    assert np.mean([one.excess for one in found]) == pytest.approx(0, abs=0.03)


def test_classes_in_other_proportions_are_not_mistaken_for_membership():
    """Class 0 is hard and frequent among the retained images; within each class nothing tells members apart."""
    generator = np.random.default_rng(0)
    labels = {"retain": np.repeat([0, 1], [900, 300]), "test": np.repeat([0, 1], [60, 240])}
    values = {name: expit(generator.normal(4.0 * k - 2, 1.0)) for name, k in labels.items()}
    guarded = mia_svc(values["retain"], labels["retain"], values["test"], labels["test"], values["test"], seed=0)
    unguarded = mia_svc(
        values["retain"], np.zeros(1200, int), values["test"], np.zeros(300, int), values["test"], seed=0
    )
    assert unguarded.training_balanced_accuracy > 0.7
    assert guarded.training_balanced_accuracy == pytest.approx(0.5, abs=0.06)


def test_ten_times_more_members_do_not_make_the_attack_answer_member_for_everything():
    generator = np.random.default_rng(0)
    labels = np.arange(4000) % 8
    found = mia_svc(
        *(confidences(generator, 4000), labels, confidences(generator, 200), labels[:200]),
        confidences(generator, 200),
        seed=0,
        draws=4,
    )
    assert 0.2 < found.forget_share < 0.8
    assert 0.2 < found.non_member_share < 0.8


def test_saturated_confidences_show_in_the_training_accuracy_instead_of_failing():
    ones, labels = np.ones(100), np.arange(100) % 4
    assert mia_svc(ones, labels, ones, labels, ones, seed=0, draws=1).training_balanced_accuracy == 0.5


def test_the_seed_decides_and_nothing_else():
    first, again, other = (svc_verdict(np.random.default_rng(0), seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_a_smaller_limit_gives_the_same_answer_up_to_noise():
    full = svc_verdict(np.random.default_rng(0), retain=5.0, forget=5.0, draws=6)
    small = svc_verdict(np.random.default_rng(0), retain=5.0, forget=5.0, draws=6, limit=64)
    assert small == pytest.approx(full, abs=0.1)


@pytest.mark.parametrize(
    ("non_members", "forget", "retain_class", "reason"),
    [(39, 10, 0, "39 non-members; 5 folds need 40"), (40, 0, 0, "forget set is empty"), (40, 10, 1, "no class")],
)
def test_the_attack_is_unresolved_where_it_has_too_little_to_go_by(non_members, forget, retain_class, reason):
    values = np.linspace(0, 1, 40)
    labels = np.zeros(non_members, int)
    with pytest.raises(Unresolved, match=reason):
        mia_svc(values, np.full(40, retain_class), values[:non_members], labels, values[:forget], seed=0)


def test_forty_non_members_and_one_forgotten_image_are_enough():
    values, labels = np.linspace(0, 1, 40), np.zeros(40, int)
    assert 0 <= mia_svc(values, labels, values, labels, values[:1], seed=0, draws=1).forget_share <= 1


# SalUn's form


@pytest.mark.parametrize("mean", [-1.0, 2.0, 6.0, 12.0])
@pytest.mark.parametrize("sizes", [(500, 200, 100), (150, 200, 100)], ids=["usual", "retain is the smaller"])
def test_the_original_form_agrees_with_a_literal_restatement(mean, sizes):
    generator = np.random.default_rng(1)
    retain, test, forget = (confidences(generator, n, mean + d) for n, d in zip(sizes, (1, 0, 0.5), strict=True))
    assert mia_svc_original(retain, test, forget) == literal_restatement(retain, test, forget)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("others", [0, 1, 7])
def test_the_original_form_agrees_with_it_even_where_nothing_can_be_told(level, others):
    values = np.concatenate([np.full(50, level), np.full(others, 0.5)])
    assert mia_svc_original(values, values, values) == literal_restatement(values, values, values)


def test_the_original_form_depends_on_the_stored_order_as_published():
    generator = np.random.default_rng(0)
    retain = np.sort(confidences(generator, 600))
    test, forget = confidences(generator, 200), confidences(generator, 200)
    assert mia_svc_original(retain, test, forget) != mia_svc_original(retain[::-1], test, forget)


def test_the_original_form_is_unresolved_without_images():
    with pytest.raises(Unresolved):
        mia_svc_original([], [0.5], [0.5])


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_what_is_no_probability_is_no_confidence(value):
    with pytest.raises(ValueError, match="probabilities"):
        mia_svc_original([value], [0.5], [0.5])


# the loss attack


@settings(max_examples=60, deadline=None)
@given(tied_scores, tied_scores)
def test_the_loss_auc_is_scikit_learns(forget, non_members):
    is_non_member = np.repeat([0, 1], [len(forget), len(non_members)])
    expected = roc_auc_score(is_non_member, np.concatenate([forget, non_members]))
    assert mia_loss_auc(forget, non_members) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(tied_scores, tied_scores)
def test_turning_losses_or_roles_round_turns_the_auc_round(forget, non_members):
    auc = mia_loss_auc(forget, non_members)
    assert 0 <= auc <= 1
    assert mia_loss_auc(-forget, -non_members) == pytest.approx(1 - auc, abs=1e-12)
    assert mia_loss_auc(non_members, forget) == pytest.approx(1 - auc, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(tied_scores, tied_scores, seeds)
def test_only_the_ranks_of_the_losses_count_and_not_their_order(forget, non_members, seed):
    auc = mia_loss_auc(forget, non_members)
    assert mia_loss_auc(np.exp(forget), np.exp(non_members)) == auc
    assert mia_loss_auc(np.random.default_rng(seed).permutation(forget), non_members) == auc


def test_the_auc_is_above_a_half_where_the_forget_set_still_looks_trained_on():
    low, high = np.linspace(0, 1, 20), np.linspace(2, 3, 20)
    assert mia_loss_auc(forget_losses=low, non_member_losses=high) == 1
    assert mia_loss_auc(forget_losses=high, non_member_losses=low) == 0
    assert mia_loss_auc(low, low) == 0.5


@pytest.mark.parametrize(("forget", "non_members"), [(0, 50), (50, 9)])
def test_the_auc_of_a_handful_of_images_is_unresolved(forget, non_members):
    with pytest.raises(Unresolved):
        mia_loss_auc(np.arange(forget), np.arange(non_members))


# true-positive rates


@settings(max_examples=100, deadline=None)
@given(tied_scores, tied_scores, st.sampled_from([0.25, 0.29, 0.5, 0.9, 1.0]))
def test_no_threshold_within_the_false_positive_rate_finds_more_members(members, non_members, fpr):
    is_member = np.repeat([1, 0], [len(members), len(non_members)])
    rates, found, _ = roc_curve(is_member, np.concatenate([members, non_members]), drop_intermediate=False)
    assert tpr_at_fpr(members, non_members, fpr) == found[rates <= fpr + 1e-12].max()


def test_the_rate_of_two_normal_distributions_is_the_closed_form():
    generator = np.random.default_rng(0)
    members, non_members = generator.normal(1, 1, 200_000), generator.normal(0, 1, 200_000)
    for fpr in (0.1, 0.01, 0.001):
        expected = stats.norm.sf(stats.norm.isf(fpr) - 1)
        assert tpr_at_fpr(members, non_members, fpr) == pytest.approx(expected, abs=0.01)


def test_ties_count_against_the_attack():
    assert tpr_at_fpr(np.zeros(5), np.zeros(100), 0.1) == 0


def test_a_rate_that_a_float_cannot_hold_still_allows_all_its_false_positives():
    assert 0.29 * 100 < 29
    assert tpr_at_fpr([71.5], np.arange(1, 101), 0.29) == 1  # 29 non-members score above 71.5
    assert tpr_at_fpr([70.5], np.arange(1, 101), 0.29) == 0  # 30 do


@pytest.mark.parametrize(("fpr", "enough"), [(0.1, 100), (0.01, 1000), (0.001, 10_000), (0.3, 34)])
def test_no_rate_is_printed_below_what_the_non_members_resolve(fpr, enough):
    assert 0 <= tpr_at_fpr(np.arange(20), np.arange(enough), fpr) <= 1
    with pytest.raises(Unresolved, match=f"needs 1 and {enough}$"):
        tpr_at_fpr(np.arange(20), np.arange(enough - 1), fpr)


def test_no_member_gives_no_rate():
    with pytest.raises(Unresolved):
        tpr_at_fpr([], np.arange(100), 0.1)


@pytest.mark.parametrize("fpr", [0, -0.1, 1.1, 10])
def test_a_false_positive_rate_is_a_positive_fraction(fpr):
    with pytest.raises(ValueError, match="fpr"):
        tpr_at_fpr(np.arange(20), np.arange(100), fpr)


def test_each_tail_of_the_loss_is_seen_by_its_own_rate():
    generator = np.random.default_rng(0)
    usual, unusual = generator.normal(0, 1, 1000), generator.normal(0, 1, 1000)
    unusual[:200] -= 10  # a fifth is still remembered
    unusual[200:500] += 10  # and three tenths are over-forgotten
    assert mia_loss_tpr(unusual, usual, 0.01) == pytest.approx(0.2, abs=0.02)
    assert mia_loss_tpr_over(unusual, usual, 0.01) == pytest.approx(0.3, abs=0.02)
    assert mia_loss_tpr(-unusual, -usual, 0.01) == mia_loss_tpr_over(unusual, usual, 0.01)
