"""Passes connections on: `relay.py HOST:PORT=HOST:PORT …`, until killed.

What listens on a loopback is reached from a namespace by it, and nothing else is.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await source.read(1 << 16):
            target.write(chunk)
            await target.drain()
    with contextlib.suppress(OSError, RuntimeError):
        target.close()


def _passing_on(host: str, port: int) -> Callable[..., Coroutine[Any, Any, None]]:
    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, there = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()  # nobody listens there yet
            return
        await asyncio.gather(_copy(reader, there), _copy(back, writer))

    return pass_on


async def main(ways: list[str]) -> None:
    for way in ways:
        here, there = way.split("=")
        host, port = there.rsplit(":", 1)
        own, at = here.rsplit(":", 1)
        await asyncio.start_server(_passing_on(host, int(port)), own, int(at))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
