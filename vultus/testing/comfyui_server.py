"""A fake ComfyUI that answers as v0.3.64 does: `python -m vultus.testing.comfyui_server --port 8188`.

A process of its own, so that finding, stopping, killing and restarting it are the real thing. Its
options are part of its command line, and /system_stats tells them, as the real one does.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import signal
import struct
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from vultus.testing.comfyui_world import Options, World

__all__ = ["main"]

VERSION = "0.3.64"
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, world: World) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.world = world
        self.sockets: dict[str, Any] = {}
        self.lock = threading.Lock()

    def tell(self, client: str, event: str, data: Mapping[str, Any]) -> None:
        """Send an event to one websocket; one that is gone is forgotten."""
        frame = _frame(json.dumps({"type": event, "data": data}).encode())
        with self.lock:
            stream = self.sockets.get(client)
            if stream is None:
                return
            try:
                if event == "progress":
                    stream.write(_frame(b"\x00\x00\x00\x01preview", opcode=2))  # a preview picture
                stream.write(frame)
                stream.flush()
            except (OSError, ValueError):
                self.sockets.pop(client, None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def world(self) -> World:
        return cast(_Server, self.server).world

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer what can be read."""
        split = urlsplit(self.path)
        path = split.path.removeprefix("/api")
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        if path == "/ws":
            self._websocket(query.get("clientId", ""))
        elif path == "/system_stats":
            self._json(self._stats())
        elif path == "/queue":
            world = self.world
            self._json({"queue_running": world.running, "queue_pending": world.pending})
        elif path.startswith("/history/"):
            wanted = unquote(path.removeprefix("/history/"))
            found = self.world.history.get(wanted)
            self._json({} if found is None else {wanted: found})
        elif path.startswith("/object_info/"):
            self._json(self._object_info(unquote(path.removeprefix("/object_info/"))))
        elif path == "/internal/folder_paths":
            models = self.world.options.base.absolute() / "models"
            self._json({name: [str(models / name)] for name in ("checkpoints", "loras")})
        elif path == "/view":
            self._view(query)
        else:
            self._send(404, b"404: Not Found", "text/plain")

    def do_POST(self) -> None:
        """Answer what changes something."""
        size = int(self.headers.get("Content-Length", 0))
        raw = self.rfile.read(size)
        path = urlsplit(self.path).path.removeprefix("/api")
        if path == "/upload/image":
            self._upload(raw)
            return
        try:
            body = json.loads(raw or b"{}")
        except ValueError:
            body = {}
        if path == "/prompt":
            code, answer = self.world.submit(body)
            self._json(answer, code)
            return
        if path == "/interrupt":
            self.world.interrupt(body.get("prompt_id"))
        elif path == "/queue":
            if body.get("clear"):
                self.world.clear()
            self.world.delete(list(body.get("delete", [])))
        elif path == "/free":
            self.world.set_flags({name for name, wanted in body.items() if wanted})
        elif path == "/history":
            if body.get("clear"):
                self.world.history.clear()
            for wanted in body.get("delete", []):
                self.world.history.pop(wanted, None)
        else:
            self._send(404, b"404: Not Found", "text/plain")
            return
        self._send(200, b"", "text/plain")

    def _stats(self) -> dict[str, Any]:
        options = self.world.options
        device = {
            "name": "cuda:0 planted" if options.card_uuid else "cpu",
            "type": "cuda" if options.card_uuid else "cpu",
            "index": 0 if options.card_uuid else None,
            "vram_total": 0,
            "vram_free": 0,
            "torch_vram_total": 0,
            "torch_vram_free": 0,
        }
        system = {
            "os": "posix",
            "comfyui_version": VERSION,
            "python_version": sys.version,
            "pytorch_version": "planted",
            "embedded_python": False,
            "ram_total": 0,
            "ram_free": 0,
            "required_frontend_version": "planted",
            "installed_templates_version": "planted",
            "required_templates_version": "planted",
            "argv": ["main.py", *sys.argv[1:]],
        }
        return {"system": system, "devices": [device]}

    def _object_info(self, node: str) -> dict[str, Any]:
        if node not in self.world.nodes():
            return {}
        inputs: dict[str, Any] = {}
        if node == "CheckpointLoaderSimple":
            inputs["ckpt_name"] = [self.world.names("checkpoints")]
        elif node == "LoraLoader":
            inputs["lora_name"] = [self.world.names("loras")]
        elif node == "InstantIDModelLoader":
            inputs["instantid_file"] = [["ip-adapter.bin"]]
        elif node == "ControlNetLoader":
            inputs["control_net_name"] = [["instantid.safetensors"]]
        return {node: {"input": {"required": inputs}, "name": node}}

    def _view(self, query: Mapping[str, str]) -> None:
        folder = self.world.options.base / query.get("type", "output")
        path = folder / query.get("subfolder", "") / query.get("filename", "")
        inside = path.resolve().is_relative_to(folder.resolve())
        if inside and path.is_file():
            self._send(200, path.read_bytes(), "image/png")
        else:
            self._send(404, b"", "text/plain")

    def _upload(self, raw: bytes) -> None:
        head, _, rest = raw.partition(b"\r\n\r\n")
        boundary = head.split(b"\r\n")[0]
        name = head.split(b'filename="')[1].split(b'"')[0].decode()
        data = rest.split(b"\r\n" + boundary)[0]
        (self.world.options.base / "input" / Path(name).name).write_bytes(data)
        self._json({"name": Path(name).name, "subfolder": "", "type": "input"})

    def _websocket(self, client: str) -> None:
        key = self.headers["Sec-WebSocket-Key"] + _MAGIC
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        server = cast(_Server, self.server)
        with server.lock:
            server.sockets[client] = self.wfile
        status = {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client}
        server.tell(client, "status", status)
        self.connection.settimeout(None)
        while self.rfile.read(1):  # until the client goes; what it says is of no interest
            pass
        self.close_connection = True

    def _json(self, answer: Any, code: int = 200) -> None:
        self._send(code, json.dumps(answer).encode(), "application/json")

    def _send(self, code: int, data: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _frame(data: bytes, *, opcode: int = 1) -> bytes:
    """One unmasked frame of a server."""
    if len(data) < 126:
        head = struct.pack("!BB", 0x80 | opcode, len(data))
    elif len(data) < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 126, len(data))
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, len(data))
    return head + data


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--base-directory", type=Path, required=True)
    parser.add_argument("--step-s", type=float, default=0.002)
    parser.add_argument("--late-history-s", type=float, default=0.0)
    parser.add_argument("--crash-at", type=int, default=0)
    parser.add_argument("--start-s", type=float, default=0.0, help="import time before it listens")
    parser.add_argument("--hold-bytes", type=int, default=0)
    parser.add_argument("--residue-bytes", type=int, default=0)
    parser.add_argument("--card", default="", help="FOLDER:UUID of a planted card")
    parser.add_argument("--instantid", action="store_true")
    parser.add_argument("--deaf", action="store_true", help="does not end on SIGTERM")
    args = parser.parse_args()
    folder, _, uuid = args.card.rpartition(":")
    options = Options(
        base=args.base_directory,
        step_s=args.step_s,
        late_history_s=args.late_history_s,
        crash_at=args.crash_at,
        hold_bytes=args.hold_bytes,
        residue_bytes=args.residue_bytes,
        card_folder=Path(folder) if uuid else None,
        card_uuid=uuid,
        instantid=args.instantid,
    )
    signal.signal(signal.SIGINT, lambda number, frame: sys.exit(0))
    signal.signal(
        signal.SIGTERM, signal.SIG_IGN if args.deaf else lambda number, frame: sys.exit(0)
    )
    time.sleep(args.start_s)
    world = World(options)
    server = _Server(args.port, world)
    world.send = server.tell
    world.start()
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
