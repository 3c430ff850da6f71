"""One transaction of the pool's wallet by a command, beside schedulers that may run anywhere.

It waits its turn as every process does: where one of them has the lease of the wallet that one
sends, and where none lives the command takes the lease for as long as it needs it.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress

import anyio

from tallystick.chain.fees import Fees
from tallystick.chain.postgres_book import PostgresBook
from tallystick.chain.rpc import Rpc
from tallystick.chain.wallet import Wallet
from tallystick.engine.complaints import Complaints
from tallystick.engine.errors import Unavailable
from tallystick.engine.postgres_link import Link
from tallystick.engine.postgres_schema import migrate
from tallystick.engine.pulse import Pulse
from tallystick.scheduler.shared.bell import Bell
from tallystick.scheduler.shared.inbox import SENDER, Inbox
from tallystick.scheduler.shared.leases import BEAT, Leases
from tallystick.scheduler.shared.sending import KIND, SharedSender

log = logging.getLogger(__name__)


@asynccontextmanager
async def sending(
    url: str, rpc: Rpc, wallet: Wallet, *, chain_id: int, fees: Fees
) -> AsyncIterator[SharedSender]:
    """Sends what `wallet` signs, with the book in the database `url`, and is no scheduler.
    Raises DatabaseGone, NewerJournal."""
    migrate(url)
    with closing(Link(url)) as link:
        leases = Leases(link, secrets.token_hex(8), "", f"sender {wallet.address}")
        bell, changed = Bell(url), Pulse()
        inbox = Inbox(link, bell, lambda: [SENDER] if leases.sends else [])
        book = PostgresBook(
            url, wallet.address, chain_id, lease=leases.wallet, right=lambda: leases.sends
        )
        with closing(SharedSender(rpc, wallet, book, chain_id=chain_id, fees=fees)) as sender:
            sender.share(
                ours=lambda: leases.sends is not None,
                changed=changed,
                ask=lambda kind, body, patience: inbox.ask(SENDER, kind, body, patience),
            )
            inbox.does(KIND, sender.answer)
            leases.beat_of_wallet()
            async with anyio.create_task_group() as tasks:
                for service in (bell.run, inbox.run):
                    tasks.start_soon(service)
                tasks.start_soon(_beat, leases)
                yield sender
                tasks.cancel_scope.cancel()
        with suppress(Unavailable):
            leases.leave()


async def _beat(leases: Leases) -> None:
    complaints = Complaints(log)
    while True:
        await anyio.sleep(BEAT)
        try:
            leases.beat_of_wallet()
        except Unavailable as trouble:
            complaints.about("The lease of the wallet", trouble)
