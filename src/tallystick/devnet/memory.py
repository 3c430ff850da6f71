"""The chain's memory: its whole state in a file, at most a second older than the chain."""

from __future__ import annotations

import gzip
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import anyio
from anyio import to_thread

from tallystick.devnet.console import Console, NodeRefused
from tallystick.engine.errors import Refused, Unavailable

_IDLE_INTERVAL = 10.0
"""Seconds between dumps while blocks are empty: with those only their number is lost."""

_SHARE = 20
"""After a dump of t seconds come 20 t without one, for it takes longer with every block."""


class DumpUnreadable(Refused):
    """The file of the chain's state is damaged."""


class Memory:
    """A file that holds the last dump, compressed as the node hands it out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether there is a chain to go on with."""
        return self.path.is_file()

    def save(self, console: Console) -> None:
        """Dump the chain; the file is at any time either the old dump or the new one."""
        dump = bytes.fromhex(console.call("anvil_dumpState").removeprefix("0x"))
        draft = self.path.with_suffix(".new")
        try:
            with draft.open("wb") as file:
                file.write(dump)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(self.path.parent)

    def unpack(self, target: Path) -> None:
        """Write the dump as `anvil --load-state` reads it. Raises DumpUnreadable."""
        dump = self.path.read_bytes()
        try:
            target.write_bytes(gzip.decompress(dump))
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DumpUnreadable(
                f"The chain's last dump {self.path} is damaged ({error}). Put a copy back, or "
                "begin anew with tally up --reset."
            ) from error

    async def keep(self, console: Console, say: Callable[[str], None]) -> None:
        """Dump the chain when it has changed, until cancelled. A dead node is waited for.

        A full disk is told, once, and the next dump awaited.
        """
        seen, saved, pause, told = -1, float("-inf"), 1.0, False
        while True:
            await anyio.sleep(pause)
            began = anyio.current_time()
            try:
                head, busy = await to_thread.run_sync(_news, console, seen)
                if busy or (head != seen and began - saved >= _IDLE_INTERVAL):
                    await to_thread.run_sync(self.save, console)
                    saved = began
            except (Unavailable, NodeRefused):
                continue
            except OSError as error:
                if not told:
                    say(f"The chain cannot be saved in {self.path}: {error.strerror}.")
                told = True
                continue
            seen, told = head, False
            pause = max(1.0, _SHARE * (anyio.current_time() - began))


def resume(console: Console, *, block_time: int) -> None:
    """Set a node going that has loaded a dump and mines nothing yet.

    Its clock follows the wall's by itself, but would run backwards where time travel has left
    the last block in the future.
    """
    block = console.call("eth_getBlockByNumber", "latest", False)
    ahead = int(block["timestamp"], 16) - int(time.time())
    if ahead >= 0:
        console.call("evm_increaseTime", ahead + 1)
    if block_time:
        console.call("anvil_setIntervalMining", block_time)
    else:
        console.call("evm_setAutomine", True)


def _news(console: Console, seen: int) -> tuple[int, bool]:
    """The head's number, and whether a block after `seen` has transactions (or is unknown)."""
    head = int(console.call("eth_blockNumber"), 16)
    if not seen <= head <= seen + 100:
        return head, True
    counts = console.batch(
        [
            ("eth_getBlockTransactionCountByNumber", [hex(number)])
            for number in range(seen + 1, head + 1)
        ]
    )
    return head, any(count is None or int(count, 16) for count in counts)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
