import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.special import softmax

from metrics import accuracy, membership
from metrics.unlearning import METRICS, ScoredSplits, score_unlearning

CLASSES = 4
NAMES = [
    *("ua", "ra", "ta", "ta_deduplicated", "ta_forgotten_class", "macro_auc", "balanced_accuracy", "sensitivity"),
    *("mia_svc", "mia_svc_non_members", "mia_svc_excess", "mia_svc_training_accuracy", "mia_svc_original"),
    *("mia_loss_auc", "mia_loss_tpr_10", "mia_loss_tpr_1", "mia_loss_tpr_over_10", "mia_loss_tpr_over_1"),
]


def random_scenario() -> tuple[np.ndarray, np.ndarray, ScoredSplits]:
    """A model that is surer of what it was trained on; 500 retained, 100 forgotten, 120 held out, 200 to test."""
    generator = np.random.default_rng(0)
    labels = np.arange(920) % CLASSES
    forget, retain, non_members, test = np.split(generator.permutation(920), [100, 600, 720])
    certainty = np.full(920, 1.5)
    certainty[retain] = 4.0
    logits = generator.normal(size=(920, CLASSES)) + certainty[:, None] * np.eye(CLASSES)[labels]
    return logits, labels, ScoredSplits(forget, retain, non_members, test, test_deduplicated=test[:150])


def class_scenario() -> tuple[np.ndarray, np.ndarray, ScoredSplits]:
    """The same with class 2 forgotten: held-out images of class 2 only, and a test set without it."""
    logits, labels, splits = random_scenario()
    trained = np.concatenate([splits.forget, splits.retain])
    kept = splits.test[labels[splits.test] != 2]
    return (
        logits,
        labels,
        ScoredSplits(
            forget=trained[labels[trained] == 2],
            retain=trained[labels[trained] != 2],
            non_members=splits.non_members[labels[splits.non_members] == 2],
            test=kept,
            test_deduplicated=kept,
            forgotten_class=2,
            test_forgotten_class=splits.test[labels[splits.test] == 2],
        ),
    )


def test_the_declarations_name_every_score_in_display_order():
    assert list(METRICS) == NAMES
    assert [info.name for info in METRICS.values()] == NAMES
    json.dumps([asdict(info) for info in METRICS.values()], allow_nan=False)


def test_the_ideal_without_any_retrain_is_declared_where_there_is_one():
    assert {name: info.target for name, info in METRICS.items() if info.target is not None} == {
        "mia_svc_excess": 0.0,
        "mia_loss_auc": 0.5,
        "mia_loss_tpr_10": 0.1,
        "mia_loss_tpr_1": 0.01,
        "mia_loss_tpr_over_10": 0.1,
        "mia_loss_tpr_over_1": 0.01,
    }
    assert {info.direction for info in METRICS.values()} == {"retrain"}


def test_every_score_is_its_metric_on_its_split():
    logits, labels, splits = random_scenario()
    scores = score_unlearning(logits, labels, splits, seed=3).values
    confidence = softmax(logits, axis=1)[np.arange(920), labels]
    losses = membership.cross_entropy(logits, labels)
    forget, retain, held_out, test = splits.forget, splits.retain, splits.non_members, splits.test
    svc = membership.mia_svc(
        confidence[retain], labels[retain], confidence[held_out], labels[held_out], confidence[forget], seed=3
    )
    right = logits.argmax(axis=1) == labels
    assert scores.pop("sensitivity") == accuracy.per_class_sensitivity(logits[test], labels[test])
    assert scores == pytest.approx(
        {
            "ua": 1 - right[forget].mean(),
            "ra": right[retain].mean(),
            "ta": right[test].mean(),
            "ta_deduplicated": right[test[:150]].mean(),
            "ta_forgotten_class": None,
            "macro_auc": accuracy.macro_auc(logits[test], labels[test]),
            "balanced_accuracy": accuracy.balanced_accuracy(logits[test], labels[test]),
            "mia_svc": svc.forget_share,
            "mia_svc_non_members": svc.non_member_share,
            "mia_svc_excess": svc.forget_share - svc.non_member_share,
            "mia_svc_training_accuracy": svc.training_balanced_accuracy,
            "mia_svc_original": membership.mia_svc_original(confidence[retain], confidence[test], confidence[forget]),
            "mia_loss_auc": membership.mia_loss_auc(losses[forget], losses[held_out]),
            "mia_loss_tpr_10": membership.tpr_at_fpr(-losses[forget], -losses[held_out], 0.1),
            "mia_loss_tpr_1": None,
            "mia_loss_tpr_over_10": membership.tpr_at_fpr(losses[forget], losses[held_out], 0.1),
            "mia_loss_tpr_over_1": None,
        }
    )


def test_what_has_no_value_has_a_reason_and_what_has_a_value_lies_in_its_range():
    for scenario in (random_scenario, class_scenario):
        scores = score_unlearning(*scenario(), seed=0)
        assert list(scores.values) == NAMES
        assert {name for name, value in scores.values.items() if value is None} == set(scores.unresolved)
        assert all(scores.unresolved.values())
        json.dumps(asdict(scores), allow_nan=False)
        for name, value in scores.values.items():
            low, high = METRICS[name].range
            for number in value if isinstance(value, list) else [value]:
                assert number is None or low <= number <= high, name


def test_one_percent_of_120_held_out_images_is_not_printed():
    reasons = score_unlearning(*random_scenario(), seed=0).unresolved
    assert reasons["mia_loss_tpr_1"].endswith("needs 1 and 1000")
    assert reasons["ta_forgotten_class"] == "no class is forgotten in this scenario"


def test_a_forgotten_class_is_left_out_of_the_test_scores_and_shown_beside_them():
    logits, labels, splits = class_scenario()
    scores = score_unlearning(logits, labels, splits, seed=0)
    sensitivity = scores.values["sensitivity"]
    assert isinstance(sensitivity, list)
    assert sensitivity[2] is None
    assert scores.values["balanced_accuracy"] == pytest.approx(np.mean([sensitivity[k] for k in (0, 1, 3)]))
    assert scores.values["ta_forgotten_class"] == accuracy.accuracy(
        logits[splits.test_forgotten_class], labels[splits.test_forgotten_class]
    )
    assert scores.values["macro_auc"] == accuracy.macro_auc(logits[splits.test], labels[splits.test], [0, 1, 3])
    assert scores.values["mia_loss_auc"] is not None


def test_no_retained_image_has_the_forgotten_class_so_the_matched_attack_has_nothing_to_compare():
    logits, labels, splits = class_scenario()
    held_out = np.concatenate([splits.non_members, splits.forget[:20]])
    with_enough = replace(splits, forget=splits.forget[20:], non_members=held_out)
    assert "no class" in score_unlearning(logits, labels, with_enough, seed=0).unresolved["mia_svc"]


def test_without_held_out_images_only_the_membership_scores_are_missing():
    logits, labels, splits = random_scenario()
    scores = score_unlearning(logits, labels, replace(splits, non_members=np.array([], dtype=int)), seed=0)
    missing = {name for name in NAMES if name.startswith("mia_") and name != "mia_svc_original"}
    assert set(scores.unresolved) == missing | {"ta_forgotten_class"}


def test_a_model_that_remembers_its_forget_set_gives_itself_away():
    logits, labels, splits = random_scenario()
    remembering = logits.copy()
    remembering[splits.forget] += 4.0 * np.eye(CLASSES)[labels[splits.forget]]
    before, after = (score_unlearning(z, labels, splits, seed=0).values for z in (remembering, logits))
    assert before["mia_svc_excess"] < -0.2
    assert before["mia_loss_auc"] > 0.9
    assert after["mia_svc_excess"] == pytest.approx(0, abs=0.1)
    assert after["mia_loss_auc"] == pytest.approx(0.5, abs=0.1)


def test_the_same_seed_gives_the_same_scores():
    assert score_unlearning(*random_scenario(), seed=1) == score_unlearning(*random_scenario(), seed=1)


def test_splits_that_share_an_image_are_refused():
    splits = random_scenario()[2]
    with pytest.raises(ValueError, match="forget and non_members share images"):
        replace(splits, non_members=splits.forget[:5])


def test_rows_that_do_not_exist_and_logits_that_are_no_numbers_are_refused():
    logits, labels, splits = random_scenario()
    with pytest.raises(ValueError, match="split"):
        score_unlearning(logits[:500], labels[:500], splits, seed=0)
    logits[5, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        score_unlearning(logits, labels, splits, seed=0)


def test_a_forgotten_class_is_judged_by_an_attack_on_the_other_classes_against_held_out_images_of_its_own():
    """Held-out and forgotten images of the class look alike here, so the attack must call equally many non-members."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 300)
    logits = generator.normal(size=(1200, 4))
    rows = generator.permutation(1200)
    of_class = rows[labels[rows] == 2]
    others = rows[labels[rows] != 2]
    logits[others[:600], labels[others[:600]]] += 6  # the retained images are memorised
    splits = ScoredSplits(
        forget=of_class[:150],
        retain=others[:600],
        non_members=np.concatenate([others[600:750], of_class[150:250]]),
        test=others[750:],
        test_deduplicated=others[750:],
        forgotten_class=2,
        test_forgotten_class=of_class[250:],
    )
    scores = score_unlearning(logits, labels, splits, seed=0)
    assert scores.values["mia_svc_training_accuracy"] > 0.9
    assert scores.values["mia_svc"] > 0.8
    assert abs(scores.values["mia_svc_excess"]) < 0.1
    assert abs(scores.values["mia_loss_auc"] - 0.5) < 0.1

    too_few = replace(splits, non_members=np.concatenate([others[600:750], of_class[150:189]]))
    assert "39 non-members" in score_unlearning(logits, labels, too_few, seed=0).unresolved["mia_svc"]
