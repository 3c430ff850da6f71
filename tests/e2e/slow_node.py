"""A node of a chain between a worker and the real one: it answers late, or not at all."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

LOGS = b"eth_getLogs"
ANYTHING = b""


@dataclass
class Node:
    """Passes every question on, unless it holds what is `refused`."""

    real: str
    url: str = field(init=False)
    refused: bytes | None = None
    """`LOGS`: what has happened is not told, though balances and tasks are; `ANYTHING`."""

    def answer(self, question: bytes) -> bytes | None:
        if self.refused is not None and self.refused in question:
            return None
        asked = urllib.request.Request(
            self.real, question, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            body: bytes = answer.read()
        return body


class _Front(BaseHTTPRequestHandler):
    node: Node
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        answer = self.node.answer(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(503 if answer is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer or b"")))
        self.end_headers()
        self.wfile.write(answer or b"")

    def log_message(self, *_: object) -> None: ...


@contextmanager
def node_before(real: str) -> Iterator[Node]:
    """A node before the real one, on a port that the kernel chooses."""
    node = Node(real)
    front = type("Front", (_Front,), {"node": node})
    server = ThreadingHTTPServer(("127.0.0.1", 0), front)
    server.daemon_threads = True
    node.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()
