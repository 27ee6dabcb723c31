"""I-BAU's hypergradient against closed forms and finite differences, and its perturbation."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from methods.defenses.i_bau import IBAU
from tests.helpers import same_bits

SHAPE = (1, 1, 2, 3)


@pytest.fixture
def tiny():
    """A smooth net in float64, a batch of 12, a perturbation, and which images are perturbed."""
    draw = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
    images = torch.rand(12, *SHAPE[1:], generator=draw, dtype=torch.float64)
    delta = torch.randn(SHAPE, generator=draw, dtype=torch.float64)
    return model, images, torch.arange(12) % 3, delta.requires_grad_(), torch.arange(12) < 8


CONVEX = IBAU(penalty=1.0, pixel_scale=0.5, fixed_point_steps=300, fixed_point_step_size=0.1)
"""The penalty outweighs the curvature of the cross-entropy: one minimum, to which descent contracts."""


def test_with_many_steps_the_hypergradient_solves_the_implicit_system(tiny):
    model, images, labels, delta, chosen = tiny
    parameters = list(model.parameters())
    ours = CONVEX.hypergradient(model, delta, images, labels, chosen)

    logits = model(images + 0.5 * delta)
    inner = delta.square().sum() - cross_entropy(logits, labels)
    slope = torch.autograd.grad(inner, delta, create_graph=True)[0].flatten()
    rows = [torch.autograd.grad(part, [delta, *parameters], retain_graph=True) for part in slope]
    hessian = torch.stack([row[0].flatten() for row in rows])
    outer = cross_entropy(model(torch.where(chosen[:, None, None, None], images + 0.5 * delta, images)), labels)
    by_delta, *direct = torch.autograd.grad(outer, [delta, *parameters])
    solved = torch.linalg.solve(hessian, by_delta.flatten())
    for place, gradient in enumerate(direct):
        mixed = torch.stack([row[1 + place] for row in rows])
        torch.testing.assert_close(ours[place], gradient - torch.tensordot(solved, mixed, dims=1))


def test_the_hypergradient_is_the_slope_of_the_loss_with_the_perturbation_following(tiny):
    model, images, labels, _, chosen = tiny

    def answer():
        delta = torch.zeros(SHAPE, dtype=torch.float64, requires_grad=True)
        for _ in range(300):
            (gradient,) = torch.autograd.grad(CONVEX.inner_loss(model, delta, images, labels), delta)
            delta = (delta - 0.1 * gradient).detach().requires_grad_()
        return delta

    def outer():
        return cross_entropy(model(images + 0.5 * answer() * chosen[:, None, None, None]), labels).item()

    ours = CONVEX.hypergradient(model, answer(), images, labels, chosen)
    weight, gradient = model[1].weight, ours[0]
    for place in [(0, 0), (2, 3), (4, 5)]:
        value = weight[place].item()
        around = []
        for offset in (1e-4, -1e-4):
            weight.data[place] = value + offset
            around.append(outer())
        weight.data[place] = value
        assert (around[0] - around[1]) / 2e-4 == pytest.approx(gradient[place].item(), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("steps", [1, 5])
def test_so_many_fixed_point_steps_are_so_many_terms_of_the_neumann_series(tiny, steps):
    model, images, labels, delta, chosen = tiny
    method = IBAU(penalty=0.3, pixel_scale=0.5, fixed_point_steps=steps, fixed_point_step_size=0.2)
    ours = method.hypergradient(model, delta, images, labels, chosen)

    def slope(point):
        inner = 0.3 * point.square().sum() - cross_entropy(model(images + 0.5 * point), labels)
        return torch.autograd.grad(inner, point, create_graph=True)[0]

    hessian = torch.autograd.functional.jacobian(slope, delta.detach().clone()).reshape(6, 6)
    outer = cross_entropy(model(images + 0.5 * delta * chosen[:, None, None, None]), labels)
    by_delta = torch.autograd.grad(outer, delta, retain_graph=True)[0].flatten()
    contraction = torch.eye(6, dtype=torch.float64) - 0.2 * hessian
    v = sum(torch.linalg.matrix_power(contraction, term) @ by_delta for term in range(steps))
    direct = torch.autograd.grad(outer, list(model.parameters()))
    mixed = torch.autograd.grad(slope(delta).flatten() @ v, list(model.parameters()))
    for mine, gradient, turn in zip(ours, direct, mixed, strict=True):
        torch.testing.assert_close(mine, gradient - 0.2 * turn)


def test_with_a_radius_of_zero_it_is_plain_fine_tuning_by_adam(backdoored, defense_task):
    method = IBAU(norm_cap=0.0, fixed_point_steps=0, perturbed_share=1.0, rounds=2, lr=1e-3, batch_size=24)
    defended = method.defend(backdoored(), defense_task())

    model, clean = backdoored().eval(), defense_task().clean
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(2):
        list(clean.batches(24, epochs=1))  # the inner problem's pass
        for images, labels in clean.batches(24, epochs=1):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
    assert same_bits(defended.state_dict(), model.state_dict())


def test_the_perturbation_raises_the_loss_on_all_images_together(backdoored, defense_task):
    model, task = backdoored().eval(), defense_task()
    delta = IBAU(batch_size=16).perturbation(model, task)
    images, labels = next(task.clean.in_order())
    assert delta.shape == (1, *images.shape[1:])
    assert cross_entropy(model(images + 0.25 * delta), labels) > cross_entropy(model(images), labels) + 0.5


def test_the_perturbation_is_descent_from_zero_one_step_a_batch(backdoored, defense_task):
    model = backdoored().eval()
    ours = IBAU(batch_size=24).perturbation(model, defense_task())
    plain = torch.zeros(1, 3, 28, 28, requires_grad=True)
    optimizer = torch.optim.SGD([plain], lr=10)
    for images, labels in defense_task().clean.batches(24, epochs=1):
        optimizer.zero_grad()
        (0.001 * (plain**2).sum() - cross_entropy(model(images + 0.25 * plain), labels)).backward()
        optimizer.step()
    torch.testing.assert_close(ours, plain)


def test_the_scale_is_a_change_of_units(backdoored, defense_task):
    """In pixels the inner learning rate is multiplied by s^2 and the penalty divided by it."""
    model = backdoored().eval()
    scaled = IBAU(batch_size=24).perturbation(model, defense_task())
    pixels = IBAU(batch_size=24, pixel_scale=1.0, inner_lr=10 / 16, penalty=0.001 * 16)
    torch.testing.assert_close(0.25 * scaled, pixels.perturbation(model, defense_task()), rtol=1e-3, atol=1e-5)


def test_the_papers_bound_holds(backdoored, defense_task):
    delta = IBAU(batch_size=16, norm_cap=0.7).perturbation(backdoored().eval(), defense_task())
    assert delta.norm().item() == pytest.approx(0.7)


@pytest.mark.parametrize(("share", "expected"), [(0.01, 1), (0.25, 16), (1.0, 64)])
def test_a_random_share_of_the_batch_is_perturbed_and_at_least_one_image(share, expected):
    generator = torch.Generator().manual_seed(0)
    first, second = (IBAU(perturbed_share=share)._choose(64, generator) for _ in range(2))
    assert int(first.sum()) == int(second.sum()) == expected
    assert torch.equal(first, second) is (expected == 64)


@pytest.mark.parametrize("follow", [False, True])
def test_batch_norm_statistics_move_only_if_asked_to(follow, backdoored, defense_task):
    model = backdoored()
    before = copy.deepcopy(dict(model.named_buffers()))
    IBAU(rounds=1, batch_size=32, train_statistics=follow).defend(model, defense_task())
    assert same_bits(dict(model.named_buffers()), before) is not follow
