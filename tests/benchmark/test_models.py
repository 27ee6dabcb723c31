"""Architectures: shapes, seeds, checkpoints."""

import pytest
import torch
from safetensors.torch import save_file

from benchmark.errors import MedsafeError
from benchmark.models import build_model, check_architecture, insertion_point, load_checkpoint
from tests.helpers import same_bits


def save(model, path):
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["cnn-small", "resnet18-quarter", "resnet18", "timm:resnet10t"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_architecture_takes_grey_and_colour_images_from_0_to_1(name, channels):
    model = build_model(name, channels=channels, num_classes=5, seed=0).eval()
    assert model(torch.rand(2, channels, 28, 28)).shape == (2, 5)


def test_resnet18_has_the_size_of_medmnists_and_a_stem_that_keeps_the_resolution():
    model = build_model("resnet18", channels=3, num_classes=9, seed=0)
    assert parameters(model) == 11_168_832 + 9 * 512 + 9  # the trunk of the CIFAR-style ResNet-18, and the head
    assert model.get_submodule("network")[:3](torch.rand(1, 3, 28, 28)).shape == (1, 64, 28, 28)


def test_the_quarter_net_has_a_quarter_of_the_channels():
    nets = [build_model(name, channels=3, num_classes=8, seed=0) for name in ("resnet18-quarter", "resnet18")]
    assert [net.get_submodule("network")[-1].in_features for net in nets] == [128, 512]


def test_normalisation_is_the_first_layer_and_travels_with_the_weights():
    model = build_model("cnn-small", channels=3, num_classes=8, seed=0, mean=0.5, std=0.25)
    normalised = model.get_submodule("normalise")(torch.tensor([0.0, 0.5, 1.0]))
    assert normalised.tolist() == [-2.0, 0.0, 2.0]
    assert {"normalise.mean", "normalise.std"} <= set(model.state_dict())


def test_the_seed_decides_the_bits_and_global_generators_are_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second, other = (build_model("cnn-small", channels=3, num_classes=8, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert same_bits(first.state_dict(), second.state_dict())
    assert not same_bits(first.state_dict(), other.state_dict())


@pytest.mark.parametrize(
    ("name", "hint"), [("cnn-smal", "cnn-small"), ("resnet8", "resnet18"), ("timm:resnet19", "resnet1")]
)
def test_an_unknown_architecture_is_one_line_with_a_hint(name, hint):
    with pytest.raises(MedsafeError, match=f"unknown .*architecture.*did you mean '{hint}") as error:
        check_architecture(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", ["whole model", "network alone"])
def test_a_checkpoint_of_the_model_or_of_its_network_fills_it(tmp_path, part):
    trained = build_model("cnn-small", channels=3, num_classes=8, seed=1)
    source = trained if part == "whole model" else trained.get_submodule("network")
    save(source, tmp_path / "mine.safetensors")
    loaded = load_checkpoint(build_model("cnn-small", channels=3, num_classes=8, seed=2), tmp_path / "mine.safetensors")
    assert same_bits(loaded.state_dict(), trained.state_dict())


def test_a_checkpoint_that_does_not_fit_or_cannot_be_read_is_one_line(tmp_path):
    model = build_model("cnn-small", channels=3, num_classes=8, seed=1)
    other = build_model("cnn-small", channels=1, num_classes=8, seed=1)
    save(other, tmp_path / "grey.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not a checkpoint")
    for name, reason in (("grey", "does not fit"), ("broken", "cannot be read"), ("missing", "cannot be read")):
        with pytest.raises(MedsafeError, match=reason) as error:
            load_checkpoint(model, tmp_path / f"{name}.safetensors")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("cnn-small", "network.11"),
        ("resnet18-quarter", "network.11"),
        ("timm:resnet10t", "network.global_pool"),
        ("timm:vit_tiny_patch16_224", None),
    ],
)
def test_a_layer_is_inserted_behind_the_last_stage_or_nowhere(name, point):
    assert insertion_point(name, build_model(name, channels=3, num_classes=8, seed=0)) == point
