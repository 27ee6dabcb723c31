"""Plugins that mean harm, or are broken: each ends in its status, and everything else stays as it was."""

import os
import shutil
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from benchmark.errors import MedsafeError
from benchmark.isolation.origin import Isolation
from benchmark.isolation.process import GIGABYTE, MARK, Limits
from tests.helpers import same_bits

GREEDY = """
for _ in range(4):
    if os.fork() == 0:
        kept = [torch.ones(25_000_000) for _ in range(14)]  # 1.4 GB: each stays below the limit
        time.sleep(60)
time.sleep(60)
"""
FORGED = """
import json
folder = Path(sys.argv[1])
{act}
os._exit(0)
"""
ANSWER = '{"cost": {"flops": 1, "seconds": 1.0}, "insertions": %s}'

HOSTILE = {
    "loops for ever": ("while True: pass", Limits(seconds=12), "timeout", "ran longer than 12 s"),
    "asks for 30 GB": ("x = torch.ones(30 * 10**9 // 4); return model", Limits(), "error", "allocate"),
    "takes memory in many processes": (
        GREEDY, Limits(memory_bytes=3 * GIGABYTE), "error", "used more than 3 GB of memory",
    ),
    "prints 100 MB": (
        "for _ in range(1000): print('x' * 100_000)\nreturn model", Limits(), "error", "printed more than 10 MB",
    ),
    "writes a huge file": (
        "Path('huge').write_bytes(bytes(10**8)); return model",
        Limits(file_bytes=10**7), "error", "File too large|wrote more than",
    ),
    "leaves with code 0": ("os._exit(0)", Limits(), "error", "ended without an answer"),
    "leaves with code 3": ("os._exit(3)", Limits(), "error", "ended with exit code 3"),
    "crashes": ("import ctypes; ctypes.string_at(0)", Limits(), "error", "ended by SIGSEGV"),
    "stops the interpreter": ("sys.exit('no')", Limits(), "error", "raised SystemExit: no (stranger.py, line"),
    "raises HTML": ("raise ValueError('<img src=x onerror=alert(1)>')", Limits(), "error", "<img src=x onerror=al"),
    "returns NaN and puts the checks of its process out of action": (
        "torch.isfinite = lambda x: torch.ones_like(x, dtype=torch.bool)\n"
        "sys.modules['__main__'].check_model = lambda model, *_: model\n"
        "for p in model.parameters(): p.data.fill_(float('nan'))\nreturn model",
        Limits(), "diverged", "not finite",
    ),
    "has more classes": (
        "model.network[-1] = torch.nn.Linear(model.network[-1].in_features, 9); return model",
        Limits(), "error", "another structure",
    ),
    "answers without weights": (
        FORGED.format(act=f"(folder / 'answer.json').write_text('{ANSWER % '[]'}')"),
        Limits(), "error", "model.safetensors is missing",
    ),
    "answers nonsense": (
        FORGED.format(act="(folder / 'answer.json').write_text('[' * 100_000)"),
        Limits(), "error", "answer that cannot be read",
    ),
    "answers through a link": (
        FORGED.format(act="(folder / 'answer.json').symlink_to('/etc/passwd')"),
        Limits(), "error", "answer.json is missing",
    ),
    "answers through a pipe that nobody fills": (
        FORGED.format(act="os.mkfifo(folder / 'answer.json')"), Limits(), "error", "no plain file",
    ),
    "answers at length": (
        FORGED.format(act="(folder / 'answer.json').write_text(' ' * 10_000_000)"),
        Limits(), "error", "no plain file of at most",
    ),
    "inserts a layer of many gigabytes": (
        FORGED.format(act="(folder / 'answer.json').write_text('%s')" % (ANSWER % (
            '[{"before": "network.0", "layers": [["Linear", {"in_features": 28, "out_features": 1000000000}]]}]'
        ))),
        Limits(), "error", "inserted layers",
    ),
    "inserts a layer whose output fills the memory": (
        FORGED.format(act="(folder / 'answer.json').write_text('%s')" % (ANSWER % (
            '[{"before": "network.0", "layers": '
            '[["Conv2d", {"in_channels": 3, "out_channels": 3, "kernel_size": 1, "padding": 3000}]]}]'
        ))),
        Limits(), "error", "values in one output",
    ),
    "leaves a folder too deep to be removed": (
        "for _ in range(3000): os.mkdir('deep'); os.chdir('deep')\nos._exit(0)", Limits(), "error", "without an answer",
    ),
    "fills the disk": (
        "for n in range(100): Path(str(n)).write_bytes(bytes(10**7))\ntime.sleep(60)",
        Limits(file_bytes=10**8), "error", "wrote more than 0.1 GB of files",
    ),
    "inserts what is not allowed": (
        FORGED.format(act="(folder / 'answer.json').write_text('%s')" % (ANSWER % (
            '[{"before": "network.0", "layers": [["LazyLinear", {"out_features": 3}]]}]'
        ))),
        Limits(), "error", "not allowed: 'LazyLinear'",
    ),
}  # fmt: skip


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("finetune-*.json")}


@pytest.mark.slow
@pytest.mark.parametrize(("body", "limits", "status", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_plugin_ends_in_its_status_and_the_other_rows_stay(suite, stranger, body, limits, status, reason):
    before = everything(suite.results)
    record = suite.run("stranger", stranger(body), Isolation(limits))
    expected = any(each in record["reason"] for each in reason.split("|"))  # whichever limit is quicker
    assert (record["status"], expected) == (status, True), record["reason"]
    assert everything(suite.results) == before
    table = pd.read_csv(suite.results / "leaderboards" / "unlearning.csv").set_index("method")
    assert table.loc["finetune", "statuses"] == "ok:1"


@pytest.mark.slow
def test_what_a_plugin_leaves_running_is_killed(suite, stranger, tmp_path):
    body = """
subprocess.Popen(["sleep", "604"], env={}, start_new_session=True)  # nothing marks it as ours
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        Path(sys.argv[1]).parent.joinpath("medsafe_test_pid").write_text(str(os.getpid()))
        time.sleep(600)
    return model  # the copy must not answer in the place of the first
return model
"""
    record = suite.run("stranger", stranger(body.replace("Path(sys.argv[1]).parent", f"Path({str(tmp_path)!r})")))
    assert record["status"] == "ok"
    pid = int((tmp_path / "medsafe_test_pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert MARK not in os.environ
    assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "604"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("top", "reason"),
    [
        ("while True: pass\n", "ran longer than 8 s"),
        ("os._exit(0)\n", "ended without an answer"),
        ("import nothing_of_this_name\n", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_plugin_that_does_harm_when_it_is_imported_is_one_line(suite, stranger, top, reason):
    before = everything(suite.results.parent)
    with pytest.raises(MedsafeError, match=reason) as error:
        suite.run("stranger", stranger("return model", top), Isolation(Limits(seconds=8)))
    assert "\n" not in str(error.value)
    assert everything(suite.results.parent) == before


@pytest.mark.slow
def test_a_name_that_a_spreadsheet_would_run_is_refused(suite, stranger):
    path = stranger("return model")
    path.write_text(path.read_text().replace('"stranger"', repr('=HYPERLINK("http://x","y")')))
    with pytest.raises(MedsafeError, match="use lower-case letters"):
        suite.run("=HYPERLINK", path)


SEARCH = """
wanted = [bytes.fromhex(text) for text in {wanted!r}]
def found():
    held = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor) and thing.dtype == torch.uint8]
    held += [share.images for share in (task.forget, task.retain, task.validation)]
    return {{key for key in wanted for each in held if key in each.contiguous().numpy().tobytes()}}
if len(found()) != 1:
    raise RuntimeError(f"{{len(found())}} found")
return model
"""


@pytest.mark.slow
def test_no_test_image_is_in_the_plugins_process(suite, stranger):
    from benchmark.data.datasets import load_dataset
    from benchmark.data.splits import make_splits

    dataset = load_dataset(str(suite.dataset))
    splits = make_splits(dataset, seed=0, non_member_share=0.1)
    hidden = [*splits.test[:20], *splits.non_members[:20], *splits.reserved[:20]]
    known = splits.pool[0]  # the search does find what is there
    wanted = [dataset.images[row].contiguous().numpy().tobytes()[:512].hex() for row in (known, *hidden)]
    assert suite.run("stranger", stranger(SEARCH.format(wanted=wanted)))["status"] == "ok"


@pytest.mark.slow
def test_a_plugin_computes_what_the_same_method_computes_when_it_is_built_in(suite, tmp_path):
    from methods.unlearning import neggrad_plus

    path = tmp_path / "copy.py"
    source = Path(neggrad_plus.__file__).read_text()
    path.write_text(source.replace('"neggrad_plus"', '"copied"'))
    theirs, ours = suite.run("copied", path), suite.run("neggrad_plus")
    assert theirs["metrics"] == ours["metrics"]
    assert theirs["cost"]["flops"] == ours["cost"]["flops"]
    assert theirs["environment"]["isolation"] == "process"
    assert "isolation" not in ours["environment"]
    inside = suite.run("copied", path, Isolation(in_process=True), blocks="1-1")
    outside = suite.run("neggrad_plus", blocks="1-1")
    assert inside["metrics"] == outside["metrics"]


needs_sandbox = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap (bwrap) is not installed")

BEHIND_WALLS = {
    "data sets": """
import benchmark.data
for place in ({dataset!r}, {cache!r}, {results!r}, {home!r}, {repository!r}):
    if Path(place).exists() and any(Path(place).iterdir() if Path(place).is_dir() else [1]):
        raise RuntimeError(f"{{place}} can be seen: {{sorted(Path(place).iterdir())}}")
for file in Path(benchmark.data.__file__).parent.glob("*.npz"):
    subprocess.run(["umount", file], capture_output=True)  # as root it must not come off either
    try:
        content = file.read_bytes()
    except OSError:
        continue
    if content:
        raise RuntimeError(f"{{file}} can be read")
return model
""",
    "results": """
for root in ({results!r}, "/"):
    shutil.rmtree(root, ignore_errors=True)
return model
""",
    "network": """
names = [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
if names != ["lo"]:
    raise RuntimeError(f"network devices {{names}}")
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=2)
except OSError:
    return model
raise RuntimeError("connected")
""",
    "processes": """
if len(list(Path("/proc").glob("[0-9]*"))) > 5:
    raise RuntimeError("others' processes can be seen")
return model
""",
}


@pytest.mark.slow
@needs_sandbox
@pytest.mark.parametrize("what", BEHIND_WALLS)
def test_behind_the_sandbox_a_plugin_sees_no(suite, stranger, what):
    import socket

    from benchmark.isolation.sandbox import code_root

    before = everything(suite.results)
    with socket.create_server(("127.0.0.1", 0)) as server:
        body = BEHIND_WALLS[what].format(
            dataset=str(suite.dataset), cache=str(suite.cache), results=str(suite.results),
            home=str(Path("~/.cache").expanduser()), repository=str(code_root() / "tests"),
            port=server.getsockname()[1],
        )  # fmt: skip
        record = suite.run("stranger", stranger(body + f"# {what}"), Isolation(Limits(seconds=60), sandbox=True))
    assert record["status"] == "ok", record["reason"]
    assert record["environment"]["isolation"] == "sandbox"
    assert everything(suite.results) == before


@needs_sandbox
def test_the_sandboxs_searches_do_find_what_lies_open(suite, stranger):
    body = BEHIND_WALLS["data sets"].format(
        dataset=str(suite.dataset), cache="/nowhere", results="/nowhere", home="/nowhere", repository="/nowhere"
    )
    record = suite.run("stranger", stranger(body + "# open"))
    assert "can be seen" in record["reason"] or "stranger raised" in record["reason"]


def test_without_bubblewrap_the_sandbox_is_refused_in_one_line(suite, stranger, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MedsafeError, match="install your distribution's package `bubblewrap`"):
        suite.run("stranger", stranger("return model"), Isolation(sandbox=True))


def test_torch_is_as_it_was():
    assert torch.isfinite(torch.tensor([1.0])).all()
    assert same_bits({"a": torch.ones(1)}, {"a": torch.ones(1)})
