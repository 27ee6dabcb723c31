"""The doctor finds what is wrong, names it, and says what to do; and finds nothing where nothing is."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from benchmark import cli, doctor
from benchmark.data import catalogue
from benchmark.doctor import (
    check_browser,
    check_cache,
    check_data,
    check_devices,
    check_machine,
    check_packages,
    check_results,
    check_sandbox,
    examine,
)
from benchmark.store.artifacts import ArtifactStore
from benchmark.store.records import RecordStore
from tests.benchmark.leaderboard.factory import make_record

OFFICIAL = "breastmnist"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No data set is on this machine but the embedded one."""
    monkeypatch.delenv("MEDSAFE_DATA", raising=False)
    monkeypatch.setattr("benchmark.data.download.medmnist_root", lambda: tmp_path / "medmnist")


@pytest.fixture
def official(tmp_path, monkeypatch):
    """A folder with a file whose checksum counts as that of an official data set."""
    folder = tmp_path / "medmnist"
    folder.mkdir()
    embedded = resources.files("benchmark.data") / "bloodmini.npz"
    shutil.copyfile(str(embedded), folder / f"{OFFICIAL}.npz")
    stand_in = replace(catalogue.entry_of_name(OFFICIAL), md5=catalogue.EMBEDDED_MD5)
    others = catalogue.entry_of_name
    monkeypatch.setattr(catalogue, "entry_of_name", lambda name: stand_in if name == OFFICIAL else others(name))
    return folder / f"{OFFICIAL}.npz"


def by_subject(findings):
    return {finding.subject: finding for finding in findings}


def test_where_all_is_well_there_is_nothing_to_do(tmp_path, cache):
    ArtifactStore(cache).get_or_create({"kind": "original"}, lambda folder: {})
    RecordStore(tmp_path / "results").write(make_record("finetune"))
    found = list(examine(tmp_path / "results", cache))
    assert [finding for finding in found if finding.level == "problem"] == []
    said = {finding.subject: finding.what for finding in found}
    assert said["torch"] == torch.__version__
    assert said["bloodmini"].endswith("bloodmini.npz, md5 as published")
    assert said["cache"].startswith("1 artifacts")
    assert said["records"] == f"1 in {tmp_path / 'results' / 'records'}, all whole"
    assert all((finding.level == "ok") == (not finding.remedy) for finding in found)


def test_looking_leaves_nothing_behind(tmp_path):
    list(examine(tmp_path / "results", tmp_path / "cache"))
    assert list(tmp_path.iterdir()) == []


def test_an_official_file_is_found_and_verified(official):
    finding = by_subject(check_data(None))[OFFICIAL]
    assert (finding.level, finding.what) == ("ok", f"{official}, md5 as published")


def test_a_damaged_file_is_named_with_the_way_to_replace_it(official):
    content = bytearray(official.read_bytes())
    content[1000] ^= 1
    official.write_bytes(content)
    finding = by_subject(check_data(None))[OFFICIAL]
    assert finding.level == "problem"
    assert f"{official} is damaged or altered" in finding.what
    assert "delete it, and fetch it again" in finding.remedy


def test_missing_data_sets_are_downloaded_or_have_to_be_put_into_the_users_folder(tmp_path, official):
    finding = by_subject(check_data(None))["data"]
    assert finding.level == "ok"
    assert "pathmnist" in finding.what
    assert "downloaded" in finding.what
    assert OFFICIAL not in finding.what
    (tmp_path / "mine").mkdir()
    finding = by_subject(check_data(tmp_path / "mine"))["data"]
    assert finding.level == "warning"
    assert OFFICIAL in finding.what  # the folder that is named is the only one
    assert finding.remedy == f"put the files into {tmp_path / 'mine'}"


def test_a_data_folder_that_is_not_there_is_a_problem(tmp_path, monkeypatch):
    levels = {finding.what: finding.level for finding in check_data(tmp_path / "no")}
    assert levels[f"--data-root {tmp_path / 'no'} is no folder"] == "problem"
    monkeypatch.setenv("MEDSAFE_DATA", str(tmp_path / "nor this"))
    levels = {finding.what: finding.level for finding in check_data(None)}
    assert levels[f"MEDSAFE_DATA {tmp_path / 'nor this'} is no folder"] == "problem"


def test_a_results_folder_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "results").write_text("a file in its place")
    finding = by_subject(check_results(tmp_path / "results"))["results"]
    assert finding.level == "problem"
    assert finding.what == f"{tmp_path / 'results'} cannot be written: Not a directory"
    assert "--results" in finding.remedy


def test_every_record_that_is_not_whole_is_named(tmp_path):
    store = RecordStore(tmp_path)
    store.write(make_record("finetune"))
    truncated, empty = store.write(make_record("salun")), store.write(make_record("retrain"))
    truncated.write_text(truncated.read_text()[:300])
    empty.write_text(json.dumps({}))
    problems = [finding for finding in check_results(tmp_path) if finding.level == "problem"]
    assert {finding.what for finding in problems} == {f"{path} is no whole record" for path in (truncated, empty)}
    assert all("delete it" in finding.remedy for finding in problems)


def test_a_cache_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "file").touch()
    finding = by_subject(check_cache(tmp_path / "file" / "cache"))["cache"]
    assert finding.level == "problem"
    assert "MEDSAFE_CACHE" in finding.remedy


def test_leftovers_of_killed_runs_are_counted_and_those_at_work_are_not(cache):
    store = ArtifactStore(cache)
    for name in ("killed", "working"):
        folder = cache / f"{name}.0123.tmp"
        folder.mkdir()
        (folder / "model").write_bytes(bytes(2_000_000))
    with FileLock(store.root / "locks" / "working.lock"):
        (finding,) = [finding for finding in check_cache(cache) if finding.level != "ok"]
    assert finding.what == "1 leftovers of killed runs, 2.0 MB"
    assert f"rm -r {cache}/*.tmp" in finding.remedy


def test_little_room_on_the_disk_is_a_warning_and_none_a_problem(tmp_path, monkeypatch):
    levels = []
    for free in (50e9, 1.5e9, 50e6):
        usage = shutil.disk_usage(tmp_path)._replace(free=int(free))
        monkeypatch.setattr("benchmark.doctor.shutil.disk_usage", lambda _, usage=usage: usage)
        levels.append(by_subject(check_results(tmp_path))["results"].level)
    assert levels == ["ok", "warning", "problem"]


def test_little_memory_is_a_warning(monkeypatch):
    assert by_subject(check_machine())["cpu"].what.endswith(f"{torch.get_num_threads()} threads in torch")
    memory = doctor.psutil.virtual_memory()._replace(available=10**9)
    monkeypatch.setattr("benchmark.doctor.psutil.virtual_memory", lambda: memory)
    finding = by_subject(check_machine())["memory"]
    assert (finding.level, finding.what[:6]) == ("warning", "1.0 GB")


def test_without_bubblewrap_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = check_sandbox()
    assert (finding.level, finding.what) == ("warning", "--sandbox needs bubblewrap")
    assert "install your distribution's package `bubblewrap`" in finding.remedy


def test_a_bubblewrap_that_is_not_allowed_to_work_is_found_out_by_trying_it(tmp_path, monkeypatch):
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (finding,) = check_sandbox()
    assert finding.level == "warning"
    assert "setting up uid map: Permission denied" in finding.what
    assert finding.remedy.startswith("allow user namespaces")


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_the_bubblewrap_of_this_machine_is_judged_by_what_it_can():
    trial = subprocess.run(["bwrap", "--ro-bind", "/", "/", "--unshare-all", "true"], capture_output=True, check=False)
    (finding,) = check_sandbox()
    assert finding.level == ("warning" if trial.returncode else "ok")


def test_a_browser_is_looked_for_and_its_lack_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (finding,) = check_browser()
    assert finding.level == "warning"
    browser = tmp_path / "chromium"
    browser.touch(mode=0o755)
    (finding,) = check_browser()
    assert (finding.level, finding.what) == ("ok", str(browser))


def test_a_package_that_does_not_import_is_a_problem_and_the_other_checks_go_on(tmp_path, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    found = by_subject(check_packages())
    assert found["torchvision"].level == "problem"
    assert "cannot be imported" in found["torchvision"].what
    assert found["numpy"].level == "ok"
    monkeypatch.setitem(sys.modules, "torch", None)
    found = by_subject(examine(tmp_path, cache))
    assert {found[name].level for name in ("torch", "device", "machine")} == {"problem"}
    assert found["browser"].subject == "browser"


def test_a_gpu_that_torch_does_not_see_is_a_warning(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("benchmark.doctor.Path.glob", lambda *_: iter([Path("/dev/nvidia0")]))
    (finding,) = check_devices()
    assert finding.level == "warning"
    assert "sees none" in finding.what


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_named_once_it_has_computed_something():
    findings = by_subject(check_devices())
    assert (findings["cuda:0"].level, torch.cuda.get_device_name(0) in findings["cuda:0"].what) == ("ok", True)


def test_the_command_ends_with_0_where_nothing_is_wrong_and_with_1_where_something_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["medsafe", "doctor", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, capsys.readouterr().out

    code, out = call()
    assert code == 0
    assert "problems: 0" in out
    (tmp_path / "results [bold]").touch()
    code, out = call("--results", "results [bold]")
    assert code == 1
    assert "problem results         results [bold] cannot be written: Not a directory" in out
    assert "-> choose another folder with --results" in out


@pytest.mark.slow
def test_in_a_process_of_its_own_it_takes_seconds(tmp_path):
    medsafe = str(Path(sys.executable).with_name("medsafe"))
    done = subprocess.run([medsafe, "doctor"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "bloodmini" in done.stdout
