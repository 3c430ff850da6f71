"""What one scheduler of several is built on.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio
from fastapi import FastAPI
from starlette.middleware import Middleware

from tallystick.chain.fees import Fees
from tallystick.chain.heads import Heads
from tallystick.chain.postgres_book import PostgresBook
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.chain.watcher import Position
from tallystick.engine.errors import Unavailable
from tallystick.engine.fence import shard_of
from tallystick.engine.postgres_link import Link
from tallystick.engine.postgres_schema import migrate
from tallystick.engine.pulse import Pulse
from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.config import SchedulerConfig
from tallystick.scheduler.doors import Doors
from tallystick.scheduler.shared import relay
from tallystick.scheduler.shared.bell import Bell
from tallystick.scheduler.shared.cursors import ShardCursors
from tallystick.scheduler.shared.guests import SharedRoster
from tallystick.scheduler.shared.inbox import SENDER, Inbox
from tallystick.scheduler.shared.keys import TOKEN_KEY, SharedChallenges, shared_secret
from tallystick.scheduler.shared.leases import Leases
from tallystick.scheduler.shared.member import Member
from tallystick.scheduler.shared.parcels import Parcels
from tallystick.scheduler.shared.sending import KIND, SharedSender
from tallystick.scheduler.shared.shard_journal import ShardJournal
from tallystick.wire.authorization import WorkerpoolAuthorization
from tallystick.wire.scheduler import INSTANCE

if TYPE_CHECKING:
    from tallystick.scheduler.pool import Pool

_ASSIGN: Final = "assign"
_OFFICE: Final = "office"
_AGAIN: Final = 0.1
"""Seconds after a refusal before another process is asked for work again."""


@dataclass(slots=True)
class Shared:
    """One process of a pool whose books are in a PostgreSQL database."""

    url: str
    """Of the database."""
    member: Member
    inbox: Inbox
    roster: SharedRoster
    cursor: ShardCursors
    doors: Doors
    parcels: Parcels
    news: str
    """Names the pool's news: a cursor into them is good at every process."""
    _senders: list[SharedSender] = field(default_factory=list[SharedSender])
    _pools: list[Pool] = field(default_factory=list)

    @property
    def journal(self) -> ShardJournal:
        """The facts of all, of which ours may be written."""
        return self.member.journal

    def sender(
        self, rpc: Rpc, wallet: Wallet, *, chain_id: int, fees: Fees, heads: Heads
    ) -> Sender:
        """Sends while the lease of the wallet is ours, and else has it sent."""
        leases = self.member.leases
        book = PostgresBook(
            self.url,
            wallet.address,
            chain_id,
            lease=leases.wallet,
            right=lambda: leases.sends,
        )
        made = SharedSender(rpc, wallet, book, chain_id=chain_id, fees=fees, heads=heads)
        made.share(
            ours=lambda: leases.sends is not None,
            changed=self.member.sending,
            ask=lambda kind, body, patience: self.inbox.ask(SENDER, kind, body, patience),
        )
        self.inbox.does(KIND, made.answer)
        self._senders.append(made)
        return made

    def rewound(self, known: list[Position]) -> list[Position]:
        """From which blocks to read on, so that a shard that came misses none."""
        return self.member.join(known)

    @property
    def office(self) -> Pulse:
        """Beats when the operator told another process something that all should know."""
        return self.member.bell.pulse(_OFFICE)

    def tell_offices(self) -> None:
        """The operator told this process something that all should know."""
        self.member.bell.ring(_OFFICE)

    def others(self) -> int:
        """How many other processes were heard of lately."""
        return len(set(self.member.leases.alive) - {self.member.leases.me})

    def steer(self, course: str) -> None:
        """Have all processes take this course; empty: go on. Raises DatabaseGone."""
        self.member.steer(course)

    def open(self, pool: Pool, app: FastAPI, steered: Callable[[str], None]) -> None:
        """The parts are there: tell them what is ours, and `steered` what all should do."""
        self._pools.append(pool)
        self.member.steered = steered
        pool.share(self.news, self._assigned)
        self.member.attach(pool.engine)
        self.roster.returned = pool.welcome_back
        self.inbox.does(_ASSIGN, self._assign)
        self.parcels.open(app.state.channel, self.inbox)
        self.inbox.does(relay.KIND, lambda asked: relay.answered(app, asked))
        innermost = Middleware(
            relay.Relay, owns=self.member.owns, ask=self.inbox.ask, instance=INSTANCE
        )
        app.user_middleware.append(innermost)
        self.member.beat()

    async def run(self) -> None:
        """Live with the others, until cancelled."""
        assert self.member.replica is not None
        async with anyio.create_task_group() as tasks:
            for service in (
                self.member.bell.run,
                self.member.run,
                self.member.replica.run,
                self.inbox.run,
                self.roster.run,
            ):
                tasks.start_soon(service)

    def close(self) -> None:
        """Leave, and end the sessions; who cannot say goodbye is missed after a while."""
        with suppress(Unavailable):
            self.member.leave()
        for sender in self._senders:
            sender.close()
        self.journal.close()
        self.member.link.close()

    async def _assigned(
        self, task: TaskId, worker: Address, instance: str
    ) -> WorkerpoolAuthorization | None:
        """Have the owner of a task give it to a worker that waits here; None when it does not.
        What it has decided is known here then."""
        asked = {"task": str(task), "worker": str(worker), "instance": instance}
        answer = await self.inbox.ask(shard_of(str(task)), _ASSIGN, asked)
        if self.member.replica is not None:
            self.member.replica.refresh()
        if (given := answer["given"]) is None:
            await anyio.sleep(_AGAIN)
            return None
        return WorkerpoolAuthorization.model_validate_json(given)

    async def _assign(self, asked: Any) -> Any:
        (pool,) = self._pools
        given = await pool.assign(
            TaskId(asked["task"]), Address(asked["worker"]), asked["instance"]
        )
        return {"given": None if given is None else given.model_dump_json(by_alias=True)}


def open_shared(config: SchedulerConfig, wallet: Wallet, url: str) -> Shared:
    """Come to the pool whose database `config` names. Raises DatabaseGone, NewerJournal."""
    migrate(config.database)
    link, bell = Link(config.database), Bell(config.database)
    leases = Leases(link, secrets.token_hex(8), url, f"sender {wallet.address}")
    member = Member(leases, ShardJournal(config.database, leases, bell), bell, link)
    parcels = Parcels()
    return Shared(
        url=config.database,
        member=member,
        inbox=Inbox(link, bell, lambda: [*member.addresses(), *parcels.addresses()]),
        roster=SharedRoster(member.journal, link, bell, leases.life),
        cursor=ShardCursors(link, member.rights),
        doors=Doors(
            SharedChallenges(link),
            shared_secret(link, TOKEN_KEY),
            shared_secret(link, "reading key"),
        ),
        parcels=parcels,
        news=shared_secret(link, "news", 8).hex(),
    )
