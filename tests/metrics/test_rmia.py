import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit
from torch import nn

from benchmark.data.datasets import load_dataset
from metrics.declaration import Unresolved
from metrics.intervals import t_interval
from metrics.membership import attack_auc, log_odds, mia_loss_auc, tpr_at_fpr
from metrics.rmia import SLOPES, Population, rmia_offline, rmia_online, tuned_slope

seeds = st.integers(0, 2**32 - 1)
gammas = st.sampled_from([0.5, 1.0, 1.7])
PARTNER = {0: 1, 1: 0, 2: 3, 3: 2}


def pairs(generator: np.random.Generator, images: int, models: int) -> np.ndarray:
    """Which model was trained on which image: each pair of models shares the images out between its two."""
    first = generator.random((images, models // 2)) < 0.5
    return np.stack([first, ~first], axis=2).reshape(images, models)


def pool(generator, images, models, gain):
    """Log-odds of images and members under all models; then of a third as many images that no model was trained on."""
    members = pairs(generator, images, models)
    hardness = generator.normal(1, 1.5, (images + images // 3, 1))
    log_odds = hardness + generator.normal(size=(len(hardness), models))
    log_odds[:images] += gain * members
    return log_odds[:images], members, log_odds[images:]


def literal_rmia(observed, references, members, population, gamma, slope=None):
    """The formulas of the docstring on probabilities, pair by pair; online where there is no slope."""

    def usual(p, inside):
        out = np.mean([value for value, member in zip(p, inside, strict=True) if not member])
        if slope is not None:
            return ((1 + slope) * out + 1 - slope) / 2
        trained = [value for value, member in zip(p, inside, strict=True) if member]
        return (np.mean(trained) + out) / 2 if trained else out

    never = np.zeros(references.shape[1], dtype=bool)
    gains = [p / usual(ps, inside) for p, ps, inside in zip(expit(observed), expit(references), members, strict=True)]
    others = [p / usual(ps, never) for p, ps in zip(*map(expit, population), strict=True)]
    return np.array([np.mean([gain / other > gamma for other in others]) for gain in gains])


# the formulas


@settings(max_examples=25, deadline=None)
@given(seeds, gammas, st.sampled_from([2, 4, 8]))
def test_the_online_score_is_the_formula_written_out_pair_by_pair(seed, gamma, models):
    log_odds, members, others = pool(np.random.default_rng(seed), 30, models + 2, gain=1.0)
    given_all = (log_odds[:, 0], log_odds[:, 2:], members[:, 2:], Population(others[:, 0], others[:, 2:]))
    assert rmia_online(*given_all, gamma=gamma) == pytest.approx(literal_rmia(*given_all, gamma))


@settings(max_examples=25, deadline=None)
@given(seeds, gammas, st.sampled_from([2, 4, 8]), st.sampled_from(SLOPES))
def test_the_offline_score_is_the_formula_written_out_pair_by_pair(seed, gamma, models, slope):
    log_odds, members, others = pool(np.random.default_rng(seed), 30, models + 2, gain=1.0)
    given_all = (log_odds[:, 0], log_odds[:, 2:], members[:, 2:], Population(others[:, 0], others[:, 2:]))
    expected = literal_rmia(*given_all, gamma, slope)
    assert rmia_offline(*given_all, slope=slope, gamma=gamma) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_an_image_that_must_gain_more_dominates_fewer_and_the_order_of_the_population_does_not_count(seed):
    generator = np.random.default_rng(seed)
    log_odds, members, others = pool(generator, 30, 6, gain=1.0)
    judged = (log_odds[:, 0], log_odds[:, 2:], members[:, 2:])
    order = generator.permutation(len(others))
    lenient = rmia_online(*judged, Population(others[:, 0], others[:, 2:]))
    strict = rmia_online(*judged, Population(others[order, 0], others[order, 2:]), gamma=1.2)
    assert (strict <= lenient).all()
    assert rmia_online(*judged, Population(others[order, 0], others[order, 2:])).tolist() == lenient.tolist()


def test_in_and_out_references_count_half_each_however_many_there_are():
    members = np.array([[True, False, False, False]])
    references = logit(np.array([[0.9, 0.2, 0.3, 0.4]]))  # pbar = (0.9 + 0.3) / 2
    population = Population(logit(np.array([0.59, 0.61])), np.zeros((2, 4)))  # pbar = 0.5: gains of 1.18 and 1.22
    assert rmia_online(logit(np.array([0.72])), references, members, population) == [0.5]


def test_offline_what_a_reference_says_of_its_own_training_images_is_not_read():
    log_odds, members, others = pool(np.random.default_rng(0), 30, 6, gain=1.0)
    observed, references, inside = log_odds[:, 0], log_odds[:, 2:], members[:, 2:]
    population = Population(others[:, 0], others[:, 2:])
    scores = rmia_offline(observed, references, inside, population, slope=0.3)
    unread = np.where(inside, -50, references)
    assert rmia_offline(observed, unread, inside, population, slope=0.3).tolist() == scores.tolist()


def test_probabilities_that_round_to_one_or_to_zero_stay_apart():
    members = np.array([[False], [False]])
    for near, far in ((40.0, 41.0), (-900.0, -899.0)):
        population = Population([(near + far) / 2], [[near]])
        scores = rmia_offline([near, far], [[near], [near]], members, population, slope=1.0)
        assert scores.tolist() == [0, 1]


# closed form, null


@pytest.mark.parametrize("gain", [0.5, 1.5])
def test_two_gaussians_give_the_known_auc_and_rates(gain):
    """Where all images are equally hard, the order is that of the log-odds: AUC = Phi(gain / sqrt 2)."""
    generator = np.random.default_rng(0)
    members = np.arange(40_000) < 20_000
    observed = generator.normal(size=40_000) + gain * members
    references, never = np.zeros((40_000, 1)), np.zeros((40_000, 1), dtype=bool)
    population = Population(generator.normal(size=10_000), np.zeros((10_000, 1)))
    scores = rmia_offline(observed, references, never, population, slope=0.5)
    found = scores[members], scores[~members]
    assert attack_auc(*found) == pytest.approx(stats.norm.cdf(gain / np.sqrt(2)), abs=0.01)
    for fpr in (0.1, 0.01):
        assert tpr_at_fpr(*found, fpr) == pytest.approx(stats.norm.sf(stats.norm.isf(fpr) - gain), abs=0.02)
    assert np.quantile(scores[~members], [0.25, 0.5, 0.75]) == pytest.approx([0.25, 0.5, 0.75], abs=0.02)


@pytest.mark.parametrize("references", [2, 4, 8])
def test_on_exchangeable_data_the_auc_is_a_half_within_its_interval(references):
    aucs = {"online": [], "offline": []}
    for seed in range(12):
        log_odds, members, others = pool(np.random.default_rng(seed), 1500, references + 2, gain=0.0)
        inside = members[:, 0]
        judged = log_odds[:, 0], log_odds[:, 2:], members[:, 2:], Population(others[:, 0], others[:, 2:])
        for name, scores in (("online", rmia_online(*judged)), ("offline", rmia_offline(*judged, slope=0.4))):
            aucs[name].append(attack_auc(scores[inside], scores[~inside]))
    for values in aucs.values():
        low, high = t_interval(values, 0.99)
        assert low <= 0.5 <= high
        assert high - low < 0.045


# the slope


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_the_tuned_slope_is_the_one_that_finds_most_members_of_the_stand_in(gain):
    log_odds, members, others = pool(np.random.default_rng(0), 2000, 4, gain)
    inside = members[:, 1]
    judged = log_odds[:, 1], log_odds[:, 2:], members[:, 2:], Population(others[:, 1], others[:, 2:])
    found = {}
    for slope in SLOPES:
        scores = rmia_offline(*judged, slope=slope)
        found[slope] = attack_auc(scores[inside], scores[~inside])
    best = tuned_slope(judged[0], inside, *judged[1:])
    assert found[best] == max(found.values()) > min(found.values())
    assert tuned_slope(judged[0], inside, *judged[1:], slopes=[0.7]) == 0.7


def test_of_equally_good_slopes_the_first_is_taken():
    members = np.arange(40)[:, None] < 20
    population = Population([0.0], [[0.0]])
    never = np.zeros((40, 1), dtype=bool)
    slope = tuned_slope(np.where(members[:, 0], 5.0, -5.0), members[:, 0], np.zeros((40, 1)), never, population)
    assert slope == 0


# real models


@pytest.fixture(scope="module")
def overfitted():
    """Log-odds of 800 blood cells and of 400 others under four small networks, in two pairs, each trained on a half."""
    dataset = load_dataset("bloodmini")
    images = nn.functional.avg_pool2d(dataset.images.float() / 255, 2).flatten(1)
    images = (images - images[dataset.train].mean(0)) / images[dataset.train].std(0)
    train, others = dataset.train[:800], dataset.validation
    members = pairs(np.random.default_rng(0), 800, 4)
    networks = [_trained(images[train[rows]], dataset.labels[train[rows]], seed) for seed, rows in enumerate(members.T)]
    logits = [network(images).detach().numpy() for network in networks]
    columns = np.stack([log_odds(each, dataset.labels.numpy()) for each in logits], axis=1)
    return columns[train], members, columns[others]


def _trained(images, labels, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(images.shape[1], 64), nn.ReLU(), nn.Linear(64, 8))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model


def test_with_one_reference_for_each_image_it_beats_the_loss_attack_on_overfitted_models(overfitted):
    """The references are one pair: of every image, one of the two was not trained on it. The slope comes from the
    audited model's partner."""
    log_odds, members, others = overfitted
    better = []
    for target, partner in PARTNER.items():
        references = [model for model in PARTNER if model not in (target, partner)]
        known, inside = (log_odds[:, references], members[:, references]), members[:, target]
        populations = {model: Population(others[:, model], others[:, references]) for model in (target, partner)}
        slope = tuned_slope(log_odds[:, partner], members[:, partner], *known, populations[partner])
        scores = rmia_offline(log_odds[:, target], *known, populations[target], slope=slope)
        losses = np.logaddexp(0, -log_odds[:, target])
        by_loss = mia_loss_auc(losses[inside], losses[~inside])
        assert by_loss > 0.6  # the models are overfitted
        better.append(attack_auc(scores[inside], scores[~inside]) - by_loss)
    low, _ = t_interval(better)
    assert low > 0


# what it refuses


def test_without_a_reference_of_the_needed_kind_or_without_a_population_there_is_no_score():
    members, population = np.array([[True, True], [True, False]]), Population([0.0], [[0.0, 0.0]])
    judged = np.zeros(2), np.zeros((2, 2))
    for attack, options in ((rmia_online, {}), (rmia_offline, {"slope": 0.5})):
        with pytest.raises(Unresolved, match="1 of 2 images have no OUT reference"):
            attack(*judged, members, population, **options)
        with pytest.raises(Unresolved, match="population is empty"):
            attack(*judged, np.eye(2, dtype=bool), Population([], np.empty((0, 2))), **options)
    with pytest.raises(Unresolved, match="1 of 2 images have no IN reference"):
        rmia_online(*judged, ~members, population)


def test_what_does_not_fit_together_is_refused():
    members, population = np.array([[True, False]]), Population([0.0], [[0.0, 0.0]])
    judged = [0.0], [[0.0, 0.0]]
    with pytest.raises(ValueError, match="2 images under the audited model, but 1"):
        rmia_online([0.0, 0.0], judged[1], members, population)
    with pytest.raises(ValueError, match="2 references on the images, but 1 on the population"):
        rmia_online(*judged, members, Population([0.0], [[0.0]]))
    with pytest.raises(ValueError, match="members: expected bool"):
        rmia_online(*judged, [[1, 0]], population)
    with pytest.raises(ValueError, match="NaN or infinite"):
        rmia_online([np.nan], judged[1], members, population)
    with pytest.raises(ValueError, match="gamma must be above 0"):
        rmia_online(*judged, members, population, gamma=0)
    with pytest.raises(ValueError, match="slope must be in"):
        rmia_offline(*judged, members, population, slope=1.1)
    with pytest.raises(ValueError, match="no slope to try"):
        tuned_slope(judged[0], [True], judged[1], members, population, slopes=[])
