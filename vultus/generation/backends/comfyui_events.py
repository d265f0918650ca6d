"""The events of a ComfyUI: a websocket client of the few lines that they need (RFC 6455).

Text frames are events, binary ones preview pictures (left aside), pings are answered. A broken
connection is never a fault: events are news, what counts is asked over HTTP.

Notation
    event       {"type": str, "data": {...}}; progress has value, max, node, prompt_id
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Events"]

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
MOST_BYTES = 64 * 2**20


class Events:
    """Reads events of one client id; `next` gives None when there is none in time."""

    def __init__(self, url: str, client_id: str, *, timeout_s: float = 5.0) -> None:
        self._url = url
        self._client = client_id
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._buffer = b""

    @property
    def is_open(self) -> bool:
        """True while events come."""
        return self._socket is not None

    def open(self) -> bool:
        """Connect; False when the server does not want to."""
        self.close()
        split = urlsplit(self._url)
        port = split.port or 80
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET /ws?clientId={self._client} HTTP/1.1\r\nHost: {split.hostname}:{port}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        try:
            link = socket.create_connection((split.hostname or "127.0.0.1", port), self._timeout_s)
            link.sendall(request.encode())
            answer = b""
            while b"\r\n\r\n" not in answer:
                more = link.recv(4096)
                if not more or len(answer) > 65536:
                    link.close()
                    return False
                answer += more
        except OSError:
            return False
        head, _, self._buffer = answer.partition(b"\r\n\r\n")
        if b" 101 " not in head.splitlines()[0]:
            link.close()
            return False
        self._socket = link
        return True

    def next(self, within_s: float) -> dict[str, Any] | None:
        """Return the next event, or None when none comes in time or the connection is gone."""
        while self._socket is not None:
            frame = self._frame(within_s)
            if frame is None:
                return None
            opcode, data = frame
            if opcode == _TEXT:
                with suppress(ValueError):
                    event = json.loads(data)
                    if isinstance(event, dict):
                        return event
            elif opcode == _PING:
                self._send(_PONG, data)
            elif opcode == _CLOSE:
                self.close()
        return None

    def close(self) -> None:
        """Let go of the connection."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
        self._socket, self._buffer = None, b""

    def _frame(self, within_s: float) -> tuple[int, bytes] | None:
        """One whole frame; what has arrived of an unfinished one is kept for the next call."""
        assert self._socket is not None
        self._socket.settimeout(max(within_s, 0.001))
        try:
            while (taken := _split(self._buffer)) is None:
                more = self._socket.recv(65536)
                if not more or len(self._buffer) > MOST_BYTES:
                    self.close()
                    return None
                self._buffer += more
        except TimeoutError:
            return None
        except OSError:
            self.close()
            return None
        opcode, data, self._buffer = taken
        return opcode, data

    def _send(self, opcode: int, data: bytes) -> None:
        """One masked frame, as a client must send it."""
        mask = os.urandom(4)
        body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        with suppress(OSError):
            if self._socket is not None:
                self._socket.sendall(
                    struct.pack("!BB", 0x80 | opcode, 0x80 | len(data)) + mask + body
                )


def _split(buffer: bytes) -> tuple[int, bytes, bytes] | None:
    """(opcode, data, rest) of the first frame, or None when it has not arrived whole."""
    if len(buffer) < 2:
        return None
    size, start = buffer[1] & 0x7F, 2
    if size == 126:
        start = 4
    elif size == 127:
        start = 10
    if len(buffer) < start:
        return None
    if start > 2:
        size = int.from_bytes(buffer[2:start], "big")
    if len(buffer) < start + size:
        return None
    return buffer[0] & 0x0F, buffer[start : start + size], buffer[start + size :]
