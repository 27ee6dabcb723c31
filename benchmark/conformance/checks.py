"""The checks: small, named, in the order in which they are made; each says what it asks of a method, and why."""

import ast
import dataclasses
import inspect
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from benchmark.api import Diverged, MedsafeError, Unsupported
from benchmark.checks import (
    BrokenMethod,
    check_batches,
    check_finite,
    check_model,
    check_module,
    check_structure,
    check_weights_alone,
)
from benchmark.conformance.findings import Doubtful, Failed, Skipped
from benchmark.conformance.trials import Call, Trials
from benchmark.contracts.insertion import insertions_of, rebuild
from benchmark.training import predict


def is_documented(trials: Trials) -> None:
    """Its file begins with a docstring: paper, formula, and where the authors' code differs. Readers have no other."""
    module = sys.modules[trials.plugin.cls.__module__]
    if not (module.__doc__ or "").strip():
        raise Doubtful("its file has no docstring on top: name the paper and the objective as a formula")


def hyperparameters_are_frozen(trials: Trials) -> None:
    """It is a frozen dataclass: a record names the values with which a run began, so that they must not change."""
    if not trials.plugin.cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise Failed("decorate it with @dataclass(frozen=True)")


def hyperparameters_are_plain(trials: Trials) -> None:
    """Its defaults construct it and can be written as JSON: they are part of a run's identity."""
    trials.plugin.configure("published", {})


def presets_construct(trials: Trials) -> str:
    """Every named set of hyper-parameters constructs it: a typo shows here, and not after a night of training."""
    info = trials.plugin.info
    sizes = (40,) * len(info.source_sizes) if info.source_sizes else None
    for preset in info.presets:
        try:
            trials.plugin.configure(preset, {}, sizes)
        except MedsafeError as error:
            raise Failed(f"preset {preset}: {error}") from error
    return ", ".join(info.presets)


def names_no_device(trials: Trials) -> None:
    """Its code neither calls `.cuda()` nor puts anything on "cuda": what it gets is on the device it stays on."""
    for cls in filter(dataclasses.is_dataclass, trials.plugin.cls.__mro__):
        file = Path(getattr(sys.modules.get(cls.__module__), "__file__", None) or "")
        if file.suffix == ".py" and file.is_file():
            for line, words in _device_words(ast.parse(file.read_bytes())):
                raise Failed(f"{file.name}, line {line}: {words}; use the device of the images")


def returns_a_module(trials: Trials) -> str:
    """It returns an `nn.Module` in single precision, in which models are scored, from an ordinary task."""
    if trials.first.error is not None:
        raise Failed(f"{_said(trials.first.error)} ({trials.scene.text})")
    dtypes = {tensor.dtype for tensor in trials.model.state_dict().values() if tensor.is_floating_point()}
    if dtypes - {torch.float32}:
        raise Failed(f"its weights are {', '.join(map(str, dtypes))}: return them as torch.float32")
    return trials.scene.text


def stays_in_its_time_budget(trials: Trials) -> str:
    """One call takes less than so many trainings of the same network on the same images: else nobody will wait."""
    seconds, training, budget = trials.first.seconds, trials.scene.training_seconds, trials.budget
    if seconds > min(budget.seconds, budget.trainings * training):
        raise Failed(
            f"a call took {seconds:.1f} s, training the model {training:.2f} s: "
            f"at most {budget.trainings:g} times that, and {budget.seconds:g} s"
        )
    return f"{seconds:.2f} s, {seconds / training:.2g} times the training of the model"


def stays_on_the_device(trials: Trials) -> None:
    """The weights are where the images are: the suite decides what runs where."""
    device = trials.scene.sample.device
    for name, tensor in trials.model.state_dict().items():
        if tensor.device != device:
            raise Failed(f"{name} is on {tensor.device}, the images on {device}")


def keeps_the_number_of_classes(trials: Trials) -> None:
    """An image's answer has one logit for each class, also for a class that was forgotten (PROTOCOL 2.4)."""
    wanted = trials.scene.handout.network.num_classes
    shape = tuple(predict(trials.model, trials.scene.sample[:8]).shape)
    if shape != (8, wanted):
        raise Failed(f"8 images get logits of shape {shape}, not (8, {wanted})")


def keeps_the_architecture(trials: Trials) -> None:
    """Its weights have the names and shapes of the model it was given, but for layers added by `insert_before`."""
    check_structure(trials.model, _fresh(trials))


def weights_are_finite(trials: Trials) -> None:
    """Neither weights nor logits are NaN or infinite: such a model has no score (PROTOCOL 8.2)."""
    check_finite(trials.model, trials.scene.sample)


def answers_do_not_depend_on_the_batch(trials: Trials) -> None:
    """The same logits in batches of 1, 256 and a mixture: a patient's result may not hang on others (PROTOCOL 8.1)."""
    check_batches(trials.model, trials.scene.sample, trials.logits)


def weights_are_all_there_is(trials: Trials) -> None:
    """Saved, loaded as data alone and put into a new model the weights give the same logits: nothing is in a hook."""
    file = io.BytesIO()
    torch.save(trials.model.state_dict(), file)
    file.seek(0)
    weights = torch.load(file, weights_only=True)
    insertions = json.loads(json.dumps(insertions_of(trials.model)))
    check_weights_alone(weights, rebuild(_fresh(trials), insertions), trials.scene.sample, trials.logits)


def leaves_the_data_alone(trials: Trials) -> None:
    """It writes to none of the images and labels it is handed: other methods get the same ones after it."""
    if trials.first.overwritten:
        raise Failed(f"overwrites {', '.join(trials.first.overwritten)}: work on a clone")


def leaves_the_process_alone(trials: Trials) -> None:
    """Torch's settings and functions are as before, and nothing is seeded: the runs after it share the process."""
    if trials.first.left:
        raise Failed(f"leaves changed: {', '.join(trials.first.left)}")


def gives_the_same_bits_again(trials: Trials) -> None:
    """A second call from equal tasks and seeds gives equal weights: else no result can be checked by anybody."""
    if trials.again.error is not None:
        raise Failed(f"the second call {_said(trials.again.error)}")
    if trials.again.result is trials.first.result:
        raise Failed("returns the very model of an earlier call: it must compute anew")
    different = _difference(trials.model, check_module(trials.again.result))
    if different:
        raise Failed(f"{different} in a second call: draw from task.generator, or seed your own generator from it")


def copes_with_few_images(trials: Trials) -> str | None:
    """One image to forget, or two of each class to work with: a model that can be scored, or a plain refusal."""
    return _copes(trials.with_few)


def copes_with_two_grey_classes(trials: Trials) -> str | None:
    """Most data sets have one channel, some two classes: a model that can be scored, or a plain refusal."""
    return _copes(trials.on_grey)


def looks_at_no_data_if_it_says_so(trials: Trials) -> None:
    """A defence that is declared data-free is ranked as such: fewer images leave its result as it is."""
    if not trials.is_data_free:
        raise Skipped("it is not declared data-free")
    if trials.with_few.error is not None:
        raise Skipped("it refuses few images")
    different = _difference(trials.model, check_module(trials.with_few.result))
    if different:
        raise Failed(f"{different} with fewer clean images: leave `data_free=True` out")


def works_on_a_gpu(trials: Trials) -> str | None:
    """The same task on a GPU, where there is one."""
    if not torch.cuda.is_available():
        raise Skipped("no GPU here: checked on the CPU alone")
    if isinstance(trials.on_gpu.error, Unsupported | Diverged):
        raise Doubtful(_said(trials.on_gpu.error))
    return _copes(trials.on_gpu)


def _said(error: Exception) -> str:
    """An error of the method in words."""
    return str(error) if isinstance(error, BrokenMethod) else f"raised {type(error).__name__}: {error}"


def _fresh(trials: Trials) -> nn.Module:
    handout = trials.scene.handout
    return handout.network.build(handout.device, seed=0)


def _copes(call: Call) -> str | None:
    """Raise what is wrong with another call's result; a refusal is none."""
    if isinstance(call.error, Unsupported | Diverged):
        return _said(call.error)
    if call.error is not None:
        raise Failed(f"{_said(call.error)} ({call.scene.text})")
    handout = call.scene.handout
    check_model(call.result, handout.network.build(handout.device, seed=0), call.scene.sample)
    return call.scene.text


def _difference(model: nn.Module, other: nn.Module) -> str:
    """The first tensor in which two models differ, and by how much; empty where they are equal to the last bit."""
    weights = other.state_dict()
    for name, tensor in model.state_dict().items():
        if name not in weights or weights[name].shape != tensor.shape:
            return f"{name} is another tensor"
        if not torch.equal(tensor, weights[name]):
            return f"{name} differs by up to {float((tensor - weights[name]).abs().max()):.2g}"
    return ""


def _device_words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, words) of each call of `.cuda()`, and each that puts something on "cuda"."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="cuda")):
                yield node.lineno, "calls .cuda()"
            case ast.Call(func=function, args=places, keywords=named):
                moves = isinstance(function, ast.Attribute) and function.attr in ("to", "device")
                values = [*(places if moves else []), *(each.value for each in named if each.arg == "device")]
                for part in (part for value in values for part in ast.walk(value)):
                    text = part.value if isinstance(part, ast.Constant) else None
                    if isinstance(text, str) and re.match(r"cuda\b", text):
                        yield node.lineno, f'names "{text}"'


@dataclass(frozen=True)
class Check:
    """A check, and those without which it says nothing."""

    examine: Callable[[Trials], str | None]
    """Returns what is worth knowing. Raises Failed, Skipped or Doubtful, or what the method or its model raises."""
    needs: tuple[Callable[[Trials], str | None], ...] = ()

    @property
    def name(self) -> str:
        """What its finding is called."""
        return self.examine.__name__

    @property
    def asks(self) -> str:
        """What it asks of a method, and why."""
        return inspect.getdoc(self.examine) or ""


CAN_BE_SCORED = (weights_are_all_there_is, stays_in_its_time_budget)
"""What has to hold before the method is called again."""
CHECKS = (
    Check(is_documented),
    Check(hyperparameters_are_frozen),
    Check(hyperparameters_are_plain),
    Check(presets_construct, (hyperparameters_are_plain,)),
    Check(names_no_device),
    Check(returns_a_module, (hyperparameters_are_plain,)),
    Check(stays_on_the_device, (returns_a_module,)),
    Check(keeps_the_number_of_classes, (stays_on_the_device,)),
    Check(keeps_the_architecture, (keeps_the_number_of_classes,)),
    Check(weights_are_finite, (keeps_the_architecture,)),
    Check(answers_do_not_depend_on_the_batch, (weights_are_finite,)),
    Check(weights_are_all_there_is, (answers_do_not_depend_on_the_batch,)),
    Check(stays_in_its_time_budget, (returns_a_module,)),
    Check(leaves_the_data_alone, (returns_a_module,)),
    Check(leaves_the_process_alone, (returns_a_module,)),
    Check(gives_the_same_bits_again, CAN_BE_SCORED),
    Check(copes_with_few_images, CAN_BE_SCORED),
    Check(copes_with_two_grey_classes, CAN_BE_SCORED),
    Check(looks_at_no_data_if_it_says_so, (gives_the_same_bits_again, copes_with_few_images)),
    Check(works_on_a_gpu, CAN_BE_SCORED),
)
"""In the order in which they are made."""
