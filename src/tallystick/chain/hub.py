"""The hub: what PoCo's contracts say now. Writing to them is `calls` and `sender`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self, TypeVar, overload

from tallystick.chain import contracts
from tallystick.chain.abi import quantity, unhex
from tallystick.chain.answers import Reverted, RpcError
from tallystick.chain.calls import Calls
from tallystick.chain.queries import Queries, Query, read_head, token_balance
from tallystick.chain.records import (
    Account,
    App,
    ChainContribution,
    ChainTask,
    Dataset,
    Head,
    Registries,
    WorkerpoolInfo,
)
from tallystick.chain.rpc import Rpc
from tallystick.engine.errors import Refused
from tallystick.poco.deal import Category, Deal
from tallystick.poco.orders import Domain
from tallystick.poco.values import (
    ZERO_ADDRESS,
    Address,
    DealId,
    Hash,
    Nrlc,
    TaskId,
    Wei,
)

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class NoSuchContract(Refused):
    """The address given holds no contract of the expected kind."""


class Hub:
    """One deployment of PoCo, read through one `Rpc`.

    Reads are of the latest block. They raise `Unavailable` when no node answers, and
    `Refused` when the chain says that the thing asked about does not exist.
    """

    def __init__(
        self, rpc: Rpc, domain: Domain, token: Address, registries: Registries
    ) -> None:
        """For a deployment that is known already; `open` asks the chain."""
        self.rpc, self.domain, self.address = rpc, domain, domain.hub
        self.queries = Queries(domain.hub)
        self._token, self._registries = token, registries
        self._categories: dict[int, Category] = {}

    @classmethod
    async def open(cls, rpc: Rpc, address: Address) -> Self:
        """The hub at `address`. Raises `NoSuchContract` when it is none."""
        ask = Queries(address)
        parts = [
            ask.address(contracts.TOKEN),
            ask.address(contracts.APP_REGISTRY),
            ask.address(contracts.DATASET_REGISTRY),
            ask.address(contracts.WORKERPOOL_REGISTRY),
        ]
        chain, code, *answers = await rpc.batch(
            [("eth_chainId", ()), ("eth_getCode", (str(address), "latest"))]
            + [part.request for part in parts]
        )
        for answer in (chain, code):
            if isinstance(answer, RpcError):
                raise answer
        known = quantity(chain)
        if not unhex(code) or any(isinstance(answer, Reverted) for answer in answers):
            raise NoSuchContract(
                f"There is no PoCo hub at {address} on chain {known}: "
                "check the hub's address and the node's."
            )
        token, *registries = (
            _understood(part, answer) for part, answer in zip(parts, answers, strict=True)
        )
        return cls(rpc, Domain(known, address), token, Registries(*registries))

    @property
    def calls(self) -> Calls:
        """Builds the transactions of this deployment."""
        known = self._registries
        return Calls(self.address, self._token, known.app, known.dataset, known.workerpool)

    @property
    def token(self) -> Address:
        """The RLC contract; zero in native mode."""
        return self._token

    @property
    def registries(self) -> Registries:
        """Where apps, datasets and workerpools are registered."""
        return self._registries

    async def deal(self, id: DealId) -> Deal | None:
        """The deal `id`; None while the node does not know it, and another is asked first."""
        deal = await self.ask(self.queries.deal(id))
        if deal is None:
            self.rpc.doubt()
            return None
        category = await self.category(deal.category)
        return replace(deal, time_unit=category.time_unit)

    async def task(self, id: TaskId) -> ChainTask | None:
        """None before it is initialized."""
        return await self.ask(self.queries.task(id))

    async def contribution(self, task: TaskId, worker: Address) -> ChainContribution | None:
        """The vote of `worker` on `task`; None while there is none."""
        return await self.ask(self.queries.contribution(task, worker))

    async def account(self, owner: Address) -> Account:
        """What `owner` has inside the hub."""
        return await self.ask(self.queries.account(owner))

    async def score(self, worker: Address) -> int:
        """The record of `worker`, on which the weight of its votes rests."""
        return await self.ask(self.queries.score(worker))

    async def consumed(self, order: Hash) -> int:
        """How many tasks of the order with this hash are used up."""
        return await self.ask(self.queries.consumed(order))

    async def category(self, id: int) -> Category:
        """Asked once: categories never change."""
        if id not in self._categories:
            question = self.queries.category(id)
            self._categories[id] = await self._existing(question, f"no category {id}")
        return self._categories[id]

    async def app(self, address: Address) -> App:
        """What is registered at `address`."""
        return await self._existing(self.queries.app(address), f"no app at {address}")

    async def dataset(self, address: Address) -> Dataset:
        """What is registered at `address`."""
        return await self._existing(self.queries.dataset(address), f"no dataset at {address}")

    async def workerpool(self, address: Address) -> WorkerpoolInfo:
        """What is registered at `address`."""
        question = self.queries.workerpool(address)
        return await self._existing(question, f"no workerpool at {address}")

    async def head(self) -> Head:
        """The latest block."""
        return read_head(await self.rpc.call("eth_getBlockByNumber", "latest", False))

    async def balance(self, owner: Address) -> Wei:
        """What the wallet can pay for gas."""
        return quantity(await self.rpc.call("eth_getBalance", str(owner), "latest"))

    async def rlc_balance(self, owner: Address) -> Nrlc:
        """RLC in the wallet, outside the hub. In native mode it pays for gas as well."""
        if self._token == ZERO_ADDRESS:
            return await self.balance(owner) // 10**9
        return await self.ask(token_balance(self._token, owner))

    async def ask(self, question: Query[A]) -> A:
        """The answer to one question. Raises `Reverted` when the contract refuses it."""
        (answer,) = await self.rpc.batch([question.request])
        return _understood(question, answer)

    @overload
    async def together(self, a: Query[A], b: Query[B], /) -> tuple[A, B]: ...
    @overload
    async def together(self, a: Query[A], b: Query[B], c: Query[C], /) -> tuple[A, B, C]: ...
    @overload
    async def together(
        self, a: Query[A], b: Query[B], c: Query[C], d: Query[D], /
    ) -> tuple[A, B, C, D]: ...
    async def together(self, *questions: Query[Any]) -> tuple[Any, ...]:
        """Several answers for one round trip, all from the same node."""
        answers = await self.rpc.batch([question.request for question in questions])
        return tuple(map(_understood, questions, answers))

    async def _existing(self, question: Query[A], absence: str) -> A:
        try:
            return await self.ask(question)
        except Reverted as refusal:
            raise NoSuchContract(
                f"There is {absence} on chain {self.domain.chain_id}."
            ) from refusal


def _understood(question: Query[A], answer: Any) -> A:
    if isinstance(answer, RpcError):
        raise answer
    return question.read(unhex(answer))
