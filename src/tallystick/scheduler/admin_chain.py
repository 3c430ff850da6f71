"""What a pool's owner does on the chain by himself: create a pool, set its policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from tallystick.chain.fees import Fees
from tallystick.chain.hub import Hub
from tallystick.chain.logs import AssetCreated
from tallystick.chain.records import WorkerpoolInfo
from tallystick.chain.rpc import Rpc
from tallystick.chain.sender import Receipt, Sender
from tallystick.chain.wallet import Wallet
from tallystick.engine.databases import with_postgres
from tallystick.engine.errors import Refused
from tallystick.poco.values import Address


class NotTheOwner(Refused):
    """The workerpool is somebody else's, so its contract would refuse this wallet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A wallet before a hub, with the book of its transactions."""

    hub: Hub
    wallet: Wallet
    book: Path
    fees: Fees
    database: str = ""
    """Where the book is that several schedulers of the wallet share; empty: the file."""

    async def create(self, description: str) -> tuple[Address, Receipt]:
        """A new workerpool of this wallet, and the transaction that made it. The same owner and
        description make the same address, so the second time the chain refuses.
        Raises Refused, OutOfGas, Unavailable."""
        call = self.hub.calls.create_workerpool(self.wallet.address, description)
        with closing(self._alone()) as sender:
            receipt = await sender.send(call)
        made = next(each for each in receipt.logs if isinstance(each, AssetCreated))
        return made.asset, receipt

    async def owned(self, workerpool: Address) -> WorkerpoolInfo:
        """What the chain says of a workerpool of this wallet. Raises NotTheOwner."""
        found = await self.hub.workerpool(workerpool)
        if found.owner != self.wallet.address:
            raise NotTheOwner(
                f"Workerpool {workerpool} belongs to {found.owner}, not to the wallet"
                f" {self.wallet.address}: use the owner's wallet."
            )
        return found

    async def change_policy(
        self, workerpool: Address, stake_ratio: int, reward_ratio: int
    ) -> Receipt:
        """Set what workers stake and what the scheduler keeps, in percent, for deals to come.
        Raises NotTheOwner, Refused, OutOfGas, Unavailable."""
        await self.owned(workerpool)
        call = self.hub.calls.change_policy(workerpool, stake_ratio, reward_ratio)
        async with self._sending() as sender:
            return await sender.send(call)

    @asynccontextmanager
    async def _sending(self) -> AsyncIterator[Sender]:
        if not self.database:
            with closing(self._alone()) as sender:
                yield sender
            return
        errand = with_postgres("tallystick.scheduler.shared.errand")
        chain_id, rpc = self.hub.domain.chain_id, self.hub.rpc
        async with errand.sending(
            self.database, rpc, self.wallet, chain_id=chain_id, fees=self.fees
        ) as shared:
            yield shared

    def _alone(self) -> Sender:
        chain_id = self.hub.domain.chain_id
        return Sender(self.hub.rpc, self.wallet, self.book, chain_id=chain_id, fees=self.fees)


@asynccontextmanager
async def at_hub(
    rpc_urls: Sequence[str],
    hub: Address,
    wallet: Wallet,
    *,
    book: Path,
    fees: Fees,
    database: str = "",
) -> AsyncIterator[Owner]:
    """`wallet` before the hub at `hub`. Raises NoSuchContract, Unavailable."""
    async with Rpc(rpc_urls) as rpc:
        opened = await Hub.open(rpc, hub)
        yield Owner(hub=opened, wallet=wallet, book=book, fees=fees, database=database)
