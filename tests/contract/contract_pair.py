"""Every call made twice: on the ledger, and on the real bytecode. They must agree.

Compared after each call: whether it is accepted, what is said when it is refused, every event
with its arguments in order, and every account. Compared at the end: all that can be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from contract_reading import event_of, reason_of, viewed_deal, viewed_task

from tallystick.chain import contracts
from tallystick.chain.abi import decode, encode_call, unhex
from tallystick.chain.calls import Call, Calls
from tallystick.devnet.actors import register_dataset
from tallystick.devnet.deploy import CATEGORIES
from tallystick.poco.clerk import Workerpool
from tallystick.poco.deal import Category
from tallystick.poco.escrow import Event, Revert
from tallystick.poco.ledger import ChainTask, Ledger
from tallystick.poco.orders import (
    Domain,
)
from tallystick.poco.rewards import KITTY
from tallystick.poco.values import (
    ZERO_ADDRESS,
    Address,
    Hash,
)


@dataclass
class Pair:
    """A chain and its ledger, side by side, from the same beginning."""

    chain: Any
    """The fixture `chain` or `shared_chain`."""
    dataset: Address = ZERO_ADDRESS
    now: int = 0
    """When the latest call was mined, on both sides."""
    said: list[Event] = field(default_factory=list)
    """What the ledger told during the latest call."""
    made: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """How often each call was tried, by whether it was accepted."""
    heard: Counter[str] = field(default_factory=Counter)
    """How often the contracts told each event."""

    def __post_init__(self) -> None:
        chain = self.chain
        self.dataset = register_dataset(
            chain.console,
            chain.contracts,
            owner=chain.app_owner.address,
            name="test data",
            multiaddr=b"http://127.0.0.1/data",
            checksum=Hash(b"\x22" * 32),
        )
        self.domain = Domain(chain.chain_id, chain.hub)
        self.calls = Calls(
            hub=chain.hub,
            token=chain.rlc,
            apps=chain.app_registry,
            datasets=chain.dataset_registry,
            workerpools=chain.workerpool_registry,
        )
        for actor in chain.actors:
            chain.rpc("anvil_impersonateAccount", str(actor.address))
        self.keys = {actor.address: actor.key for actor in chain.actors}
        self._snapshot = chain.snapshot()
        self._begin = chain.now
        self._fresh_ledger()

    def _fresh_ledger(self) -> None:
        chain = self.chain
        self.now, self.said = self._begin, []
        self.ledger = Ledger(self.said.append, self.domain)
        registries = self.ledger.clerk.registries
        registries.apps[chain.app] = chain.app_owner.address
        registries.datasets[self.dataset] = chain.app_owner.address
        registries.workerpools[chain.workerpool] = Workerpool(chain.scheduler.address)
        self.ledger.clerk.categories.extend(
            Category(id=n, name=name, description='""', time_unit=unit)
            for n, (name, unit) in enumerate(CATEGORIES)
        )
        for actor in chain.actors:
            self.ledger.escrow.deposit(actor.address, self.stake_on_chain(actor.address)[0])
        self.compare_accounts()

    def restart(self) -> None:
        """Back to the beginning, on both sides."""
        self.chain.revert(self._snapshot)
        self._snapshot = self.chain.snapshot()
        self._fresh_ledger()

    # One call on both

    def both(
        self, sender: Address, call: Call, act: Callable[[int], Any], *, at: int | None = None
    ) -> Revert | None:
        """Make one call on both sides, at time `at` or a second after the last one."""
        self.now = self.now + 1 if at is None else max(at, self.now + 1)
        receipt = self._mine(sender, call)
        self.said.clear()
        refusal = self._refused(act)
        accepted = int(receipt["status"], 16) == 1
        told = f"{call.what}: the chain says {accepted=}, the ledger {refusal=}"
        assert accepted == (refusal is None), told
        heard = [event_of(log) for log in receipt["logs"] if self._is_hubs(log)]
        assert self.said == heard, call.what
        self.made[call.data[:4].hex(), accepted] += 1
        self.heard.update(event.name for event in heard)
        if refusal is not None and call.to == self.chain.hub:
            assert refusal.reason == self.why(sender, call), call.what
        self.compare_accounts()
        return refusal

    def _is_hubs(self, log: dict[str, Any]) -> bool:
        return Address(log["address"]) == self.chain.hub

    def _mine(self, sender: Address, call: Call) -> dict[str, Any]:
        self.chain.rpc("evm_setNextBlockTimestamp", self.now)
        receipt: dict[str, Any] = self.chain.rpc(
            "eth_sendTransactionSync", step_of(sender, call)
        )
        return receipt

    def _refused(self, act: Callable[[int], Any]) -> Revert | None:
        try:
            act(self.now)
        except Revert as revert:
            refusal = revert
        else:
            return None
        assert str(refusal), "people are told why"
        assert not self.said, "a refused call says nothing"
        return refusal

    def why(self, sender: Address, call: Call) -> str:
        """What the hub says when it refuses; asked of the block that has the refused call."""
        asked = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "eth_call",
            "params": [step_of(sender, call), "latest"],
        }
        answer = self.chain.console._post(asked)
        return reason_of(unhex(answer["error"].get("data") or "0x"))

    # What can be read

    def ask(self, signature: str, *args: Any, returns: str, to: Address | None = None) -> Any:
        (value,) = self.ask_all([(signature, args)], returns=returns, to=to)
        return value

    def ask_all(
        self,
        questions: Iterable[tuple[str, tuple[Any, ...]]],
        *,
        returns: str,
        to: Address | None = None,
    ) -> list[Any]:
        target = str(to or self.chain.hub)
        batch = [
            ("eth_call", [{"to": target, "data": hexed(encode_call(name, args))}, "latest"])
            for name, args in questions
        ]
        return [decode([returns], unhex(one))[0] for one in self.chain.console.batch(batch)]

    def stake_on_chain(self, account: Address) -> tuple[int, int]:
        stake, locked = self.ask(contracts.VIEW_ACCOUNT, account, returns=contracts.ACCOUNT)
        return stake, locked

    @property
    def accounts(self) -> list[Address]:
        known = {actor.address for actor in self.chain.actors} | {self.chain.hub, KITTY}
        return sorted(known | set(self.ledger.escrow.balances) - {ZERO_ADDRESS})

    def compare_accounts(self) -> None:
        questions = [(contracts.VIEW_ACCOUNT, (account,)) for account in self.accounts]
        found = self.ask_all(questions, returns=contracts.ACCOUNT)
        escrow = self.ledger.escrow
        expected = [
            (escrow.balance(account), escrow.stake(account)) for account in self.accounts
        ]
        assert found == expected
        assert sum(escrow.balances.values()) == escrow.supply

    def compare_everything(self) -> None:
        """All deals, tasks, contributions, scores, orders and the supply."""
        for deal in self.ledger.clerk.deals.values():
            found = self.ask(contracts.VIEW_DEAL, deal.id, returns=contracts.DEAL)
            assert found == viewed_deal(deal)
        for task in self.ledger.tasks.values():
            found = self.ask(contracts.VIEW_TASK, task.id, returns=contracts.TASK)
            assert found == viewed_task(task)
            self._compare_contributions(task)
        for worker in self.accounts:
            score = self.ask(contracts.VIEW_SCORE, worker, returns="uint256")
            assert score == self.ledger.scores.get(worker, 0)
        for known_as, consumed in self.ledger.clerk.consumed.items():
            assert self.ask(contracts.VIEW_CONSUMED, known_as, returns="uint256") == consumed
        for known_as, owner in self.ledger.clerk.presigned.items():
            assert self.ask(contracts.VIEW_PRESIGNED, known_as, returns="address") == str(owner)
        supply = self.ask("totalSupply()", returns="uint256")
        assert supply == self.ledger.escrow.supply == self.rlc_of(self.chain.hub)

    def _compare_contributions(self, task: ChainTask) -> None:
        for worker, made in task.contributions.items():
            found = self.ask(
                contracts.VIEW_CONTRIBUTION, task.id, worker, returns=contracts.CONTRIBUTION
            )
            told = (made.status.value, made.hash, made.seal, str(made.enclave), made.share)
            assert found == told

    def rlc_of(self, account: Address) -> int:
        held = self.ask(contracts.BALANCE_OF, account, returns="uint256", to=self.chain.rlc)
        return int(held)


def hexed(data: bytes) -> str:
    return "0x" + data.hex()


def step_of(sender: Address, call: Call) -> dict[str, str]:
    return {
        "from": str(sender),
        "to": str(call.to),
        "data": hexed(call.data),
        "gas": hex(5_000_000),
    }
