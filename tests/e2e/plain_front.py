"""For those who look on: takes plain connections, and hands them to a service by TLS."""

from __future__ import annotations

import ssl
import sys
from contextlib import suppress

import anyio
from anyio.abc import ByteStream


async def main(port: int, service: int, authority: str) -> None:
    context = ssl.create_default_context(cafile=authority)

    async def serve(client: ByteStream) -> None:
        with suppress(OSError, anyio.BrokenResourceError):
            async with (
                client,
                await anyio.connect_tcp(
                    "127.0.0.1", service, ssl_context=context, tls_standard_compatible=False
                ) as server,
                anyio.create_task_group() as both,
            ):
                both.start_soon(pump, client, server, both.cancel_scope)
                both.start_soon(pump, server, client, both.cancel_scope)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    await listener.serve(serve)


async def pump(source: ByteStream, sink: ByteStream, scope: anyio.CancelScope) -> None:
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await sink.send(await source.receive())
    scope.cancel()


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
