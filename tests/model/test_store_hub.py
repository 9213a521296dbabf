"""The store against a hub made of a local server: the real client, in a process of its own."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WHOLE = os.urandom(141_234)
SHA256 = hashlib.sha256(WHOLE).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """What `huggingface_hub` asks of the hub for one file."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{SHA256}"')
        self.send_header("Content-Length", str(len(WHOLE)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(WHOLE)

    def log_message(self, *args: object) -> None:
        pass


HUB_PULLER = """
import sys
from pathlib import Path
from holefill.model.known import HubFile, KnownModel
from holefill.model.sources import HubSource
from holefill.model.store import ModelStore
model = KnownModel("tiny", "qwen2", "tiny.gguf", {size}, {sha!r}, "x", HubFile("nobody/tiny", "main"), None)
steps = []
ModelStore(Path({root!r}), {{"tiny": model}}, (HubSource(),), "tiny").pull("tiny", lambda *s: steps.append(s))
assert max(done for done, _, what in steps if "hub" in what) == {size}, steps
"""


def test_the_hub_serves_with_progress(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = tmp_path / "models"
    code = HUB_PULLER.format(size=len(WHOLE), sha=SHA256, root=str(root))
    endpoint = f"http://127.0.0.1:{server.server_port}"
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-P", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    server.shutdown()
    assert result.returncode == 0, result.stderr
    assert (root / "tiny" / "tiny.gguf").read_bytes() == WHOLE
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert left <= {"tiny/tiny.gguf", "tiny/verified.json", "tiny/lock"}


class Portal(Hub):
    """Answers everything with its own page, as a hotel's network does."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()


def test_a_captive_portal_is_not_the_hub(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Portal)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = HUB_PULLER.format(size=len(WHOLE), sha=SHA256, root=str(tmp_path / "models"))
    environment = os.environ | {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HUB_OFFLINE": "0"}
    command = [sys.executable, "-P", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    server.shutdown()
    assert "PullError: tiny could not be pulled. Hugging Face hub:" in result.stderr
