"""The baselines: one optimiser step of each against its objective written out, and what each may touch."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from methods.unlearning.finetune import FineTune
from methods.unlearning.gradient_ascent import GradientAscent
from methods.unlearning.l1_sparse import L1Sparse
from methods.unlearning.neggrad_plus import NegGradPlus
from methods.unlearning.original import Original
from methods.unlearning.random_label import RandomLabel
from methods.unlearning.retrain import Retrain
from methods.unlearning.salun import SalUn
from tests.helpers import same_bits

ALL = (Original, Retrain, FineTune, RandomLabel, GradientAscent, NegGradPlus, L1Sparse, SalUn)
LR = 0.03


def step(model, objective):
    """theta - lr * gradient of the objective."""
    gradients = torch.autograd.grad(objective, list(model.parameters()))
    return [p.detach() - LR * g for p, g in zip(model.parameters(), gradients, strict=True)]


def assert_one_step(method, objective, trained, task):
    """The method's single step equals a plain gradient step on the objective."""
    after = method.unlearn(trained(), task())
    model = trained().train()
    for expected, found in zip(step(model, objective(model, task())), after.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def loss(model, split):
    images, labels = next(split.batches(len(split), epochs=1))
    return cross_entropy(model(images), labels)


def test_finetune_descends_on_the_retain_loss(trained, task):
    method = FineTune(epochs=1, lr=LR, weight_decay=0, batch_size=152)
    assert_one_step(method, lambda model, t: loss(model, t.retain), trained, task)


def test_gradient_ascent_climbs_the_forget_loss(trained, task):
    method = GradientAscent(epochs=1, lr=LR, weight_decay=0, batch_size=48)
    assert_one_step(method, lambda model, t: -loss(model, t.forget), trained, task)


@pytest.mark.parametrize("alpha", [0.5, 0.95, 1.0])
def test_neggrad_plus_weighs_the_two_losses(trained, task, alpha):
    method = NegGradPlus(alpha=alpha, epochs=1, lr=LR, weight_decay=0, batch_size=152)
    assert_one_step(method, lambda m, t: alpha * loss(m, t.retain) - (1 - alpha) * loss(m, t.forget), trained, task)


def test_l1_sparse_starts_with_the_full_norm_of_every_parameter(trained, task):
    method = L1Sparse(gamma=0.01, epochs=1, lr=LR, weight_decay=0, batch_size=152)

    def objective(model, t):
        return loss(model, t.retain) + 0.01 * sum(p.abs().sum() for p in model.parameters())

    assert_one_step(method, objective, trained, task)


def test_l1_sparse_lets_the_penalty_fade_linearly(trained, task):
    method = L1Sparse(gamma=0.02, epochs=2, lr=LR, momentum=0, weight_decay=0, batch_size=152)
    after, model, shared = method.unlearn(trained(), task()), trained().train(), task()
    for gamma in (0.02, 0.01):
        objective = loss(model, shared.retain) + gamma * sum(p.abs().sum() for p in model.parameters())
        for parameter, value in zip(model.parameters(), step(model, objective), strict=True):
            parameter.data.copy_(value)
    for expected, found in zip(model.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_neggrad_plus_keeps_batch_norm_statistics_only_if_asked_to(trained, task):
    before = dict(trained().named_buffers())
    assert same_bits(
        before, dict(NegGradPlus(epochs=1, freeze_statistics=True).unlearn(trained(), task()).named_buffers())
    )
    assert not same_bits(before, dict(NegGradPlus(epochs=1).unlearn(trained(), task()).named_buffers()))


def test_neggrad_plus_refuses_a_weight_outside_0_1():
    with pytest.raises(ValueError, match="alpha must lie in"):
        NegGradPlus(alpha=-0.1)


def test_the_original_row_changes_nothing(trained, task):
    assert same_bits(Original().unlearn(trained(), task()).state_dict(), trained().state_dict())


def test_retrain_starts_from_a_fresh_model_and_sees_the_retain_set_alone(trained, task):
    shared = task()
    expected = shared.fit(shared.fresh_model(), shared.retain)
    assert same_bits(Retrain().unlearn(trained(), task()).state_dict(), expected.state_dict())


@pytest.mark.parametrize("method", [FineTune, L1Sparse, Retrain])
def test_methods_of_the_retain_set_never_look_at_the_forget_set(method, trained, task):
    shared, other = task(), task()
    object.__setattr__(other, "forget", other.forget.with_labels((other.forget.labels + 1) % 8))
    assert same_bits(method().unlearn(trained(), shared).state_dict(), method().unlearn(trained(), other).state_dict())


@pytest.mark.parametrize("method", ALL)
def test_the_same_seed_gives_the_same_bits_and_the_tasks_data_stay_as_they_are(method, trained, task):
    first, second = task(), task()
    copies = [split.images.clone() for split in (first.forget, first.retain, first.validation)]
    labels = [split.labels.clone() for split in (first.forget, first.retain, first.validation)]
    one, two = method().unlearn(trained(), first), method().unlearn(trained(), second)
    assert same_bits(one.state_dict(), two.state_dict())
    for split, images, truth in zip((first.forget, first.retain, first.validation), copies, labels, strict=True):
        assert torch.equal(split.images, images)
        assert torch.equal(split.labels, truth)


@pytest.mark.parametrize("method", [m for m in ALL if m is not Original])
def test_another_seed_gives_another_model(method, trained, task):
    one, two = (
        method(batch_size=16) if method is not Retrain else method(),
        method(batch_size=16) if method is not Retrain else method(),
    )
    assert not same_bits(one.unlearn(trained(), task(0)).state_dict(), two.unlearn(trained(), task(50)).state_dict())
