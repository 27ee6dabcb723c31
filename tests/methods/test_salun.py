"""SalUn and random labelling against a plain restatement of their maths."""

import dataclasses

import pytest
import torch
from torch.nn.functional import cross_entropy

from methods.unlearning.random_label import RandomLabel
from methods.unlearning.salun import SalUn, saliency_masks
from tests.helpers import same_bits


def test_keeping_every_weight_makes_salun_plain_random_labelling(trained, task):
    masked = SalUn(keep_ratio=1.0, epochs=2).unlearn(trained(), task())
    unmasked = RandomLabel(epochs=2).unlearn(trained(), task())
    assert same_bits(masked.state_dict(), unmasked.state_dict())


def test_keeping_no_weight_leaves_every_parameter_where_it_was(trained, task):
    before, after = trained(), SalUn(keep_ratio=0.0, epochs=2, lr=0.1).unlearn(trained(), task())
    assert same_bits(dict(before.named_parameters()), dict(after.named_parameters()))


def test_batch_norm_statistics_are_no_parameters_and_follow_the_data(trained, task):
    before, after = trained(), SalUn(keep_ratio=0.0, epochs=2).unlearn(trained(), task())
    assert not same_bits(dict(before.named_buffers()), dict(after.named_buffers()))


@pytest.mark.parametrize("schedule", ["forget_then_retain", "mixed"])
def test_frozen_weights_do_not_move_under_weight_decay_and_momentum(trained, task, schedule):
    method = SalUn(epochs=2, lr=0.05, weight_decay=0.1, momentum=0.9, schedule=schedule)
    before, after = trained(), method.unlearn(trained(), task())
    masks = saliency_masks(trained(), task().forget.fork("saliency"), method.batch_size, method.keep_ratio)
    for mask, old, new in zip(masks, before.parameters(), after.parameters(), strict=True):
        assert torch.equal(old[~mask], new[~mask])
    assert any(
        not torch.equal(old[m], new[m])
        for m, old, new in zip(masks, before.parameters(), after.parameters(), strict=True)
    )


def test_the_code_of_2024_let_weight_decay_shrink_frozen_weights(trained, task):
    method = SalUn(keep_ratio=0.0, frozen="leaky", epochs=1, lr=0.01, weight_decay=0.1, momentum=0.0)
    after = method.unlearn(trained(), task())
    steps = task().forget.steps_per_epoch(256) + task().retain.steps_per_epoch(256)
    for old, new in zip(trained().parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(new, old * (1 - 0.01 * 0.1) ** steps)


@pytest.mark.parametrize("keep_ratio", [0.1, 0.5, 0.9])
def test_the_mask_is_the_global_top_k_of_the_summed_batch_mean_gradients(trained, task, keep_ratio):
    model, batch_size = trained(), 20  # 48 images: the last batch is short, and its images weigh more
    masks = torch.cat([mask.flatten() for mask in saliency_masks(trained(), task().forget, batch_size, keep_ratio)])

    model.eval()
    total = 0
    for images, labels in task().forget.batches(batch_size, epochs=1):
        gradients = torch.autograd.grad(-cross_entropy(model(images), labels), list(model.parameters()))
        total = total + torch.cat([gradient.flatten() for gradient in gradients])
    kept = int(keep_ratio * len(total))
    threshold = total.abs().sort(descending=True).values[kept - 1]

    assert int(masks.sum()) == kept
    assert torch.equal(masks, total.abs() >= threshold)


def test_drawing_the_mask_leaves_the_training_stream_where_it_was(trained, task):
    drawn, untouched = task(), task()
    saliency_masks(trained(), drawn.forget.fork("saliency"), 16, 0.5)
    first, second = next(drawn.forget.batches(16, steps=1)), next(untouched.forget.batches(16, steps=1))
    assert torch.equal(first[0], second[0])


def test_a_wrong_label_is_never_the_true_one_and_every_other_class_is_equally_likely(task):
    labels = torch.full((70_000,), 3)
    drawn = RandomLabel(label_pool="wrong").draw(labels, task())
    counts = torch.bincount(drawn, minlength=8).float()
    assert counts[3] == 0
    assert (counts[counts > 0] - 10_000).abs().max() < 500  # 5 standard deviations


def test_the_authors_code_draws_the_true_class_too(task):
    drawn = RandomLabel(label_pool="all").draw(torch.full((80_000,), 3), task())
    assert (torch.bincount(drawn, minlength=8) - 10_000).abs().max() < 500


def test_with_two_classes_a_wrong_label_is_a_flip(task):
    labels = torch.tensor([0, 1, 1, 0])
    assert RandomLabel().draw(labels, task(num_classes=2)).tolist() == [1, 0, 0, 1]


def test_forget_then_retain_passes_over_the_forget_set_first_and_keeps_retained_labels(task, blood):
    method = RandomLabel(batch_size=16)
    batches = list(method.epoch(task()))
    assert sum(len(labels) for _, labels in batches[:3]) == 48
    truth = {
        image.numpy().tobytes(): int(label) for image, label in zip(blood[0].float().div(255), blood[1], strict=True)
    }
    assert all(
        truth[image.numpy().tobytes()] != int(y)
        for images, ys in batches[:3]
        for image, y in zip(images, ys, strict=True)
    )
    assert all(
        truth[image.numpy().tobytes()] == int(y)
        for images, ys in batches[3:]
        for image, y in zip(images, ys, strict=True)
    )


def test_the_mixed_schedule_shuffles_both_sets_together(task):
    batches = list(RandomLabel(batch_size=16, schedule="mixed").epoch(task()))
    assert sum(len(labels) for _, labels in batches) == 200
    forget = {image.numpy().tobytes() for image in task().forget.images.float().div(255)}
    shares = [sum(image.numpy().tobytes() in forget for image in images) for images, _ in batches]
    assert sum(shares) == 48
    assert max(shares) < 16  # no batch of forget images alone


def test_labels_are_drawn_anew_in_every_epoch(task):
    method, shared = RandomLabel(batch_size=48), task()
    first, second = next(method.epoch(shared))[1], next(method.epoch(shared))[1]
    assert not torch.equal(first.sort().values, second.sort().values)


def test_hyper_parameters_out_of_range_are_refused():
    with pytest.raises(ValueError, match="keep_ratio must lie in"):
        SalUn(keep_ratio=1.5)


def test_defaults_are_the_published_ones():
    published = {"epochs": 10, "lr": 0.013, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 256, "keep_ratio": 0.5}
    assert dataclasses.asdict(SalUn()).items() >= published.items()
