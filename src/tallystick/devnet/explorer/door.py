"""The explorer waits for its first visitor: until then it is a bound port and nothing else.

So a market that nobody looks into pays nothing for it, neither memory nor a moment of its
start. It runs within the process of `tally up`, which has little to do once the market is up: a
process of its own would take several times the memory.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib import import_module
from typing import Any

import anyio
from anyio import to_thread

from tallystick.devnet.explorer.known import Known


async def explore(known: Known, port: int, say: Callable[[str], None]) -> None:
    """Serve pages about the chain on `port` of the loopback, until cancelled. A market goes on
    without it: what keeps it from its port is said."""
    try:
        sock = _bound(port)
    except OSError as trouble:
        say(f"The explorer cannot be served on port {port}: {trouble.strerror}.")
        return
    with sock:
        await anyio.wait_readable(sock)
        app, dictionary = await to_thread.run_sync(_load, known)
        await app.serve(known, dictionary, sock)


def _bound(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
        sock.listen()
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _load(known: Known) -> tuple[Any, Any]:
    """What only a visitor needs, in a thread: the market goes on meanwhile."""
    app = import_module("tallystick.devnet.explorer.app")
    abis = import_module("tallystick.devnet.explorer.abis")
    return app, abis.Dictionary.of(known.package)
