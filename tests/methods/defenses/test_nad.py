"""NAD's attention, and the depths that it is taken at."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import Unsupported
from methods.defenses.nad import NAD, attention, feature_maps
from tests.helpers import same_bits


@pytest.mark.parametrize(
    ("architecture", "ends"),
    [
        ("cnn-small", {(28, 28): 2, (14, 14): 6, (7, 7): 10}),
        ("resnet18-quarter", {(14, 14): 6, (7, 7): 8, (4, 4): 10}),
    ],
)
def test_the_three_depths_are_the_ends_of_the_last_three_stages(architecture, ends, backdoored):
    model = backdoored(architecture).eval()
    images = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with feature_maps(model) as maps:
        model(images)
    for size, last in ends.items():
        assert torch.equal(maps[size], model.network[: last + 1](model.normalise(images)))
    deepest = sorted((size for size in maps if size != (1, 1)), reverse=True)[-3:]
    assert deepest == list(ends)


@pytest.mark.parametrize("architecture", ["timm:resnet10t", "timm:resnetv2_50", "timm:mobilenetv3_small_050"])
def test_foreign_architectures_have_three_depths_that_gradients_reach(architecture, backdoored):
    teacher, student = backdoored(architecture).eval(), backdoored(architecture).train()
    images = torch.rand(4, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with feature_maps(teacher) as wanted, feature_maps(student) as maps:
        with torch.no_grad():
            teacher(images)
        student(images)
        NAD().attention_loss(maps, wanted).backward()
    assert sum(p.grad is not None and bool(p.grad.any()) for p in student.parameters()) > 10


def test_hooks_are_gone_even_after_an_error(backdoored):
    model = backdoored()
    with pytest.raises(RuntimeError), feature_maps(model):
        model(torch.rand(1, 5, 28, 28))
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
def test_attention_is_the_normalised_sum_of_powers_over_channels(power):
    features = torch.randn(3, 5, 4, 2, generator=torch.Generator().manual_seed(0))
    for ours, image in zip(attention(features, power), features.double().numpy(), strict=True):
        plain = np.array([sum(abs(value) ** power for value in image[:, i, j]) for i in range(4) for j in range(2)])
        np.testing.assert_allclose(ours, plain / np.sqrt((plain**2).sum()), rtol=1e-5)


def test_the_loss_weighs_the_mean_square_distances_from_shallow_to_deep():
    draw = torch.Generator().manual_seed(0)
    sizes = [(2, 2), (28, 28), (8, 8), (4, 4), (1, 1)]  # the image itself and the pooled map do not count
    maps, wanted = ({size: torch.randn(6, 3, *size, generator=draw) for size in sizes} for _ in range(2))

    def distance(size):
        rows = [(m[size].double().numpy() ** 2).sum(1).reshape(6, -1) for m in (maps, wanted)]
        first, second = (row / np.linalg.norm(row, axis=1, keepdims=True) for row in rows)
        return ((first - second) ** 2).mean()

    expected = 500 * distance((8, 8)) + 1000 * distance((4, 4)) + 1000 * distance((2, 2))
    assert NAD().attention_loss(maps, wanted).item() == pytest.approx(expected, rel=1e-5)
    assert NAD().attention_loss(maps, maps).item() == 0


def test_a_network_without_maps_of_three_sizes_is_refused(defense_task):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 13 * 13, 8))
    with pytest.raises(Unsupported, match="three sizes"):
        NAD(teacher_epochs=0, epochs=1).defend(model, defense_task())


def test_without_attention_it_is_fine_tuning_bit_for_bit(backdoored, defense_task):
    plain = {"shallow_weight": 0.0, "middle_weight": 0.0, "deep_weight": 0.0}
    defended = NAD(teacher_epochs=0, epochs=3, batch_size=24, **plain).defend(backdoored(), defense_task())

    model, clean = backdoored().train(), defense_task().clean
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)
    for _ in range(3):
        for images, labels in clean.batches(24, epochs=1):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
        schedule.step()
    assert same_bits(defended.state_dict(), model.state_dict())


def test_the_student_comes_to_look_where_the_teacher_looks(backdoored, defense_task):
    teacher = backdoored()
    NAD(batch_size=16)._fit(teacher, defense_task(), 3, "", lambda x, y: cross_entropy(teacher(x), y))
    images, _ = next(defense_task().clean.in_order())

    def distance(weight):
        weights = {f"{depth}_weight": weight for depth in ("shallow", "middle", "deep")}
        student = NAD(teacher_epochs=3, epochs=8, batch_size=16, **weights).defend(backdoored(), defense_task())
        with feature_maps(teacher.eval()) as wanted, feature_maps(student.eval()) as maps, torch.no_grad():
            teacher(images)
            student(images)
            return NAD().attention_loss(maps, wanted).item()

    assert distance(1000.0) < distance(0.0)
