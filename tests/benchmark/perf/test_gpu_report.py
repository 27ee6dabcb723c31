"""A GPU's report: written as it goes, claims nothing without a GPU, and every section runs, here on a CPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.api import MedsafeError
from benchmark.data.datasets import load_dataset
from benchmark.perf import gpu, gpu_process
from benchmark.perf.gpu_report import SCHEMA, Report, measure_all, row
from benchmark.perf.gpu_setting import QUICK, Figure, Setting, blood_sized, enlarged
from benchmark.perf.gpu_throughput import complaints, throughput
from benchmark.perf.report import tables

CPU = torch.device("cpu")
ROOT = Path(gpu.__file__).parents[2]
ABSENT = ("medmnist", "platformdirs", "psutil", "pydantic", "typer", "rich", "wandb", "ray")


def report():
    return Report({"device": "Card X"})


def written(folder, name="gpu-card-x"):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_without_a_gpu_nothing_is_claimed(no_gpu, tmp_path):
    made = gpu.run(tmp_path, "auto", None, quick=False, seconds=1)
    content = written(tmp_path, "gpu-none")
    assert content["machine"]["device"] is None
    assert set(content["sections"]) == set(gpu.SECTIONS)
    figures = [figure for section in content["sections"].values() for figure in section["figures"]]
    assert {(figure["value"], figure["note"]) for figure in figures} == {(None, "torch sees no GPU")}
    assert made.markdown().count("| not measured |  | torch sees no GPU |") == len(gpu.SECTIONS)


def test_a_cpu_is_reported_on_only_as_a_test(no_gpu, tmp_path):
    with pytest.raises(MedsafeError, match="add --quick"):
        gpu.run(tmp_path, "cpu", None, quick=False, seconds=1)
    with pytest.raises(MedsafeError, match="did you mean 'plain'"):
        gpu.run(tmp_path, "cpu", ["plein"], quick=True, seconds=1)
    assert not list(tmp_path.iterdir())


def test_a_users_error_is_one_line_and_exit_code_2(no_gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu", "--output", str(tmp_path), "--device", "cpu"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_section_that_fails_is_recorded_and_the_others_go_on(tmp_path):
    def broken(setting):
        yield Figure("half", 1.0, "s")
        raise RuntimeError("out of luck\nand more")

    def sound(setting):
        yield Figure("whole", 2.0, "s", "at most 3 s", "a note")

    made = report()
    measure_all(made, {"broken": broken, "sound": sound}, Setting(CPU, QUICK), tmp_path)
    sections = written(tmp_path)["sections"]
    assert sections["broken"]["error"] == "RuntimeError: out of luck"
    assert [figure["value"] for name in ("broken", "sound") for figure in sections[name]["figures"]] == [1.0, 2.0]
    assert "| half | 1 s |" in made.markdown()
    assert "| broken | not measured |  | RuntimeError: out of luck |" in made.markdown()
    assert (tmp_path / "gpu-card-x.md").read_text() == made.markdown() + "\n"


def test_what_is_measured_is_on_the_disk_before_anything_else_is(tmp_path):
    def section(setting):
        yield Figure("first", 1.0)
        assert [each["what"] for each in written(tmp_path)["sections"]["section"]["figures"]] == ["first"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_all(report(), {"section": section}, Setting(CPU, QUICK), tmp_path)
    assert written(tmp_path)["schema"] == SCHEMA


def test_when_the_time_is_over_nothing_is_begun_and_no_training_goes_on(tmp_path):
    now = [0.0]
    setting, begun = Setting(CPU, QUICK, seconds=10, clock=lambda: now[0]), []

    def training(setting):
        yield Figure("before", 1.0)
        for epoch in setting.progress(range(100), "training"):
            begun.append(epoch)
            now[0] += 4

    def later(setting):
        begun.append("later")
        yield Figure("later", 1.0)

    measure_all(report(), {"training": training, "later": later}, setting, tmp_path)
    assert begun == [0, 1, 2]
    sections = written(tmp_path)["sections"]
    assert sections["training"]["error"] == sections["later"]["error"] == "OutOfTime: the report's 10 seconds were over"
    assert len(sections["training"]["figures"]) == 1


def test_a_cell_cannot_break_the_table():
    assert row(Figure("a|b", 12345.678, "images/s", None, "x\ny")) == "| a\\|b | 12,345.7 images/s |  | x y |"


def test_data_of_official_size_are_real_images_turned_and_mirrored():
    data = load_dataset("bloodmini")
    images, labels = data.images[:5], data.labels[:5]
    many, their_labels = enlarged(images, labels, 42)
    assert many.shape == (42, *images.shape[1:])
    assert torch.equal(many[:5], images)
    assert torch.equal(many[5], images[0].rot90(1, (1, 2)))
    assert torch.equal(many[20], images[0].flip(2))
    assert torch.equal(many[40:], images[:2])
    assert torch.equal(their_labels, labels.repeat(9)[:42])
    assert len({image.numpy().tobytes() for image in many[:40]}) == 40
    assert blood_sized((30, 12, 7)).images.shape[0] == 49


def test_a_graph_that_was_not_recorded_is_said_beside_the_figure():
    import benchmark.graphs

    with complaints() as said:
        benchmark.graphs.LOG.warning("no CUDA graph: %s", "hooks")
    assert said == ["no CUDA graph: hooks"]
    benchmark.graphs.LOG.warning("later")
    assert said == ["no CUDA graph: hooks"]


def test_the_table_of_processors_leaves_gpus_out(tmp_path):
    report().save(tmp_path)
    assert tables(tmp_path) == ""


def test_throughput_without_a_gpu_has_no_figure_of_a_graph():
    figures = list(throughput(Setting(CPU, QUICK)))
    assert all(figure.value is None for figure in figures if "graph" in figure.what or "memory" in figure.what)
    assert all(figure.value > 0 for figure in figures if "eager" in figure.what)


def test_a_training_process_that_breaks_is_an_error_with_its_last_line():
    command = [sys.executable, "-c", "raise SystemExit('out of memory')"]
    with pytest.raises(RuntimeError, match="out of memory"), gpu_process._started(command) as process:
        gpu_process._read(process, gpu_process.READY)
    assert process.returncode is not None


@pytest.mark.slow
def test_every_section_runs_from_the_repository_without_what_a_gpus_machine_may_lack(tmp_path):
    program = f"""
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
sys.argv = ["gpu", "--output", {str(tmp_path)!r}, "--device", "cpu", "--quick"]
from benchmark.perf.gpu import main
main()
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    sections = written(tmp_path, "gpu-cpu-quick")["sections"]
    assert set(sections) == set(gpu.SECTIONS)
    assert [section.get("error") for section in sections.values()] == [None] * len(sections)
    figures = [figure for section in sections.values() for figure in section["figures"]]
    assert all(figure["value"] is not None or figure["note"] == "no GPU" for figure in figures)
    assert {"SalUn, defaults", "cnn-small, 2 at once against 1"} <= {figure["what"] for figure in figures}
