"""What every stamp owes the suite, whatever it draws."""

import dataclasses

import pytest
import torch

from attacks.adaptive_blend import AdaptiveBlend
from attacks.badnets import BadNets
from attacks.badnets_all_to_all import BadNetsAllToAll
from attacks.blended import Blended
from attacks.bpp import Bpp
from attacks.clean import Clean
from attacks.fiba import Fiba
from attacks.input_aware import InputAware
from attacks.lf import Lf
from attacks.sig import Sig
from attacks.wanet import WaNet
from benchmark.registry import find, names

QUICK = {
    "adaptive_blend": AdaptiveBlend(),
    "badnets": BadNets(),
    "badnets_all_to_all": BadNetsAllToAll(),
    "blended": Blended(),
    "bpp": Bpp(),
    "fiba": Fiba(),
    "input_aware": InputAware(mask_epochs=1, mask_batch_size=64, width=4),
    "lf": Lf(steps=10),
    "sig": Sig(),
    "wanet": WaNet(),
}
SHAPES = {
    "grey-28": (1, 28),
    "colour-28": (3, 28),
    "grey-32": (1, 32),
    "colour-32": (3, 32),
    "colour-29x35": (3, 29, 35),
}


def stamps_of(trigger):
    stamps = (trigger.stamp, trigger.train_stamp, trigger.cover_stamp)
    return {stamp for stamp in stamps if stamp is not None}


@pytest.fixture(scope="module")
def triggers(attack_task):
    """(trigger, task) of an attack on images of a shape; made once."""
    made = {}

    def get(name, shape):
        if (name, shape) not in made:
            task = attack_task(*SHAPES[shape])
            made[name, shape] = QUICK[name].trigger(task), task
        return made[name, shape]

    return get


def test_every_built_in_attack_is_tested_here():
    assert set(names("attacks")) == {*QUICK, "clean"}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", QUICK)
def test_every_image_is_changed_and_stays_an_image(triggers, name, shape):
    trigger, task = triggers(name, shape)
    images, before = task.train.images, task.train.images.clone()
    for stamp in stamps_of(trigger):
        stamped = stamp(images)
        assert (stamped.shape, stamped.dtype, stamped.device) == (images.shape, torch.uint8, images.device)
        assert (stamped != images).flatten(1).any(dim=1).all()
        assert torch.equal(images, before)  # nothing was written into what was handed in


@pytest.mark.parametrize("name", QUICK)
def test_the_stamp_at_test_time_draws_nothing_and_does_not_look_at_the_batch(triggers, name):
    trigger, task = triggers(name, "colour-28")
    images, state = task.train.images, task.generator.get_state()
    stamped = trigger.stamp(images)
    assert torch.equal(stamped, trigger.stamp(images))
    assert torch.equal(task.generator.get_state(), state)
    alone = torch.cat([trigger.stamp(image[None]) for image in images[:10]])
    assert (alone.int() - stamped[:10].int()).abs().max() <= 1  # a rounding of the last bit, where a network draws


@pytest.mark.parametrize("shape", ["grey-28", "colour-28"])
@pytest.mark.parametrize("name", QUICK)
def test_a_single_image_can_be_stamped(triggers, name, shape):
    trigger, task = triggers(name, shape)
    for stamp in stamps_of(trigger):
        assert stamp(task.train.images[:1]).shape == (1, *task.train.images.shape[1:])


@pytest.mark.parametrize("name", QUICK)
def test_the_same_seed_gives_the_same_trigger_and_no_global_generator_is_used(attack_task, name):
    drawn = []
    for noise in (0, 1):
        torch.manual_seed(noise)
        task, state = attack_task(), torch.get_rng_state()
        trigger = QUICK[name].trigger(task)
        cover = trigger.cover_stamp or trigger.stamp
        drawn.append(torch.cat([trigger.stamp(task.train.images), cover(task.train.images)]))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(*drawn)


@pytest.mark.parametrize("name", ["wanet", "input_aware", "bpp", "fiba", "adaptive_blend"])
def test_cover_images_are_stamped_anew_each_time(triggers, name):
    trigger, task = triggers(name, "colour-28")
    assert not torch.equal(trigger.cover_stamp(task.train.images), trigger.cover_stamp(task.train.images))


def test_the_control_changes_nothing(attack_task):
    task = attack_task()
    assert torch.equal(Clean().trigger(task).stamp(task.train.images), task.train.images)


PUBLISHED = {
    "adaptive_blend": {"ratio": 0.003, "cover_ratio": 0.003, "alpha": 0.2, "train_alpha": 0.15, "pieces": 16},
    "badnets": {"ratio": 0.1, "patch_share": 3 / 32},
    "badnets_all_to_all": {"ratio": 0.1, "patch_share": 3 / 32},
    "blended": {"ratio": 0.1, "alpha": 0.2},
    "bpp": {"ratio": 0.1, "cover_ratio": 0.1, "levels": 8},
    "clean": {"ratio": 0.0},
    "fiba": {"ratio": 0.1, "cover_ratio": 0.1, "alpha": 0.15, "beta": 0.1},
    "input_aware": {"density": 0.032, "density_weight": 100, "diversity_weight": 1, "mask_epochs": 25},
    "lf": {"ratio": 0.1, "amplitude": 0.2},
    "sig": {"ratio": 0.5, "delta": 40 / 255, "frequency": 6},
    "wanet": {"ratio": 0.1, "cover_ratio": 0.2, "control_points": 4, "strength": 0.5, "grid_rescale": 1},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_defaults_are_the_published_ones(name):
    assert dataclasses.asdict(find("attacks", name).configure("published", {})).items() >= PUBLISHED[name].items()


@pytest.mark.parametrize(
    ("name", "goal", "victims", "controls_training"),
    [
        ("badnets_all_to_all", "all-to-all", "all", False),
        ("sig", "all-to-one", "target", False),
        ("wanet", "all-to-one", "others", True),
        ("input_aware", "all-to-one", "others", True),
        ("bpp", "all-to-one", "others", True),
        ("fiba", "all-to-one", "others", True),
        ("adaptive_blend", "all-to-one", "others", False),
        ("lf", "all-to-one", "others", False),
    ],
)
def test_an_attack_says_whom_it_poisons_and_what_it_controls(name, goal, victims, controls_training):
    info = find("attacks", name).info
    assert (info.goal, info.victims, info.controls_training) == (goal, victims, controls_training)


@pytest.mark.parametrize(
    ("attack", "wrong", "message"),
    [
        *((attack, {"ratio": ratio}, "ratio must lie") for attack in QUICK.values() for ratio in (0.0, -0.1, 1.1)),
        *((attack, {"ratio": 1.0}, "ratio must lie strictly") for name, attack in QUICK.items() if name != "sig"),
        (Clean(), {"ratio": 0.1}, "ratio must be 0"),
        (WaNet(), {"cover_ratio": 1.0}, "cover_ratio must lie in"),
        (WaNet(), {"ratio": 0.5, "cover_ratio": 0.5}, "together must be less than 1"),
        (WaNet(), {"control_points": 1}, "control_points must be at least 2"),
        (WaNet(), {"strength": 0.0}, "strength must be above 0"),
        (BadNets(), {"patch_share": 0.0}, "patch_share must lie in"),
        (Blended(), {"alpha": 1.5}, "alpha must lie in"),
        (Sig(), {"delta": 40.0}, "delta must lie in"),
        (Sig(), {"frequency": -1.0}, "frequency must be above 0"),
        (Bpp(), {"levels": 1}, "levels must lie in"),
        (AdaptiveBlend(), {"pieces": 15}, "pieces must be a square number"),
        (AdaptiveBlend(), {"masked_share": 1.0}, "masked_share must lie in"),
        (Fiba(), {"beta": 0.6}, "beta must lie in"),
        (Lf(), {"steps": 0}, "steps must be above 0"),
        (Lf(), {"amplitude": 51.0}, "amplitude must lie in"),
        (InputAware(), {"density": 0.0}, "density must lie in"),
        (InputAware(), {"density_weight": -1.0}, "density_weight must not be below 0"),
        (InputAware(), {"batch_size": 1}, "must be at least 2"),
    ],
)
def test_hyper_parameters_out_of_range_are_refused_in_one_line(attack, wrong, message):
    with pytest.raises(ValueError, match=message) as error:
        dataclasses.replace(attack, **wrong)
    assert "\n" not in str(error.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", QUICK)
def test_stamps_stay_on_the_gpu(attack_task, name):
    cpu = attack_task()
    train = dataclasses.replace(cpu.train, images=cpu.train.images.cuda(), labels=cpu.train.labels.cuda())
    generator = torch.Generator("cuda").manual_seed(1)
    task = dataclasses.replace(cpu, train=train, generator=generator, clean_model=lambda: cpu.clean_model().cuda())
    trigger = QUICK[name].trigger(task)
    if trigger.before_step is not None:
        trigger.before_step(task.clean_model())
    for stamp in stamps_of(trigger):
        stamped = stamp(train.images)
        assert stamped.is_cuda
        assert (stamped != train.images).flatten(1).any(dim=1).all()
