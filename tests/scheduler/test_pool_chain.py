"""What a pool's owner does on the chain while no scheduler runs, on the real contracts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tallystick.chain.fees import Fees
from tallystick.chain.wallet import Wallet
from tallystick.engine.errors import Refused
from tallystick.scheduler.admin_chain import NotTheOwner, Owner, at_hub

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def owner(chain: Any, actor: Any, folder: Path) -> AsyncIterator[Owner]:
    book = folder / f"{actor.address}.db"
    async with at_hub(
        (chain.url,), chain.hub, Wallet(actor.key), book=book, fees=Fees()
    ) as found:
        yield found


async def test_a_pool_is_created_once_and_has_the_usual_policy(
    shared_chain: Any, tmp_path: Path
):
    actor = shared_chain.workers[0]
    async with owner(shared_chain, actor, tmp_path) as mine:
        pool, receipt = await mine.create("a pool of its own")
        known = await mine.owned(pool)
        assert (known.owner, known.description) == (actor.address, "a pool of its own")
        assert (known.stake_ratio, known.reward_ratio) == (30, 1)
        assert receipt.gas_used < 600_000
        with pytest.raises(Refused):
            await mine.create("a pool of its own")


async def test_only_the_owner_changes_the_policy(shared_chain: Any, tmp_path: Path):
    pool = shared_chain.workerpool
    async with owner(shared_chain, shared_chain.workers[1], tmp_path) as stranger:
        with pytest.raises(NotTheOwner, match="use the owner's wallet"):
            await stranger.change_policy(pool, 50, 50)
    async with owner(shared_chain, shared_chain.scheduler, tmp_path) as mine:
        receipt = await mine.change_policy(pool, 45, 7)
        known = await mine.owned(pool)
        assert (known.stake_ratio, known.reward_ratio) == (45, 7)
        assert receipt.gas_used < 60_000, "what the preview says"
        with pytest.raises(Refused):
            await mine.change_policy(pool, 45, 101)
