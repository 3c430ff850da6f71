"""The chain: one Anvil process, and how it is told to run."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tallystick.devnet.console import Console
from tallystick.devnet.leash import leashed
from tallystick.engine.errors import Refused

CHAIN_ID = 31337
KEPT_STATES = 16
"""Past states in memory. Without a limit Anvil keeps one a block, and writes them to disk; with
none at all a call on "latest" fails when a block is mined meanwhile."""

_START_LIMIT = 20.0


class AnvilFailed(Refused):
    """The node ended before it listened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnvilOptions:
    """How a node runs.

    `port` 0 lets the kernel choose. `block_time` is in seconds; with 0 every
    transaction is mined at once.
    """

    binary: Path
    folder: Path
    port: int = 0
    chain_id: int = CHAIN_ID
    block_time: int = 0
    state: Path | None = None
    """A file to load at the start."""
    idle: bool = False
    """Mine nothing until told so."""
    quiet: bool = False
    """Print nothing, not even the port."""

    @property
    def command(self) -> list[str]:
        """The words that start it."""
        words = [str(self.binary), "--host", "127.0.0.1", "--port", str(self.port)]
        words += ["--chain-id", str(self.chain_id), "--accounts", "0"]
        words += ["--prune-history", str(KEPT_STATES), "--no-request-size-limit"]
        words.append("--no-cors")  # pages in a browser have no business with the chain
        words += ["--cache-path", str(self.folder / "cache")]
        if self.block_time:
            words += ["--block-time", str(self.block_time)]
        if self.idle:
            words.append("--no-mining")
        if self.quiet:
            words.append("--quiet")
        if self.state is not None:
            words += ["--load-state", str(self.state)]
        return words

    @property
    def environment(self) -> dict[str, str]:
        # Anvil writes below HOME/.foundry; a market's files belong into its own folder.
        """The variables that it is started with."""
        return {"HOME": str(self.folder), "PATH": os.defpath, "NO_COLOR": "1"}


class Anvil:
    """A running node of our own, stopped with the `with` block, or with this process."""

    def __init__(self, options: AnvilOptions) -> None:
        """Starts the node and returns when it listens. Raises AnvilFailed."""
        self.options = options
        options.folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            leashed(options.command),
            env=options.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        try:
            self.port = _port(self._process.stdout)
        except AnvilFailed:
            self.kill()
            raise
        self.console = Console(self.url)

    @property
    def url(self) -> str:
        """Where it answers over HTTP."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where it answers over WebSocket."""
        return f"ws://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def stop(self) -> None:
        """Ends the node, politely at first."""
        self.console.close()
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Ends the node as a crash would."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _port(output: IO[str]) -> int:
    """The port which the node says it listens on."""
    found: queue.SimpleQueue[int | str] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(output, found), daemon=True).start()
    try:
        answer = found.get(timeout=_START_LIMIT)
    except queue.Empty:
        raise AnvilFailed(f"Anvil did not listen within {_START_LIMIT:.0f} seconds.") from None
    if isinstance(answer, str):
        raise AnvilFailed(f"Anvil ended at once: {answer or 'without a word'}")
    return answer


def _read(output: IO[str], found: queue.SimpleQueue[int | str]) -> None:
    """Reads what the node prints to its end, for a full pipe would stop it."""
    last = ""
    with output:
        for line in output:
            last = line.strip() or last
            if line.startswith("Listening on "):
                found.put(int(line.rpartition(":")[2]))
    found.put(last)
