"""What of a worker has to do with money: built together, since each part needs the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from tallystick.chain.heads import Heads
from tallystick.chain.hub import Hub
from tallystick.chain.sender import Sender
from tallystick.chain.wallet import Wallet
from tallystick.engine.journal import Journal
from tallystick.worker.config import WorkerConfig
from tallystick.worker.doppelganger import Doppelganger
from tallystick.worker.funds import Funds, fees_of, reveal_cap_of
from tallystick.worker.pledges import Pledges
from tallystick.worker.profit import Profit, Rate
from tallystick.worker.votes import Votes

if TYPE_CHECKING:
    from tallystick.worker.session import Session


@dataclass(slots=True)
class Money:
    """One wallet's transactions, votes, balances, and who else uses it."""

    sender: Sender
    funds: Funds
    votes: Votes
    twin: Doppelganger
    profit: Profit
    _pledges: Pledges

    @classmethod
    def open(
        cls,
        config: WorkerConfig,
        wallet: Wallet,
        hub: Hub,
        *,
        heads: Heads,
        journal: Journal[Any],
        free_gas: bool = False,
    ) -> Self:
        """Everything, with its files in the worker's folder. Raises WrongBook."""
        me, fees, chain = wallet.address, fees_of(config), hub.domain.chain_id
        book = config.home / "transactions.db"
        sender = Sender(hub.rpc, wallet, book, chain_id=chain, fees=fees, heads=heads)
        funds = Funds(me, hub, sender, fees, heads=heads, free_gas=free_gas)
        pledges = Pledges(config.home / "votes.db")
        votes = Votes(me, hub, sender, funds, pledges, reveal_cap=reveal_cap_of(config))
        rate = None if config.eth_per_rlc is None else Rate(config.eth_per_rlc)
        profit = Profit(me, funds, rate, config.min_profit)
        twin = Doppelganger(me, sender, journal)
        return cls(sender, funds, votes, twin, profit, pledges)

    def attend(self, session: Session) -> None:
        """Have a say about the work that `session` asks for."""
        self.funds.states = session.engine.states
        self.funds.changes = self.twin.changes = session.changes
        session.gates += [self.twin, self.funds]
        session.judges += [self.funds, self.profit]

    def close(self) -> None:
        """Close the files. What waits is looked after by the next who opens them."""
        self.sender.close()
        self._pledges.close()
