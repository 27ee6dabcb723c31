"""What the list of checks says of sound methods, in which order, and to whom."""

import dataclasses
import json
import sys

import pytest
import torch

from benchmark.conformance import CHECKS, Finding, check_method
from benchmark.conformance.tiny import ATTACK, make_scene, with_few_images
from benchmark.errors import MedsafeError
from benchmark.registry import find
from benchmark.training import predict, silent

SOUND = [("unlearning", "salun"), ("defenses", "clp"), ("defenses", "neural_polarizer"), ("defenses", "abl")]
"""One of each contract, and one that inserts a layer."""


@pytest.mark.parametrize(("kind", "name"), SOUND)
def test_a_sound_method_passes(kind, name, short_recipe):
    findings = list(check_method(find(kind, name)))
    skipped = {finding.name for finding in findings if finding.outcome == "skipped"}
    assert [finding for finding in findings if finding.outcome not in ("pass", "skipped")] == []
    expected = {"looks_at_no_data_if_it_says_so"} - ({"looks_at_no_data_if_it_says_so"} if name == "clp" else set())
    assert skipped - {"works_on_a_gpu"} == expected


def test_a_method_works_on_the_network_that_is_asked_for(short_recipe):
    findings = {f.name: f for f in check_method(find("defenses", "clp"), architecture="resnet18-quarter")}
    assert not [finding for finding in findings.values() if finding.outcome == "fail"]
    assert findings["returns_a_module"].why == "resnet18-quarter, 32 colour images of 14x14 pixels, 8 classes"


def test_findings_come_one_by_one_and_the_method_is_called_when_the_first_check_needs_it(plugin, short_recipe):
    found = plugin("calls.append(1)\nreturn model")
    calls = vars(sys.modules[found.cls.__module__])["calls"]
    for finding in check_method(found):
        if finding.name == "names_no_device":
            assert calls == []
        if finding.name == "leaves_the_process_alone":
            assert calls == [1]
    assert calls == [1] * 4


def test_findings_cross_to_another_process_as_json(examine):
    for finding in examine("raise ValueError('<b>two\\nlines\\x1b[31m</b>' + 1000 * 'x')").values():
        text = json.dumps(dataclasses.asdict(finding))
        assert Finding(**json.loads(text)) == finding
        assert finding.why.isprintable()
        assert len(finding.why) <= 500


def test_an_honest_refusal_of_few_images_or_grey_ones_passes_with_a_word(examine):
    refusing = "if {}:\n    raise Unsupported('sorry')\nreturn model"
    few = examine(refusing.format("len(task.forget) == 1"))["copes_with_few_images"]
    grey = examine(refusing.format("task.num_classes == 2").replace("Unsupported", "Diverged"))
    assert few == Finding("copes_with_few_images", "pass", "raised Unsupported: sorry")
    assert grey["copes_with_two_grey_classes"].why == "raised Diverged: sorry"
    assert {finding.outcome for finding in grey.values()} == {"pass", "skipped"}


def test_global_generators_may_be_drawn_from_since_the_suite_seeds_them(examine):
    drawing = (
        "import random, numpy\nmodel.network[-1].bias.data.add_(torch.rand(()) + random.random() + numpy.random.rand())"
    )
    assert {finding.outcome for finding in examine(f"{drawing}\nreturn model").values()} == {"pass", "skipped"}


def test_a_device_may_be_compared_with_and_spoken_of(examine):
    findings = examine("'''Not on cuda.'''\nif task.forget.images.device.type == 'cuda':\n    pass\nreturn model")
    assert findings["names_no_device"].outcome == "pass"


def test_without_a_gpu_the_findings_say_so(examine, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert examine()["works_on_a_gpu"] == Finding("works_on_a_gpu", "skipped", "no GPU here: checked on the CPU alone")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_tensor_that_is_made_on_the_cpu_fails_on_a_gpu(examine):
    findings = examine(
        "images, labels = next(task.forget.batches(8, epochs=1))\nimages + torch.ones(())[None]\nreturn model"
    )
    assert findings["works_on_a_gpu"].outcome == "fail"
    assert examine()["works_on_a_gpu"].outcome == "pass"


def test_attacks_are_not_examined():
    with pytest.raises(MedsafeError, match="attack 'badnets': there are checks for methods and defences alone"):
        next(check_method(find("attacks", "badnets")))


def test_every_check_has_a_name_of_its_own_and_says_in_one_line_what_it_asks():
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert len(check.asks) > 40
        assert "\n" not in check.asks


def test_a_check_comes_after_those_that_it_needs():
    seen = set()
    for check in CHECKS:
        assert seen >= {needed.__name__ for needed in check.needs}
        seen.add(check.name)


def test_the_tiny_task_is_of_real_images_and_its_model_has_learned_them():
    scene = make_scene("unlearning", "cnn-small")
    task, model = scene.handout.task(silent), scene.handout.model()
    assert (len(task.forget), len(task.retain), len(task.validation)) == (32, 128, 32)
    for split in (task.forget, task.retain, task.validation):
        assert torch.bincount(split.labels, minlength=8).tolist() == [len(split) // 8] * 8
        assert len(split.images.flatten(1).unique(dim=0)) == len(split)
    right = predict(model, task.retain.images).argmax(1) == task.retain.labels
    assert float(right.float().mean()) > 0.9


def test_a_backdoor_is_in_the_model_that_a_defence_is_handed():
    scene = make_scene("post-training", "cnn-small")
    clean, model = scene.handout.task(silent).clean, scene.handout.model()
    others = clean.images[clean.labels != 0]
    taken = [float((predict(model, images).argmax(1) == 0).float().mean()) for images in (others, ATTACK.stamp(others))]
    assert taken[0] < 0.2
    assert taken[1] > 0.8


def test_few_images_are_one_to_forget_and_two_of_each_class():
    unlearning = with_few_images(make_scene("unlearning", "cnn-small")).handout.task(silent)
    training = with_few_images(make_scene("in-training", "cnn-small")).handout.task(silent)
    assert (len(unlearning.forget), torch.bincount(unlearning.retain.labels).tolist()) == (1, [2] * 8)
    assert len(training.train) == 16
    assert int((training.train.labels == 0).sum()) == 4  # two of them stamped
