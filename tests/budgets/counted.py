"""Runs `tally ROLE start --config FILE` and writes down what the process says to its databases,
to nodes and to other servers: `counted.py OUT ROLE FILE`, one JSON object a line.

It listens at the real clients: sqlite3 tells every statement, httpx2 every request.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

import httpx2

OUT = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def tell(**what: Any) -> None:
    os.write(OUT, json.dumps(what).encode() + b"\n")


class Counted(sqlite3.Connection):
    """A connection that tells every statement, as its first words and its table."""

    def __init__(self, database: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(database, *args, **kwargs)
        name = Path(str(database)).name
        self.set_trace_callback(lambda sql: tell(kind="sql", database=name, what=short(sql)))


def short(sql: str) -> str:
    return " ".join(sql.split()[:3])


_connect = sqlite3.connect


def connect(database: Any, *args: Any, **kwargs: Any) -> sqlite3.Connection:
    return _connect(database, *args, factory=Counted, **kwargs)


_send = httpx2.AsyncClient.send


async def send(self: Any, request: Any, **kwargs: Any) -> Any:
    answer = await _send(self, request, **kwargs)
    if kwargs.get("stream"):
        return answer  # a file: its size is the requester's business
    body = await request.aread()
    if request.method == "POST" and body.startswith((b'{"jsonrpc"', b'[{"jsonrpc"')):
        asked = json.loads(body)
        for one in asked if isinstance(asked, list) else [asked]:
            tell(kind="rpc", what=one["method"])
        tell(kind="message", what=f"{request.url.host}:{request.url.port}")
    else:
        tell(
            kind="http",
            what=f"{request.method} {request.url.path}",
            to=request.url.port,
            status=answer.status_code,
            bytes=size(request.headers, body) + size(answer.headers, answer.content),
        )
    return answer


def size(headers: Any, body: bytes) -> int:
    """Bytes of one HTTP/1.1 message, without its first line."""
    return len(body) + sum(len(name) + len(value) + 4 for name, value in headers.raw)


if __name__ == "__main__":
    sqlite3.connect = connect  # type: ignore[assignment]
    httpx2.AsyncClient.send = send  # type: ignore[method-assign]
    from tallystick.cli.main import main

    _, _, role, config = sys.argv
    sys.argv = ["tally", role, "start", "--config", config]
    try:
        sys.exit(main())
    finally:
        tell(kind="modules", count=len([n for n in sys.modules if n.split(".")[0] != "trio"]))
