"""Each check fails the method that breaks its part of the contract; no other check does, and the reason is named."""

import re

import pytest

from benchmark.conformance import CHECKS, Budget


def bad(check, why, body="return model", **different):
    """A method that fails this check, for a reason that this pattern finds."""
    return check, why, body, different


BAD = {
    "not frozen": bad("hyperparameters_are_frozen", "frozen=True", dataclass=""),
    "a set among the values": bad(
        "hyperparameters_are_plain", "not JSON serializable", fields="layers: object = field(default_factory=set)"
    ),
    "a value without default": bad("hyperparameters_are_plain", "required .*'lr'", fields="lr: float"),
    "a preset of other fields": bad(
        "presets_construct", "preset gentle: .*'speed'", options=', presets={"gentle": {"speed": 1}}'
    ),
    "a scaled preset without a number of steps": bad(
        "presets_construct", "preset scaled .*`updates`", options=", source_sizes=(10, 90)", fields="lr: float = 0.1"
    ),
    "moves the model": bad(
        "names_no_device",
        r"mine.py, line \d+: calls .cuda\(\)",
        "if torch.cuda.is_available():\n    model.cuda()\nreturn model",
    ),
    "chooses a device": bad(
        "names_no_device",
        'names "cuda:0"',
        'return model.to("cuda:0" if torch.cuda.is_available() else "cpu")',
    ),
    "returns weights": bad("returns_a_module", "returned OrderedDict, not a model", "return model.state_dict()"),
    "returns nothing": bad("returns_a_module", "returned NoneType", "pass"),
    "raises": bad("returns_a_module", r"'retained' \(mine.py, line \d+\)", "return task.retained"),
    "ends the program": bad("returns_a_module", "raised SystemExit: 1", "raise SystemExit(1)"),
    "refuses an ordinary task": bad(
        "returns_a_module", "raised Unsupported: no attention .*8 classes", "raise Unsupported('no attention')"
    ),
    "diverges on an ordinary task": bad(
        "returns_a_module", "raised Diverged: loss is nan", "raise Diverged('loss is nan')"
    ),
    "double precision": bad("returns_a_module", "torch.float64", "return model.double()"),
    "elsewhere": bad("stays_on_the_device", "is on meta, the images on cpu", 'return model.to("meta")'),
    "a class fewer": bad(
        "keeps_the_number_of_classes",
        r"logits of shape \(8, 7\), not \(8, 8\)",
        "model.network[-1] = nn.Linear(64, task.num_classes - 1)\nreturn model",
    ),
    "forgets a class by leaving out its logit": bad(
        "keeps_the_number_of_classes",
        r"logits of shape \(8, 7\)",
        "model.register_forward_hook(lambda module, inputs, output: output[:, 1:])\nreturn model",
    ),
    "a layer more": bad(
        "keeps_the_architecture",
        "extra.* differs",
        "model.add_module('extra', nn.Linear(task.num_classes, task.num_classes))\nreturn model",
    ),
    "another layer": bad(
        "keeps_the_architecture", "network.2.weight differs", "model.network[2] = nn.PReLU()\nreturn model"
    ),
    "weights that are no numbers": bad(
        "weights_are_finite",
        "weights that are not finite",
        "model.network[0].weight.data[0] = float('nan')\nreturn model",
    ),
    "logits that are no numbers": bad(
        "weights_are_finite", "logits that are not finite", "model.network[-1].weight.data.fill_(3e38)\nreturn model"
    ),
    "reads its batch": bad(
        "answers_do_not_depend_on_the_batch",
        "reads its batch",
        "model.register_forward_hook(lambda module, inputs, output: output - output.mean(0))\nreturn model",
    ),
    "a hook": bad(
        "weights_are_all_there_is",
        "weights alone give other logits",
        "model.register_forward_hook(lambda module, inputs, output: -output)\nreturn model",
    ),
    "weights that only its own code can load": bad(
        "weights_are_all_there_is",
        "Weights only load failed",
        "norm = model.network[1]\nnorm.running_mean = norm.running_mean.as_subclass(Odd)\nreturn model",
    ),
    "relabels in place": bad(
        "leaves_the_data_alone", "overwrites forget.labels", "task.forget.labels.zero_()\nreturn model"
    ),
    "blackens clean images": bad(
        "leaves_the_data_alone",
        "overwrites clean.images",
        "task.clean.images[0] = 0\nreturn model",
        marker="backdoor_defense",
    ),
    "blackens poisoned images": bad(
        "leaves_the_data_alone",
        "overwrites train.images",
        "task.train.images[::2] = 0\nreturn task.fresh_model()",
        marker="training_defense",
    ),
    "seeds": bad(
        "leaves_the_process_alone", "torch's global generator$", "torch.manual_seed(0)\nreturn model"
    ),
    "computes in double precision": bad(
        "leaves_the_process_alone", "the default dtype$", "torch.set_default_dtype(torch.float64)\nreturn model"
    ),
    "replaces a layer's forward pass": bad(
        "leaves_the_process_alone", "ReLU.forward$", "nn.ReLU.forward = lambda self, images: images\nreturn model"
    ),
    "draws without a seed": bad(
        "gives_the_same_bits_again",
        r"network.13.bias differs by up to \S+ in a second call: draw from task.generator",
        "generator = torch.Generator()\n"
        "generator.seed()\n"
        "model.network[-1].bias.data.add_(torch.rand(task.num_classes, generator=generator))\n"
        "return model",
    ),
    "remembers its last call": bad(
        "gives_the_same_bits_again",
        "network.13.bias differs by up to 1 in",
        "calls.append(1)\nmodel.network[-1].bias.data.add_(len(calls))\nreturn model",
    ),
    "cannot be called twice": bad(
        "gives_the_same_bits_again",
        "the second call raised OSError: file is there",
        "calls.append(1)\nif len(calls) == 2:\n    raise OSError('file is there')\nreturn model",
    ),
    "raises on one image": bad(
        "copes_with_few_images",
        r"raised AssertionError.*\(cnn-small, 33 colour images of 14x14 pixels, 8 classes\)",
        "assert len(task.forget) > 1\nreturn model",
    ),
    "spread of one image": bad(
        "copes_with_few_images",
        "weights that are not finite",
        "brightness = task.forget.images.float().mean((1, 2, 3))\n"
        "model.network[-1].bias.data.div_((brightness - brightness.mean()).norm())\n"
        "return model",
    ),
    "wants twenty images": bad(
        "copes_with_few_images",
        "raised IndexError",
        "task.clean.labels[20] if task.num_classes == 8 else None\nreturn model",
        marker="backdoor_defense",
    ),
    "only in colour": bad(
        "copes_with_two_grey_classes", "raised IndexError.*grey", "task.retain.images[:, 2]\nreturn model"
    ),
    "only eight classes": bad(
        "copes_with_two_grey_classes",
        "another structure: network.13",
        "if task.num_classes != 8:\n    model.network[-1] = nn.Linear(64, 8)\nreturn model",
    ),
    "data-free in name alone": bad(
        "looks_at_no_data_if_it_says_so",
        "network.13.bias differs by up to 16 with fewer clean images",
        "model.network[-1].bias.data.add_(len(task.clean))\nreturn model",
        marker="backdoor_defense",
        options=", data_free=True",
    ),
}  # fmt: skip
SLOW = {
    "by the clock": (Budget(seconds=0.2), "time.sleep(0.3)"),
    "beside training": (Budget(trainings=0.5), "for _ in range(3):\n    task.fit(task.fresh_model(), task.retain)"),
}


def assert_fails_alone(findings, check, why):
    assert [name for name, finding in findings.items() if finding.outcome == "fail"] == [check]
    assert re.search(why, findings[check].why), findings[check].why
    assert list(findings) == [each.name for each in CHECKS]


@pytest.mark.parametrize(("check", "why", "body", "different"), BAD.values(), ids=BAD)
def test_a_bad_method_fails_its_check_and_no_other(examine, check, why, body, different):
    assert_fails_alone(examine(body, **different), check, why)


@pytest.mark.parametrize(("budget", "body"), SLOW.values(), ids=SLOW)
def test_a_slow_method_is_not_called_again(examine, budget, body):
    findings = examine(f"calls.append(1)\nassert len(calls) == 1\n{body}\nreturn model", budget=budget)
    assert_fails_alone(findings, "stays_in_its_time_budget", r"a call took \d+\.\d s, training the model")
    assert findings["copes_with_few_images"].why == "says nothing before stays_in_its_time_budget passes"


def test_a_file_without_docstring_is_a_warning(examine):
    findings = examine(doc="")
    assert findings["is_documented"].outcome == "warning"
    assert {finding.outcome for name, finding in findings.items() if name != "is_documented"} == {"pass", "skipped"}


def test_every_check_is_failed_by_one_of_these_methods():
    elsewhere = {"is_documented", "stays_in_its_time_budget", "works_on_a_gpu"}
    assert {check for check, *_ in BAD.values()} | elsewhere == {check.name for check in CHECKS}
