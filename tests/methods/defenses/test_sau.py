"""SAU against a plainly written version that caches nothing, and facts about its parts."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import Split
from benchmark.cost import CostCounter
from methods.defenses.sau import SAU, clamped_risk, exact_risk, jensen_shannon
from tests.helpers import same_bits


def straightforward(method, model, task):
    """SAU step by step as the authors' code goes about it: 48 forward passes a sample and round."""
    reference = copy.deepcopy(model)
    model.eval(), reference.eval()
    optimizer = torch.optim.Adam(model.parameters(), method.lr, amsgrad=True)
    for images, labels in task.clean.batches(method.batch_size, epochs=method.rounds, augment=False):
        delta = torch.full_like(images, method.epsilon)
        for _ in range(method.steps):
            delta.requires_grad_(True)
            f, g = model(images + delta), reference(images + delta)
            fooled_f = f.argmax(1) != model(images).argmax(1)
            fooled_g = g.argmax(1) != reference(images).argmax(1)
            shared = fooled_f & fooled_g & (f.argmax(1) == g.argmax(1))
            if shared.all():
                break
            p, q = f.softmax(1).clamp(1e-8), g.softmax(1).clamp(1e-8)
            m = (p + q) / 2
            divergence = ((p * (p.log() - m.log())).sum(1) + (q * (q.log() - m.log())).sum(1)) / 2
            attack = (~fooled_f * cross_entropy(f, labels, reduction="none")).sum()
            attack = attack + (~fooled_g * cross_entropy(g, labels, reduction="none")).sum()
            loss = -method.adversarial_weight * attack / (2 * len(labels))
            loss = loss + method.share_weight * (~shared * divergence).sum() / len(labels)
            loss.backward()  # weight gradients and all
            delta = (delta.detach() - method.step_size * delta.grad.sign()).clamp(-method.epsilon, method.epsilon)
        perturbed = images + delta.detach()
        attacked, own = reference(perturbed).argmax(1), reference(images).argmax(1)
        f_clean, f_perturbed = model(torch.cat([images, perturbed])).chunk(2)
        p = f_perturbed.softmax(1)
        total = torch.zeros(())
        for i in range(len(labels)):
            if attacked[i] != labels[i] and attacked[i] != own[i]:
                r = p[i, attacked[i]]
                q = p[i][torch.arange(8) != attacked[i]].sum()
                total = total - (torch.log(1e-6 + q.clamp(max=0.999)) + torch.log(1 + 1e-6 - r.clamp(min=0.001))) / 2
        optimizer.zero_grad()
        (method.clean_weight * cross_entropy(f_clean, labels) + total / len(labels)).backward()
        optimizer.step()
    return model


@pytest.fixture
def batch(backdoored, defense_task):
    """A model, a reference that differs from it, one batch, and what both predict on it."""
    model, reference = backdoored().eval(), backdoored().eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.3 * noise * parameter.abs().mean())
        images, labels = next(defense_task().clean.in_order())
        return model, reference, images, labels, (model(images).argmax(1), reference(images).argmax(1))


def test_caching_predictions_changes_no_result(backdoored, defense_task, dataset):
    method = SAU(rounds=2, lr=1e-3, batch_size=32)
    labels = dataset.labels[240:304].clone()
    labels[::4] = 0  # so that a perturbation may lead from a wrong class to the label, and to the attack's target
    clean = Split(dataset.images[240:304], labels, 0)
    ours = method.defend(backdoored(), defense_task(clean=clean.fork("same")))
    plain = straightforward(method, backdoored(), defense_task(clean=clean.fork("same")))
    assert not same_bits(ours.state_dict(), backdoored().state_dict())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=0, atol=1e-4)


def test_a_sample_costs_at_most_30_forward_passes_a_round_where_the_plain_version_spends_48(backdoored, defense_task):
    # An inner loop that never ends early: no model is fooled, since its predictions on the images are what they are on
    # the perturbed ones, epsilon being next to nothing.
    method, task = SAU(rounds=1, epsilon=1e-7, step_size=1e-7), defense_task()
    with CostCounter(torch.device("cpu")) as forward, torch.no_grad():
        backdoored()(next(task.clean.in_order())[0])
    with CostCounter(torch.device("cpu")) as ours:
        method.defend(backdoored(), defense_task())
    with CostCounter(torch.device("cpu")) as plain:
        straightforward(method, backdoored(), defense_task())
    assert 46 < plain.flops / forward.flops <= 48
    assert 27 < ours.flops / forward.flops <= 30


def test_every_pixel_of_the_perturbation_is_at_the_bound_or_at_zero(batch):
    delta = SAU().perturbation(*batch)
    bound = torch.tensor(0.2)
    assert torch.equal(delta.unique(), torch.stack([-bound, bound * 0, bound]))


def test_images_are_clipped_only_on_demand(batch):
    images = batch[2]
    assert (images + SAU().perturbation(*batch)).max() > 1
    clipped = images + SAU(clip=True).perturbation(*batch)
    assert clipped.min() >= 0
    assert clipped.max() <= 1 + 1e-6
    assert (clipped - images).abs().max() <= 0.2 + 1e-6


def test_the_search_ends_once_every_sample_is_shared(batch):
    model, _, images, labels, _ = batch
    perturbed = model(images + 0.2).argmax(1)
    never = (perturbed + 1) % 8  # clean predictions under which the first perturbation fools both models alike
    with CostCounter(torch.device("cpu")) as forward:
        model(images)
    with CostCounter(torch.device("cpu")) as search:
        delta = SAU().perturbation(model, model, images, labels, (never, never))
    assert torch.equal(delta, torch.full_like(images, 0.2))
    assert search.flops == 2 * forward.flops  # one look at each model


@pytest.mark.parametrize("clean_first, clean_second", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_the_inner_loss_counts_each_model_until_it_is_fooled_and_the_divergence_until_both_agree(
    clean_first, clean_second
):
    # Both models take the sample for class 1; the true class is 2.
    first, second = torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([[0.5, 2.0, 0.0]])
    clean = torch.tensor([clean_first]), torch.tensor([clean_second])
    loss, shared = SAU().inner_loss((first, second), torch.tensor([2]), clean)
    p, q = first.softmax(1), second.softmax(1)
    expected = 0.0
    if clean_first == 1:  # not fooled
        expected -= 0.01 * -p[0, 2].log() / 2
    if clean_second == 1:
        expected -= 0.01 * -q[0, 2].log() / 2
    if clean_first == 1 or clean_second == 1:
        m = (p + q) / 2
        expected += ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2
    assert float(loss) == pytest.approx(float(expected), abs=1e-6)
    assert bool(shared) == (clean_first == 0 and clean_second == 0)


def test_two_fooled_models_that_disagree_share_nothing():
    logits = torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([[0.0, 1.0, 3.0]])
    zero = torch.tensor([0])
    assert not SAU().inner_loss(logits, zero, (zero, zero))[1]


def test_jensen_shannon_lies_between_zero_and_log_2():
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(500, 8, generator=generator) * 20 for _ in range(2))
    divergence = jensen_shannon(first, second)
    assert divergence.min() >= -1e-6
    assert divergence.max() <= math.log(2) + 1e-6
    assert jensen_shannon(first, first).abs().max() < 1e-6
    opposite = jensen_shannon(100 * torch.eye(8), 100 * torch.eye(8).roll(1, 0))
    torch.testing.assert_close(opposite, torch.full((8,), math.log(2)), atol=1e-5, rtol=0)


def of_probabilities(*values):
    """Logits under which class 0 of three has these probabilities."""
    risks = torch.tensor(values)
    return torch.stack([risks, (1 - risks) / 2, (1 - risks) / 2], dim=1).log(), torch.zeros(len(values)).long()


def test_both_forms_of_the_risk_are_minus_log_1_minus_p():
    logits, attacked = of_probabilities(0.002, 0.1, 0.5, 0.9, 0.99)
    expected = -torch.log(1 - logits.softmax(1)[:, 0])
    torch.testing.assert_close(clamped_risk(logits, attacked), expected, atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(exact_risk(logits, attacked), expected)


@pytest.mark.parametrize("risk", [clamped_risk, exact_risk])
def test_only_the_clamped_risk_leaves_a_class_below_a_thousandth_alone(risk):
    logits, attacked = of_probabilities(0.0005, 0.002)
    (gradient,) = torch.autograd.grad(risk(logits.requires_grad_(), attacked).sum(), logits)
    assert bool(gradient[0].abs().max() > 1e-6) == (risk is exact_risk)
    assert gradient[1].abs().max() > 1e-6


def test_only_the_exact_risk_still_has_a_gradient_where_the_model_is_overconfident():
    logits, attacked = torch.tensor([[25.0, 0.0, 0.0]], requires_grad=True), torch.tensor([0])
    clamped, exact = (
        torch.autograd.grad(risk(logits, attacked).sum(), logits)[0] for risk in (clamped_risk, exact_risk)
    )
    assert clamped.abs().max() < 1e-4
    torch.testing.assert_close(exact, torch.tensor([[1.0, -0.5, -0.5]]))


@pytest.mark.parametrize("exact", [False, True])
def test_the_risk_is_summed_where_the_reference_leaves_label_and_clean_prediction_and_divided_by_all(exact):
    logits, attacked = of_probabilities(0.1, 0.5, 0.9, 0.99)
    labels, own = torch.tensor([1, 0, 2, 1]), torch.tensor([1, 1, 1, 0])  # the second's is its label, the fourth's old
    loss = SAU(clean_weight=0, exact_risk=exact).outer_loss(logits, logits, labels, attacked, own)
    assert float(loss) == pytest.approx(-(math.log(0.9) + math.log(0.1)) / 4, rel=1e-3)


def test_where_the_reference_is_not_fooled_only_the_clean_loss_is_left():
    logits, attacked = of_probabilities(0.1, 0.5)
    labels = torch.tensor([2, 1])
    loss = SAU().outer_loss(logits, logits.flip(0), labels, attacked, own=attacked)
    torch.testing.assert_close(loss, cross_entropy(logits, labels))


def test_adversarial_training_adds_the_loss_on_perturbed_images():
    logits, attacked = of_probabilities(0.1, 0.5)
    method = SAU(clean_weight=0, adversarial_training_weight=0.5)
    loss = method.outer_loss(logits, logits.flip(0), attacked, attacked, own=attacked)
    torch.testing.assert_close(loss, 0.5 * cross_entropy(logits.flip(0), attacked))


@pytest.mark.parametrize("train_statistics", [False, True])
def test_batch_norm_statistics_stay_unless_asked_for(backdoored, defense_task, train_statistics):
    after = SAU(rounds=1, train_statistics=train_statistics).defend(backdoored(), defense_task())
    assert same_bits(dict(backdoored().named_buffers()), dict(after.named_buffers())) != train_statistics


def test_the_reference_stays_the_model_that_came_and_amsgrad_keeps_its_rate(backdoored, defense_task, monkeypatch):
    references, rates = [], set()
    perturbation, step = SAU.perturbation, torch.optim.Adam.step

    def seen(self, model, reference, *rest):
        references.append(reference)
        return perturbation(self, model, reference, *rest)

    def stepped(self, *arguments):
        rates.update((group["lr"], group["amsgrad"]) for group in self.param_groups)
        return step(self, *arguments)

    monkeypatch.setattr(SAU, "perturbation", seen)
    monkeypatch.setattr(torch.optim.Adam, "step", stepped)
    SAU(rounds=3, lr=1e-3).defend(backdoored(), defense_task())
    assert rates == {(1e-3, True)}
    assert len(references) == 3
    assert same_bits(references[-1].state_dict(), backdoored().state_dict())


def test_the_backdoor_weakens_while_clean_images_are_still_recognised(backdoored, defense_task, triggered):
    def share(model, split):
        images, labels = next(split.in_order())
        with torch.no_grad():
            return float((model.eval()(images).argmax(1) == labels).float().mean())

    before = backdoored()
    after = SAU(rounds=10, lr=1e-3).defend(backdoored(), defense_task())
    assert share(before, triggered) > 0.9
    assert share(after, triggered) < 0.3
    assert share(after, defense_task().clean) > 0.3  # of eight classes, by a model that began at 0.75


def test_images_are_not_augmented(backdoored, defense_task, dataset):
    augmented = []

    def notice(images, generator):
        augmented.append(len(images))
        return images

    clean = Split(dataset.images[240:260], dataset.labels[240:260], 0, augmentation=notice)
    SAU(rounds=1).defend(backdoored(), defense_task(clean=clean))
    assert augmented == []


def test_grey_images_work_too(defense_task, backdoored, dataset):
    clean = Split(dataset.images[240:260, :1], dataset.labels[240:260], 0)
    after = SAU(rounds=1).defend(backdoored(channels=1), defense_task(clean=clean))
    assert isinstance(after, nn.Module)


def test_defaults_are_the_published_ones():
    assert dataclasses.asdict(SAU()) == {
        "rounds": 100, "lr": 1e-4, "batch_size": 256, "steps": 5, "epsilon": 0.2, "step_size": 0.2,
        "adversarial_weight": 0.01, "share_weight": 1.0, "clean_weight": 1.0, "shared_risk_weight": 1.0,
        "adversarial_training_weight": 0.0, "exact_risk": False, "clip": False, "train_statistics": False,
    }  # fmt: skip
    assert SAU().updates(2_500) == 1_000


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"epsilon": 0.0}])
def test_an_inner_problem_without_room_is_refused(wrong):
    with pytest.raises(ValueError, match="must be positive"):
        SAU(**wrong)
