"""Official files are downloaded through the medmnist package, whole or not at all."""

import gc
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import medmnist
import pytest

from benchmark.api import MedsafeError
from benchmark.data import download
from benchmark.data.datasets import load_dataset


@pytest.fixture
def server(monkeypatch):
    """A server on this machine that medmnist takes for the one with breastmnist; set `.content` to what it serves."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = self.server.content
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content) + self.server.cut))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    web = HTTPServer(("127.0.0.1", 0), Handler)
    web.content, web.cut = b"", 0
    thread = threading.Thread(target=web.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{web.server_port}/breastmnist.npz?download=1"
    monkeypatch.setitem(medmnist.INFO["breastmnist"], "url", address)
    yield web
    web.shutdown()
    thread.join()
    web.server_close()


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """An empty MedMNIST folder, not yet made, and no other."""
    monkeypatch.setattr("medmnist.info.DEFAULT_ROOT", str(tmp_path / "medmnist"))
    monkeypatch.delenv("MEDSAFE_DATA", raising=False)
    return tmp_path / "medmnist"


def refusal() -> str:
    with pytest.raises(MedsafeError) as caught:
        load_dataset("breastmnist")
    assert len(str(caught.value).splitlines()) == 1
    line = str(caught.value)
    del caught
    gc.collect()  # an answer that was left open is warned of here, not in a later test
    return line


def test_a_missing_file_is_downloaded_once(server, root, real_files):
    server.content = (real_files / "breastmnist.npz").read_bytes()
    assert load_dataset("breastmnist").sizes == (546, 78, 156)
    assert [path.name for path in root.iterdir()] == ["breastmnist.npz"]
    server.content = b""
    assert load_dataset("breastmnist").sizes == (546, 78, 156)


def test_processes_that_download_at_once_do_not_harm_each_other(server, root, real_files):
    server.content = (real_files / "breastmnist.npz").read_bytes()
    code = (
        "import medmnist, medmnist.info, sys; from benchmark.data.datasets import load_dataset\n"
        "medmnist.INFO['breastmnist']['url'], medmnist.info.DEFAULT_ROOT = sys.argv[1:]\n"
        "sys.exit(load_dataset('breastmnist').sizes != (546, 78, 156))"
    )
    command = [sys.executable, "-c", code, medmnist.INFO["breastmnist"]["url"], str(root)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert [path.name for path in root.iterdir()] == ["breastmnist.npz"]


@pytest.mark.parametrize("served", ["truncated", "another file", "cut off", "nothing"])
def test_what_is_not_the_official_file_leaves_nothing_behind(server, root, real_files, served):
    whole = (real_files / "breastmnist.npz").read_bytes()
    server.content = {
        "truncated": whole[:-1000],
        "another file": (real_files / "retinamnist.npz").read_bytes(),
        "cut off": whole[:1000],
        "nothing": b"",
    }[served]
    server.cut = 500 if served == "cut off" else 0  # announces more than it sends
    line = refusal()
    assert "breastmnist" in line
    assert "--data-root" in line
    assert list(root.iterdir()) == []


def test_without_a_network_one_line_says_what_is_missing_and_how_to_provide_it(root, monkeypatch):
    monkeypatch.setitem(medmnist.INFO["breastmnist"], "url", "http://127.0.0.1:9/breastmnist.npz")  # nobody listens
    line = refusal()
    for words in ("breastmnist.npz", medmnist.INFO["breastmnist"]["MD5"], "connect once", "--data-root FOLDER"):
        assert words in line
    assert str(root) in line


def test_a_server_that_never_answers_is_given_up(root, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/breastmnist.npz"
        monkeypatch.setitem(medmnist.INFO["breastmnist"], "url", address)
        assert "timed out" in refusal()
    assert socket.getdefaulttimeout() is None


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("medmnist.info.DEFAULT_ROOT", str(tmp_path / "file" / "medmnist"))
    monkeypatch.delenv("MEDSAFE_DATA", raising=False)
    assert "--data-root" in refusal()


def test_an_interruption_by_the_user_is_no_failed_download(root, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.utils.download_url", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("breastmnist")
    assert list(root.iterdir()) == []
