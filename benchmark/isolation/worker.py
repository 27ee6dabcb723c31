"""The plugin's process: reads its order, loads the plugin, does what is asked, and leaves an answer.

`python -m benchmark.isolation.worker FOLDER`. Whatever runs in here after the plugin was loaded may have been changed
by it: the suite believes nothing of the answer that it has not checked itself.
"""

import contextlib
import dataclasses
import json
import os
import resource
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmark.api import Diverged, Unsupported
from benchmark.checks import BrokenMethod, check_model
from benchmark.contracts.insertion import insertions_of
from benchmark.describe import describe
from benchmark.errors import MedsafeError
from benchmark.handout import carry_out
from benchmark.isolation.messages import ANSWER, FINDINGS, ORDER, WEIGHTS, Answer, Cost, Inserted, Order, read_handout
from benchmark.registry import Plugin, find, from_entry_point, in_file
from benchmark.training import silent

SAMPLE = 300
"""Images on which a model's logits are compared between batch sizes."""


def main(folder: Path) -> None:
    """Carry out the order in the folder."""
    started = os.getpid()
    order = Order.model_validate_json((folder / ORDER).read_text())
    torch.set_num_threads(order.threads)
    _limit(order)
    try:
        answer = OPERATIONS[order.operation](order, folder)
    except MedsafeError as error:
        answer = Answer(outcome="refused", reason=str(error)[:5000])
    except Unsupported as error:
        answer = Answer(outcome="unsupported", reason=str(error)[:5000])
    except Diverged as error:
        answer = Answer(outcome="diverged", reason=str(error)[:5000])
    except BrokenMethod as error:
        answer = Answer(outcome="broken", reason=str(error)[:5000])
    if os.getpid() != started:
        os._exit(1)  # a copy that the plugin forked: it has nothing to say
    (folder / ANSWER).write_text(answer.model_dump_json())


def _limit(order: Order) -> None:
    """The limits that the system itself keeps; memory is watched from outside as well."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (order.file_bytes, order.file_bytes))
        if order.device == "cpu":  # a GPU's driver reserves address space by the terabyte
            data = _data_bytes() + order.memory_bytes
            resource.setrlimit(resource.RLIMIT_DATA, (data, data))


def _data_bytes() -> int:
    """What the process takes before the plugin is loaded."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmData:")[2].split()[0])


def _describe(order: Order, folder: Path) -> Answer:
    plugins = in_file(Path(order.file)) if order.file else [_plugin(order)]
    return Answer(descriptions=[describe(plugin.cls) for plugin in plugins])


def _configure(order: Order, folder: Path) -> Answer:
    method = _plugin(order).configure(order.preset, order.parameters, order.sizes)
    return Answer(hyperparameters=json.loads(json.dumps(dataclasses.asdict(method))))


def _carry_out(order: Order, folder: Path) -> Answer:
    handout = read_handout(folder, torch.device(order.device))
    method = _plugin(order).with_values(order.hyperparameters)
    result, cost = carry_out(method, handout, order.seed, silent)
    sample = next(iter(handout.shares.values())).images[:SAMPLE]
    model = check_model(result, handout.network.build(handout.device, 0), sample)
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    insertions = [Inserted.model_validate(json.loads(json.dumps(each))) for each in insertions_of(model)]
    return Answer(cost=Cost(flops=int(cost["flops"]), seconds=cost["seconds"]), insertions=insertions)


def _check(order: Order, folder: Path) -> Answer:
    from benchmark.conformance import check_method

    with (folder / FINDINGS).open("w") as file:
        for finding in check_method(_plugin(order)):
            file.write(json.dumps(dataclasses.asdict(finding)) + "\n")
            file.flush()
    return Answer()


def _plugin(order: Order) -> Plugin:
    if order.entry is not None:
        point = EntryPoint(order.name, order.entry, f"medsafe.{order.kind}")
        return from_entry_point(point, order.kind)
    return find(order.kind, order.name, Path(order.file) if order.file else None)


OPERATIONS = {"describe": _describe, "configure": _configure, "carry out": _carry_out, "check": _check}

if __name__ == "__main__":
    main(Path(sys.argv[1]))
