"""Fine-pruning: which units go, how many, and that they stay away."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.api import Split, Unsupported
from benchmark.training import predict
from methods.defenses.fine_pruning import FinePruning
from methods.layers import final_linear
from tests.helpers import same_bits

SHORT = FinePruning(epochs=2, batch_size=32)


def accuracy(model, split):
    return float((predict(model, split.images).argmax(1) == split.labels).double().mean())


def silenced(model, units):
    with torch.no_grad():
        final_linear(model).weight[:, units] = 0
    return model


def by_activation(model, split):
    """Units from the least to the most active one."""
    activation = torch.zeros(64)
    model.eval()
    for image in split.images:
        activation += model.get_submodule("network")[:-1](
            (image[None].float() / 255 - 0.5) / 0.5  # what `normalise` does
        ).flatten()
    return activation.argsort()


@pytest.mark.parametrize("accuracy_drop", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("step_share", [0.01, 0.05])
def test_pruning_goes_on_as_long_as_held_out_accuracy_allows_and_no_step_longer(
    backdoored, defense_task, accuracy_drop, step_share
):
    method = FinePruning(accuracy_drop=accuracy_drop, step_share=step_share)
    kept = method.prune(backdoored(), defense_task().clean)
    ranking, held_out = defense_task().clean.divided(method.holdout_share)
    order, step = by_activation(backdoored(), ranking), max(1, round(step_share * 64))
    lowest = (1 - accuracy_drop) * accuracy(backdoored(), held_out)

    pruned = int((~kept).sum())
    assert pruned > 0
    assert pruned % step == 0
    assert set(order[:pruned].tolist()) == set(torch.nonzero(~kept).flatten().tolist())
    assert accuracy(silenced(backdoored(), order[:pruned]), held_out) >= lowest - 1e-9
    assert accuracy(silenced(backdoored(), order[: pruned + step]), held_out) < lowest


def test_one_unit_is_left_when_accuracy_may_fall_to_nothing(backdoored, defense_task):
    assert int(FinePruning(accuracy_drop=1.0).prune(backdoored(), defense_task().clean).sum()) == 1


def test_tuning_is_fine_tuning_with_pruned_weights_set_to_zero_after_every_step(backdoored, defense_task):
    found = SHORT.defend(backdoored(), defense_task())

    model = backdoored()
    kept = SHORT.prune(model, defense_task().clean.fork("pruning"))
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), SHORT.lr, 0.9, weight_decay=5e-4)
    clean = defense_task().clean
    for epoch in range(2):
        optimizer.param_groups[0]["lr"] = SHORT.lr * (1 + torch.cos(torch.tensor(torch.pi * epoch / 2)).item()) / 2
        for images, labels in clean.batches(32, epochs=1):
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()
            silenced(model, ~kept)
    torch.testing.assert_close(found.state_dict(), model.state_dict())


def test_pruned_units_are_exactly_zero_after_tuning_with_momentum_and_decay(backdoored, defense_task):
    kept = SHORT.prune(backdoored(), defense_task().clean.fork("pruning"))
    weight = final_linear(SHORT.defend(backdoored(), defense_task())).weight
    assert not kept.all()
    assert torch.equal(weight[:, ~kept], torch.zeros_like(weight[:, ~kept]))
    assert weight[:, kept].any(0).all()


def test_the_number_of_pruned_units_is_chosen_on_the_second_part_of_the_clean_images_alone(backdoored, defense_task):
    """Wrong labels where units are ranked change nothing."""
    clean = defense_task().clean
    ranking, _ = clean.fork("probe").divided(0.5)
    rows = (clean.images[:, None] == ranking.images[None]).flatten(2).all(2).any(1)

    class Divided(Split):
        def divided(self, share):
            return self.part(torch.nonzero(rows).flatten()), self.part(torch.nonzero(~rows).flatten())

    def prune(labels):
        return SHORT.prune(backdoored(), Divided(clean.images, labels, 0))

    mislabelled = torch.where(rows, (clean.labels + 1) % 8, clean.labels)
    assert torch.equal(prune(clean.labels), prune(mislabelled))
    assert not torch.equal(prune(clean.labels), prune(torch.where(rows, clean.labels, (clean.labels + 1) % 8)))


def test_a_clean_pool_that_cannot_be_divided_is_refused(backdoored, defense_task, dataset):
    one_each = torch.stack([torch.nonzero(dataset.labels == label)[0, 0] for label in range(8)])
    clean = Split(dataset.images[one_each], dataset.labels[one_each], seed=0)
    with pytest.raises(Unsupported, match="cannot be divided"):
        SHORT.defend(backdoored(), defense_task(clean=clean))


def test_a_last_linear_layer_that_is_not_the_classifier_is_refused(defense_task):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, 5))
    with pytest.raises(Unsupported, match="not its classifier"):
        SHORT.defend(model, defense_task())


def test_fine_pruning_needs_no_batch_norm(defense_task):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not same_bits(before, SHORT.defend(model, defense_task()).state_dict())


@pytest.mark.parametrize(
    ("field", "value"), [("step_share", 1.5), ("accuracy_drop", -0.1), ("holdout_share", 0.0), ("holdout_share", 1.0)]
)
def test_shares_out_of_range_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        FinePruning(**{field: value})
