"""Two processes of one pool without chain and HTTP, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tallystick.chain.watcher import Position
from tallystick.engine.clock import ChainClock
from tallystick.engine.engine import Engine
from tallystick.engine.fence import SHARDS, shard_of
from tallystick.engine.journal import ChainRef
from tallystick.engine.postgres_link import Link
from tallystick.lifecycle.facts import Fact, Ordered
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.values import Address, DealId, Hash
from tallystick.scheduler.inside import PoolEngine
from tallystick.scheduler.pool import PoolRules
from tallystick.scheduler.shared.bell import Bell
from tallystick.scheduler.shared.leases import Leases
from tallystick.scheduler.shared.member import Member
from tallystick.scheduler.shared.shard_journal import ShardJournal

OWNER = Address("0x" + "11" * 20)


def deal(number: int) -> Deal:
    return Deal(
        DealId(bytes([number]) * 32),
        start=1_800_000_000,
        time_unit=300,
        trust=1,
        workerpool=Asset(OWNER, OWNER, 10),
        requester=OWNER,
    )


DEALS = [deal(number) for number in range(1, 60)]


@dataclass
class Process:
    """One scheduler's share of things, without chain and HTTP."""

    member: Member
    engine: PoolEngine
    link: Link

    @property
    def journal(self) -> ShardJournal:
        return self.member.journal

    def born(self, bought: Deal, block: int = 5) -> str:
        task = str(bought.task_id(0))
        ref = ChainRef(block, f"0x{block:064x}", shard_of(task))
        self.engine.record(task, Ordered(bought, 0), ref)
        return task

    def comes(self, known: int = 5) -> list[Position]:
        """Beat and read on, as the follower of the chain would."""
        self.member.beat()
        return self.member.join([(known, Hash(bytes(32)))])

    def holds(self) -> int:
        return sum(self.member.holds(shard) for shard in range(SHARDS))

    def close(self) -> None:
        self.journal.close()
        self.link.close()


async def nothing(command: object) -> Fact | None:
    raise AssertionError("the engine of these tests is not working")


def opened(url: str, name: str) -> Process:
    link, bell = Link(url), Bell(url)
    leases = Leases(link, name, f"http://{name}", "sender")
    member = Member(leases, ShardJournal(url, leases, bell), bell, link)
    engine: PoolEngine = Engine(
        journal=member.journal, rules=PoolRules(ChainClock()), perform=nothing
    )
    member.attach(engine)
    return Process(member, engine, link)


@pytest.fixture
def both(ready_postgres: str) -> Iterator[tuple[Process, Process]]:
    a, b = opened(ready_postgres, "a"), opened(ready_postgres, "b")
    yield a, b
    a.close()
    b.close()


def expire(process: Process) -> None:
    """Let its leases run out by the server's clock, while it believes that it has them."""
    process.link.rows(
        "UPDATE shard SET until = clock_timestamp() - interval '1 second' WHERE holder = %s",
        (process.member.leases.me,),
    )
    process.link.rows(
        "UPDATE process SET beat = beat - interval '1 day' WHERE id = %s",
        (process.member.leases.me,),
    )
    process.link.rows(
        "UPDATE lease SET until = clock_timestamp() - interval '1 second' WHERE holder = %s",
        (process.member.leases.me,),
    )
