"""A stand-in for a wandb server on this machine, and a reader of the files that wandb writes."""

import gzip
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

HEADER, BLOCK, PIECE = b":W&B", 32768, struct.Struct("<IHB")


class Server(ThreadingHTTPServer):
    """Accepts one run, and keeps what it is sent."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url, self.sent, self.connections = f"http://127.0.0.1:{self.server_port}", [], 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, request, client_address):
        """A client that hangs up is no news."""

    def stop(self):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        """Quiet."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = (gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body).decode()
        self.server.sent.append(f"{self.path}\n{self.headers}\n{text}")
        answer = json.dumps(self.answer(json.loads(text)) if self.path.endswith("graphql") else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_PUT(self):
        self.do_POST()

    def answer(self, request):
        values = request["variables"]
        project = {"id": "p", "name": "medsafe-bench", "entity": {"id": "e", "name": "somebody"}}
        bucket = {"id": "r", "name": values.get("name"), "config": "{}", "historyLineCount": 0, "project": project}
        files = [{"name": name, "uploadUrl": f"{self.server.url}/{name}"} for name in values.get("files", [])]
        created = {"runID": "r", "uploadHeaders": [], "files": files}
        return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}, "createRunFiles": created}}


def entries(file: Path) -> list[Record]:
    """Everything in a `.wandb` file: a log in LevelDB's format, of messages that may lie in several pieces."""
    data, found, message, place = file.read_bytes(), [], b"", 7
    assert data.startswith(HEADER)
    while place < len(data):
        if BLOCK - place % BLOCK < PIECE.size:
            place += BLOCK - place % BLOCK
            continue
        _, size, kind = PIECE.unpack_from(data, place)
        message += data[place + PIECE.size : place + PIECE.size + size]
        place += PIECE.size + size
        if kind in (1, 4):  # whole, or the last piece
            found.append(Record.FromString(message))
            message = b""
    return found


def history(file: Path) -> list[dict[str, object]]:
    """The rows that were logged."""
    rows = [entry.history for entry in entries(file) if entry.WhichOneof("record_type") == "history"]
    return [{"/".join(item.nested_key): json.loads(item.value_json) for item in row.item} for row in rows]


def summary(file: Path) -> dict[str, object]:
    """The last value of everything."""
    updates = [item for entry in entries(file) for item in entry.summary.update]
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates}
