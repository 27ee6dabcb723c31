"""CUDA graphs: what can be shown without a GPU is that a recording leaves no trace and that whatever fails is eager."""

import contextlib
import logging
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark import graphs
from benchmark.api import Recipe, Split
from benchmark.cost import CostCounter
from benchmark.graphs import ReplayedLoss, Shell, fastest_convolutions, obstacle, undone
from benchmark.models import build_model
from benchmark.training import batch_loss, evaluation_batch, train
from tests.helpers import same_bits

IMAGES = torch.rand(8, 3, 12, 12, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 4
LINE = "\n"
RECIPE = Recipe("short", "sgd", 0.1, epochs=3, batch_size=8)


def model(dropout=0.0):
    net = build_model("cnn-small", channels=3, num_classes=4, seed=2).train()
    return nn.Sequential(net, nn.Dropout(dropout))


def loss_of(net):
    return partial(batch_loss, net, RECIPE, cache_casts=False)


def state(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def test_passes_inside_leave_statistics_and_random_stream_as_they_were():
    net = model(dropout=0.5)
    before, stream = state(net), torch.get_rng_state()
    with undone(net, torch.device("cpu")):
        loss_of(net)(IMAGES, LABELS).backward()
        assert not same_bits(before, state(net))
        assert not torch.equal(stream, torch.get_rng_state())
    assert same_bits(before, state(net))
    assert torch.equal(stream, torch.get_rng_state())


def test_the_buffers_that_are_put_back_are_the_same_tensors():
    net = model()
    buffers = [buffer.data_ptr() for buffer in net.buffers()]
    with undone(net, torch.device("cpu")):
        loss_of(net)(IMAGES, LABELS)
    assert [buffer.data_ptr() for buffer in net.buffers()] == buffers


def test_the_shell_has_the_models_parameters_and_loss_and_leaves_its_forward_alone():
    net = model()
    shell = Shell(net, loss_of(net))
    shell.forward = None  # what torch does to it
    assert [id(each) for each in shell.parameters()] == [id(each) for each in net.parameters()]
    assert "forward" not in vars(net)


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"])
def test_a_model_with_hooks_is_not_recorded(hook):
    net = model()
    assert obstacle(net) is None
    getattr(net[0].get_submodule("network")[0], hook)(lambda *_: None)
    assert obstacle(net) == "hooks on 0.network.0"


def test_other_things_that_a_replay_would_leave_out():
    net = model()
    net[0].get_submodule("network")[0].weight.register_hook(lambda gradient: gradient)
    assert obstacle(net) == "hooks on parameters"
    assert "no parameter" in obstacle(model().requires_grad_(False))
    with FlopCounterMode(display=False):
        assert "watches" in obstacle(model())


class Recorder:
    """Stands in for torch's recording: computes eagerly, on other memory, and says how often it was asked."""

    def __init__(self):
        self.shapes, self.replays, self.watched = [], 0, []

    def __call__(self, net, loss, images, labels):
        self.shapes.append(images.shape)

        def replay(images, labels):
            self.replays += 1
            with torch.utils._python_dispatch._disable_current_modes():  # a graph's operations are not seen
                return loss(images, labels)

        return replay


@pytest.fixture
def recorder(monkeypatch):
    made = Recorder()
    monkeypatch.setattr(graphs, "recorded", made)
    return made


def test_the_first_full_batch_and_every_other_shape_go_the_ordinary_way(recorder):
    loss = ReplayedLoss(net := model(), loss_of(net), batch_size=4)
    for size in (3, 4, 4, 3, 4, 5):
        loss(IMAGES[:size], LABELS[:size])
    assert recorder.shapes == [(4, 3, 12, 12)]
    assert recorder.replays == 2


def test_what_cannot_be_recorded_goes_on_eagerly_after_one_attempt(monkeypatch):
    attempts = []
    monkeypatch.setattr(graphs, "recorded", lambda *_: attempts.append(1))
    net, plain = model(), model()
    loss = ReplayedLoss(net, loss_of(net), batch_size=8)
    losses = [loss(IMAGES, LABELS) for _ in range(4)]
    assert losses == [loss_of(plain)(IMAGES, LABELS) for _ in range(4)]
    assert attempts == [1]


def test_a_replay_that_no_counter_can_see_is_billed_in_full(recorder):
    """What `train` does on a GPU, step for step, with a recording that hides its operations."""
    net, plain = model(), model()
    with CostCounter(torch.device("cpu")) as expected:
        for _ in range(5):
            loss_of(plain)(IMAGES, LABELS).backward()
    loss = ReplayedLoss(net, loss_of(net), batch_size=8)
    with CostCounter(torch.device("cpu")) as cost:
        for _ in range(5):
            with cost.repeated("step"):
                loss(IMAGES, LABELS).backward()
    assert recorder.replays == 4
    assert cost.flops == expected.flops > 0


def test_without_a_gpu_a_recording_fails_in_one_warning_and_leaves_no_trace(caplog):
    if torch.cuda.is_available():
        pytest.skip("a GPU can record")
    net = model(dropout=0.5)
    before = state(net)
    with caplog.at_level(logging.WARNING):
        assert graphs.recorded(net, loss_of(net), IMAGES, LABELS) is None
    assert len(caplog.records) == 1
    assert "training goes on step by step" in caplog.text
    assert same_bits(before, state(net))


class Machinery:
    """Stands in for torch's recording: rehearses as torch does, then computes eagerly what a graph would."""

    def __init__(self, monkeypatch, failure=None):
        self.failure, self.modes, self.shell = failure, [], None
        monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", self.modes.append)
        monkeypatch.setattr(torch.cuda, "make_graphed_callables", self.record)

    def record(self, shell, example, num_warmup_iters, allow_unused_input):
        assert self.modes == ["error", 0]  # what would wait is found out before
        trained = [each for each in shell.parameters() if each.requires_grad]
        for _ in range(num_warmup_iters):
            torch.autograd.grad(shell(*example), trained, allow_unused=allow_unused_input)
        if self.failure:
            raise self.failure
        self.shell = shell
        return shell


def test_a_recording_leaves_statistics_random_stream_and_gradients_as_they_were(monkeypatch):
    machinery, net = Machinery(monkeypatch), model(dropout=0.5)
    before, stream = state(net), torch.get_rng_state()
    replayed = graphs.recorded(net, loss_of(net), IMAGES, LABELS)
    assert replayed is machinery.shell is not None
    assert same_bits(before, state(net))
    assert torch.equal(stream, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in net.parameters())
    replayed(IMAGES, LABELS).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("failure", [RuntimeError("operation not permitted\nwhen stream is capturing"), MemoryError()])
def test_a_recording_that_breaks_leaves_no_trace_either(monkeypatch, caplog, failure):
    Machinery(monkeypatch, failure)
    net = model(dropout=0.5)
    before, stream = state(net), torch.get_rng_state()
    assert graphs.recorded(net, loss_of(net), IMAGES, LABELS) is None
    assert same_bits(before, state(net))
    assert torch.equal(stream, torch.get_rng_state())
    assert [record.getMessage() for record in caplog.records] == [
        f"no CUDA graph, training goes on step by step: {type(failure).__name__}: {str(failure).partition(LINE)[0]}"
    ]


def test_a_model_that_would_wait_is_found_out_and_the_mode_put_back(monkeypatch):
    machinery, net = Machinery(monkeypatch), model()

    def loss(images, labels):
        raise RuntimeError("called a synchronizing CUDA operation")

    assert graphs.recorded(net, loss, IMAGES, LABELS) is None
    assert machinery.modes == ["error", 0]
    assert machinery.shell is None


def test_on_a_cpu_nothing_is_recorded_however_often_a_shape_comes(monkeypatch):
    asked = []
    monkeypatch.setattr(graphs, "recorded", lambda *arguments: asked.append(arguments))
    images = (IMAGES * 255).to(torch.uint8)
    train(model(), Split(images, LABELS, seed=0), RECIPE, often=0)
    assert not asked


def test_convolutions_are_tried_out_inside_alone():
    before = torch.backends.cudnn.benchmark
    with pytest.raises(KeyError), fastest_convolutions(True):
        assert torch.backends.cudnn.benchmark
        raise KeyError
    assert torch.backends.cudnn.benchmark == before
    with fastest_convolutions(False):
        assert torch.backends.cudnn.benchmark == before


def test_a_cpu_predicts_1024_images_at_a_time():
    assert evaluation_batch((IMAGES * 255).to(torch.uint8)) == 1024


class Reads(nn.Module):
    """Waits for the GPU in its forward pass, which no graph can record."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        logits = self.net(images)
        return logits * (1.0 if logits.sum().item() < 1e9 else 2.0)


@pytest.mark.gpu
class TestOnAGpu:
    """What the rest stands on; needs a CUDA device."""

    @pytest.fixture(autouse=True)
    def gpu(self):
        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU")

    @pytest.fixture
    def split(self):
        images = torch.randint(0, 256, (70, 3, 28, 28), dtype=torch.uint8, device="cuda")
        return lambda: Split(images, torch.arange(70, device="cuda") % 4, seed=0)

    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_replayed_training_follows_the_ordinary_one(self, split, precision):
        recipe = Recipe("short", "sgd", 0.05, epochs=3, batch_size=16, precision=precision)
        losses = {}
        for often in (0, 10**9):
            told = []
            train(model().cuda(), split(), recipe, on_loss=told.append, often=often)
            losses[often] = told
        assert losses[0] == pytest.approx(losses[10**9], rel=0.02)

    def test_the_bill_is_that_of_ordinary_training(self, split):
        bills = []
        for often in (0, 10**9):
            with CostCounter(torch.device("cuda")) as cost:
                train(model().cuda(), split(), RECIPE, counted=cost.repeated, often=often)
            bills.append(cost.flops)
        assert bills[0] == bills[1] > 0

    def test_a_model_that_waits_for_the_gpu_trains_eagerly_and_leaves_the_process_sound(self, split, caplog):
        train(Reads(model(dropout=0.5)).cuda(), split(), RECIPE, often=0)
        assert "training goes on step by step" in caplog.text
        caplog.clear()
        train(model(dropout=0.5).cuda(), split(), RECIPE, often=0)
        assert not caplog.records

    def test_a_recording_leaves_statistics_and_random_stream_as_they_were(self):
        net = model(dropout=0.5).cuda().train()
        before, stream = state(net), torch.cuda.get_rng_state()
        assert graphs.recorded(net, loss_of(net), IMAGES.cuda(), LABELS.cuda()) is not None
        assert same_bits(before, state(net))
        assert torch.equal(stream, torch.cuda.get_rng_state())

    def test_batches_are_served_channels_last(self, split):
        images, _ = next(split().batches(16, epochs=1))
        assert images.is_contiguous(memory_format=torch.channels_last)
