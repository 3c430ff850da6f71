"""Whether one process is the pool, or one of several: what differs, in one place."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, get_args

import anyio
from fastapi import FastAPI

from tallystick.chain.fees import Fees
from tallystick.chain.follow import NoteCursor
from tallystick.chain.heads import Heads
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.chain.watcher import Cursor, Position
from tallystick.engine.databases import with_postgres
from tallystick.engine.fence import Fenced
from tallystick.engine.journal import ChainRef, Journal
from tallystick.engine.pulse import Pulse
from tallystick.lifecycle.facts import Fact, Ordered
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.deals import Record
from tallystick.scheduler.doors import Doors
from tallystick.scheduler.roster import Roster
from tallystick.wire.auth import Challenges, key_file

if TYPE_CHECKING:
    from tallystick.scheduler.pool import Pool

log = logging.getLogger(__name__)

_SHARED = "tallystick.scheduler.shared.company"


class Company(Protocol):
    """What a scheduler is built on, alone or with others."""

    journal: Any
    roster: Roster
    cursor: Cursor
    doors: Doors

    def sender(
        self, rpc: Rpc, wallet: Wallet, *, chain_id: int, fees: Fees, heads: Heads
    ) -> Sender:
        """Sends what the pool's wallet signs."""

    def rewound(self, known: list[Position]) -> list[Position]:
        """From which blocks to read on, once the news of all `known` ones is recorded."""

    @property
    def office(self) -> Pulse:
        """Beats when the operator told another process something that all should know."""

    def tell_offices(self) -> None:
        """The operator told this process something that all should know."""

    def others(self) -> int:
        """How many other processes were heard of lately."""

    def steer(self, course: str) -> None:
        """Have all processes take this course; empty: go on."""

    def open(self, pool: Pool, app: FastAPI, steered: Callable[[str], None]) -> None:
        """The parts are there: tell them what is ours, and `steered` what all should do."""

    async def run(self) -> None:
        """Live with the others, until cancelled."""

    def close(self) -> None:
        """Leave, and release what was opened."""


@dataclass(slots=True)
class Sole:
    """One process, with its books in files: everything is its own."""

    folder: Path
    journal: Journal[Fact]
    roster: Roster
    cursor: Cursor
    doors: Doors
    office: Pulse = field(default_factory=Pulse)
    _close: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def sender(
        self, rpc: Rpc, wallet: Wallet, *, chain_id: int, fees: Fees, heads: Heads
    ) -> Sender:
        """A sender whose book is a file."""
        book = self.folder / "transactions.db"
        made = Sender(rpc, wallet, book, chain_id=chain_id, fees=fees, heads=heads)
        self._close.append(made.close)
        return made

    def rewound(self, known: list[Position]) -> list[Position]:
        """Nothing is ever behind."""
        return known

    def tell_offices(self) -> None:
        """There is no other."""

    def others(self) -> int:
        """None."""
        return 0

    def steer(self, course: str) -> None:
        """There is nobody else."""

    def open(self, pool: Pool, app: FastAPI, steered: Callable[[str], None]) -> None:
        """Everything is ours, and nobody else steers."""

    async def run(self) -> None:
        """There is nobody else."""
        await anyio.sleep_forever()

    def close(self) -> None:
        """Release the files."""
        for close in (*self._close, self.journal.close):
            close()


def open_company(config: SchedulerConfig, wallet: Wallet, url: str) -> Company:
    """Alone in the folder of `config`, or with those who share its database; `url` is where
    this process is reached. Raises DatabaseGone, MissingExtra, NewerJournal."""
    if config.database:
        opened: Company = with_postgres(_SHARED).open_shared(config, wallet, url)
        return opened
    journal = Journal[Fact](config.data_dir / "journal.db", get_args(Fact))
    return Sole(
        folder=config.data_dir,
        journal=journal,
        roster=Roster(journal),
        cursor=NoteCursor(journal),
        doors=Doors(Challenges(), key_file(config.data_dir / "token.key")),
    )


def unless_others(record: Callable[[str, Ordered, ChainRef], object]) -> Record:
    """`record`, but passing over the tasks that another process owns: it records them."""

    def record_ours(stream: str, fact: Ordered, ref: ChainRef) -> None:
        try:
            record(stream, fact, ref)
        except Fenced:
            log.debug("%s is for its owner to record", stream)

    return record_ours
