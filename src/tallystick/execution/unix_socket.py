"""HTTP over a Unix socket whose reads may be cancelled at any moment.

The client's own way (anyio 4.16) raises in the event loop when an answer arrives in the very
moment in which its reader is cancelled; asyncio's transports, which serve TCP, do not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpcore2
import httpx2
from httpcore2 import SOCKET_OPTION


class UnixTransport(httpx2.AsyncHTTPTransport):
    """Every request goes to the socket at `path`, over as many connections as it takes."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._pool = httpcore2.AsyncConnectionPool(
            uds=path,
            max_connections=None,
            max_keepalive_connections=None,
            network_backend=_UnixSockets(),
        )


class _UnixSockets(httpcore2.AsyncNetworkBackend):
    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        with _as(httpcore2.ConnectTimeout, httpcore2.ConnectError), anyio.fail_after(timeout):
            return _Connection(*await asyncio.open_unix_connection(path))

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


@dataclass(slots=True)
class _Connection(httpcore2.AsyncNetworkStream):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _as(httpcore2.ReadTimeout, httpcore2.ReadError), anyio.fail_after(timeout):
            return await self.reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _as(httpcore2.WriteTimeout, httpcore2.WriteError), anyio.fail_after(timeout):
            self.writer.write(buffer)
            await self.writer.drain()

    async def aclose(self) -> None:
        self.writer.close()

    def get_extra_info(self, info: str) -> Any:
        """Whether the other side has hung up is all that the pool asks."""
        return self.reader.at_eof() if info == "is_readable" else None


@contextmanager
def _as(late: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise late(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error
