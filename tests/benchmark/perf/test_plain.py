"""The plain ways do the same work as ours: otherwise a comparison of their speed would say nothing."""

import copy

import numpy as np
import pytest
import torch

from benchmark.api import Split
from benchmark.data.datasets import load_dataset
from benchmark.models import Normalise, build_model
from benchmark.perf import plain, plain_experiment
from benchmark.perf.comparisons import defense_task
from benchmark.perf.experiment import write_share
from benchmark.perf.plain_salun import forget_gradients, masks_by_sorting, salun_epoch
from benchmark.perf.plain_sau import plain_sau
from benchmark.perf.plain_scores import confidences, mia_svc, probabilities, scores
from benchmark.training import get_recipe, train
from methods.defenses.sau import SAU
from methods.unlearning.salun import SalUn, saliency_masks
from metrics import membership
from metrics.accuracy import accuracy, balanced_accuracy, macro_auc


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("bloodmini")


def opened(dataset, rows, *augmentations):
    pixels = dataset.images[rows].permute(0, 2, 3, 1).contiguous().numpy()
    return plain.Images(pixels, dataset.labels[rows].numpy(), plain.transform(*augmentations))


def batches(dataset, rows, size=256, shuffle=False):
    return plain.loader(opened(dataset, rows), size, workers=0, shuffle=shuffle)


@pytest.fixture(scope="module")
def trained(dataset):
    """A net of its own that has seen 600 images a few times, without the layer that normalises."""
    model = build_model("cnn-small", channels=3, num_classes=8, seed=0)
    recipe = get_recipe("cpu")
    rows = torch.arange(600)
    train(model, Split(dataset.images[rows], dataset.labels[rows], 0), recipe)
    return model


def test_a_loader_serves_what_ours_serves_normalised(dataset):
    (images, labels), *_ = batches(dataset, slice(0, 8), 8)
    own, own_labels = next(Split(dataset.images[:8], dataset.labels[:8], 0).in_order())
    torch.testing.assert_close(images, Normalise(0.5, 0.5)(own).contiguous())
    assert torch.equal(labels, own_labels)


def test_augmentation_draws_anew_and_keeps_the_shape(dataset):
    images = opened(dataset, slice(0, 1), *plain.crop_and_flip(28))
    drawn = {images[0][0].numpy().tobytes() for _ in range(20)}
    assert len(drawn) > 5
    assert images[0][0].shape == (3, 28, 28)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_plain_loop_learns_with_and_without_workers(dataset, workers):
    torch.manual_seed(0)
    model = build_model("cnn-small", channels=3, num_classes=8, seed=0).network
    loader = plain.loader(opened(dataset, slice(0, 128)), 32, workers=workers)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    constant = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)
    losses = [plain.train_epoch(model, loader, optimizer, constant) for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_best_number_of_workers_is_one_of_those_tried(dataset):
    model = build_model("cnn-small", channels=3, num_classes=8, seed=0).network
    assert plain.best_workers(model, opened(dataset, slice(0, 32)), 16, (0, 1)) in (0, 1)


def test_sorting_selects_the_weights_that_saliency_selects(trained, dataset):
    model = copy.deepcopy(trained)
    ours = saliency_masks(model, Split(dataset.images[:64], dataset.labels[:64], 0), 64, 0.3)
    sorted_whole = masks_by_sorting(forget_gradients(model.network, batches(dataset, slice(0, 64))), 0.3)
    pairs = list(zip(ours, sorted_whole.values(), strict=True))
    different = sum(int((own != (other > 0)).sum()) for own, other in pairs)
    selected = sum(int((other > 0).sum()) for _, other in pairs)
    assert selected == sum(int(own.sum()) for own in ours)
    assert different <= 0.002 * selected  # sums in another order may exchange a few at the threshold


def test_what_the_mask_freezes_stays(trained, dataset):
    model = copy.deepcopy(trained).network
    masks = {name: (torch.rand_like(parameter) < 0.5).float() for name, parameter in model.named_parameters()}
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    loaders = batches(dataset, slice(0, 32), 16), batches(dataset, slice(32, 96), 32)
    salun_epoch(model, *loaders, torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.1), masks, 8)
    for name, parameter in model.named_parameters():
        frozen = masks[name] == 0
        assert torch.equal(parameter[frozen], before[name][frozen])
        assert not torch.equal(parameter[~frozen], before[name][~frozen])


def test_sau_with_separate_passes_ends_at_the_same_weights(trained, dataset):
    method = SAU(rounds=2, lr=1e-3, batch_size=32)
    ours = method.defend(copy.deepcopy(trained), defense_task(dataset, 64)).state_dict()
    other = plain_sau(method, copy.deepcopy(trained), defense_task(dataset, 64)).state_dict()
    assert any(not torch.equal(value, trained.state_dict()[name]) for name, value in ours.items())
    for name, value in other.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-4)


def test_plain_scores_are_those_of_the_metrics(trained, dataset):
    model, test = trained.network, torch.from_numpy(dataset.test)
    parts = {"forget": torch.arange(60), "retain": torch.arange(60, 600), "non_members": torch.arange(600, 800)}
    loaders = {name: batches(dataset, rows) for name, rows in (parts | {"test": test}).items()}
    found = scores(model, loaders, seed=0)
    outputs, labels = probabilities(model, loaders["test"])
    logits = np.log(np.maximum(outputs, 1e-30))
    assert found["ta"] == accuracy(logits, labels)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy(logits, labels))
    assert found["macro_auc"] == pytest.approx(macro_auc(logits, labels), abs=1e-6)
    (retain, _), (held_out, _), (forget, _) = (
        confidences(model, loaders[name]) for name in ("retain", "test", "forget")
    )
    assert found["mia_svc_original"] == pytest.approx(
        membership.mia_svc_original(*(np.clip(part, 0, 1) for part in (retain, held_out, forget))), abs=0.02
    )


def test_the_plain_confidence_attack_finds_what_ours_finds(trained, dataset):
    model = trained.network
    loaders = [batches(dataset, slice(*ends)) for ends in ((60, 600), (600, 800), (0, 60))]
    (retain, retain_labels), (others, other_labels), (forget, _) = (confidences(model, each) for each in loaders)
    plainly = mia_svc(model, *loaders, seed=0)
    inputs = np.clip(retain, 0, 1), retain_labels, np.clip(others, 0, 1), other_labels, np.clip(forget, 0, 1)
    assert plainly == pytest.approx(membership.mia_svc(*inputs, seed=0), abs=0.05)


def test_the_plain_experiment_has_the_settings_of_ours():
    recipe, method, plainly = get_recipe("cpu"), SalUn(), plain_experiment
    assert (recipe.lr, recipe.epochs, recipe.batch_size) == (plainly.LR, plainly.EPOCHS, plainly.BATCH_SIZE)
    assert (recipe.momentum, recipe.weight_decay) == (plainly.MOMENTUM, plainly.WEIGHT_DECAY)
    assert (method.momentum, method.weight_decay) == (plainly.MOMENTUM, plainly.WEIGHT_DECAY)
    assert (method.lr, method.epochs) == (plainly.SALUN_LR, plainly.SALUN_EPOCHS)
    assert (method.batch_size, method.keep_ratio) == (plainly.SALUN_BATCH_SIZE, plainly.KEEP_RATIO)
    assert (recipe.optimizer, recipe.schedule, recipe.augmentation) == ("sgd", "onecycle", "none")


def test_the_plain_experiment_scores_every_model_of_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(plain_experiment, "EPOCHS", 1)
    monkeypatch.setattr(plain_experiment, "SALUN_EPOCHS", 1)
    with np.load(write_share(tmp_path / "share.npz", 4)) as file:
        found = plain_experiment.run_block(dict(file), number=0, retrains=1, workers=0)
    assert list(found) == ["original", "retrain 0", "salun"]
    assert all(0 <= value <= 1 for values in found.values() for value in values.values())
    assert found["original"] != found["salun"]
