"""A command that sends for the pool's wallet beside the pool's schedulers: no nonce twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from postgres_lab import ready_postgres

from tallystick.chain.fees import Fees
from tallystick.chain.hub import Hub
from tallystick.chain.rpc import Rpc
from tallystick.chain.wallet import Wallet
from tallystick.engine.postgres_link import Link
from tallystick.scheduler.admin_chain import Owner, at_hub
from tallystick.scheduler.shared.errand import sending

__all__ = ["ready_postgres"]

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def owner(chain: Any, folder: Path, database: str) -> AsyncIterator[Owner]:
    wallet, file = Wallet(chain.scheduler.key), folder / "book.db"
    async with at_hub(
        (chain.url,), chain.hub, wallet, book=file, fees=Fees(), database=database
    ) as found:
        yield found
    assert not file.exists(), "the book is the one that all share"


def told(database: str) -> tuple[list[tuple[int, str]], list[tuple[str | None]]]:
    """The transactions of the shared book, and who holds the lease of the wallet."""
    link = Link(database)
    entries = link.rows("SELECT nonce, state FROM entry ORDER BY nonce")
    holders = link.rows("SELECT holder FROM lease WHERE until > clock_timestamp()")
    link.close()
    return entries, holders


async def test_where_nobody_runs_it_takes_the_lease_for_a_while(
    shared_chain: Any, tmp_path: Path, ready_postgres: str
) -> None:
    async with owner(shared_chain, tmp_path, ready_postgres) as mine:
        for ratio in (41, 42):
            await mine.change_policy(shared_chain.workerpool, ratio, 5)
        assert (await mine.owned(shared_chain.workerpool)).stake_ratio == 42
    entries, holders = told(ready_postgres)
    assert [state for _, state in entries] == ["mined", "mined"]
    assert entries[1][0] == entries[0][0] + 1
    assert holders == []


async def test_where_a_scheduler_sends_it_sends_for_the_command_too(
    shared_chain: Any, tmp_path: Path, ready_postgres: str
) -> None:
    """The one that has the lease does what a scheduler does with questions to its sender."""
    wallet = Wallet(shared_chain.scheduler.key)
    async with Rpc([shared_chain.url]) as rpc:
        hub = await Hub.open(rpc, shared_chain.hub)
        chain_id = hub.domain.chain_id
        async with (
            sending(ready_postgres, rpc, wallet, chain_id=chain_id, fees=Fees()) as scheduler,
            owner(shared_chain, tmp_path, ready_postgres) as mine,
        ):
            (holder,) = told(ready_postgres)[1]
            pool = shared_chain.workerpool
            await scheduler.send(hub.calls.change_policy(pool, 51, 5))
            receipt = await mine.change_policy(pool, 52, 5)
            await scheduler.send(hub.calls.change_policy(pool, 53, 5))
            assert receipt.gas_used
            assert (await mine.owned(pool)).stake_ratio == 53
            entries, holders = told(ready_postgres)
            assert holders == [holder]
            nonces = [nonce for nonce, _ in entries]
            assert nonces == list(range(nonces[0], nonces[0] + 3))
