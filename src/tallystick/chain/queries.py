"""What can be read from the contracts: calldata, and how to understand the answer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tallystick.chain import contracts
from tallystick.chain.abi import BadAnswer, decode, encode_call, quantity
from tallystick.chain.records import (
    Account,
    App,
    ChainContribution,
    ChainTask,
    ContributionState,
    Dataset,
    Head,
    TaskState,
    WorkerpoolInfo,
)
from tallystick.poco.deal import Asset, Category, Deal
from tallystick.poco.values import (
    ZERO_ADDRESS,
    Address,
    DealId,
    Digest,
    Hash,
    Nrlc,
    Tag,
    TaskId,
)

T = TypeVar("T")

_BLOOM = 2 + 2 * 256
"""Letters of a bloom: 0x and 256 bytes."""


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A question to a contract that costs nothing."""

    to: Address
    data: bytes
    read: Callable[[bytes], T]
    """Raises `BadAnswer`."""

    @property
    def request(self) -> tuple[str, tuple[Any, ...]]:
        """What a node is asked."""
        return "eth_call", ({"to": str(self.to), "data": "0x" + self.data.hex()}, "latest")


def query(
    to: Address, signature: str, *args: Any, returns: str, read: Callable[[Any], T]
) -> Query[T]:
    """A question whose answer is one ABI value, handed to `read`."""

    def understand(answer: bytes) -> T:
        (told,) = decode((returns,), answer)
        return read(told)

    return Query(to, encode_call(signature, args), understand)


@dataclass(frozen=True, slots=True)
class Queries:
    """The questions to one hub."""

    hub: Address

    def deal(self, id: DealId) -> Query[Deal | None]:
        """The deal with a time unit of 0, which only its category tells."""
        return query(
            self.hub,
            contracts.VIEW_DEAL,
            id,
            returns=contracts.DEAL,
            read=lambda told: _deal(id, told),
        )

    def task(self, id: TaskId) -> Query[ChainTask | None]:
        """A task; None before it is initialized."""
        return query(
            self.hub,
            contracts.VIEW_TASK,
            id,
            returns=contracts.TASK,
            read=lambda told: _task(id, told),
        )

    def contribution(self, task: TaskId, worker: Address) -> Query[ChainContribution | None]:
        """The vote of `worker` on `task`; None while there is none."""
        return query(
            self.hub,
            contracts.VIEW_CONTRIBUTION,
            task,
            worker,
            returns=contracts.CONTRIBUTION,
            read=_contribution,
        )

    def account(self, owner: Address) -> Query[Account]:
        """What `owner` has inside the hub, in nRLC."""
        return query(
            self.hub,
            contracts.VIEW_ACCOUNT,
            owner,
            returns=contracts.ACCOUNT,
            read=lambda told: Account(*told),
        )

    def score(self, worker: Address) -> Query[int]:
        """The record of `worker`."""
        return query(self.hub, contracts.VIEW_SCORE, worker, returns="uint256", read=int)

    def consumed(self, order: Hash) -> Query[int]:
        """How many tasks of the order are used up."""
        return query(self.hub, contracts.VIEW_CONSUMED, order, returns="uint256", read=int)

    def presigned(self, order: Hash) -> Query[Address]:
        """Who signed the order on chain; zero if nobody did."""
        return query(self.hub, contracts.VIEW_PRESIGNED, order, returns="address", read=Address)

    def category(self, id: int) -> Query[Category]:
        """A class of time."""
        return query(
            self.hub,
            contracts.VIEW_CATEGORY,
            id,
            returns=contracts.CATEGORY,
            read=lambda told: _category(id, told),
        )

    def categories(self) -> Query[int]:
        """How many categories there are; their ids count from 0."""
        return query(self.hub, contracts.COUNT_CATEGORY, returns="uint256", read=int)

    def app(self, address: Address) -> Query[App]:
        """An app as it is registered."""
        return query(self.hub, contracts.VIEW_APP, address, returns=contracts.APP, read=_app)

    def dataset(self, address: Address) -> Query[Dataset]:
        """A dataset as it is registered."""
        return query(
            self.hub,
            contracts.VIEW_DATASET,
            address,
            returns=contracts.DATASET,
            read=_dataset,
        )

    def workerpool(self, address: Address) -> Query[WorkerpoolInfo]:
        """A workerpool as it is registered."""
        return query(
            self.hub,
            contracts.VIEW_WORKERPOOL,
            address,
            returns=contracts.WORKERPOOL,
            read=_workerpool,
        )

    def callback_data(self, task: TaskId) -> Query[bytes]:
        """What a completed task gave to its callback."""
        return query(self.hub, contracts.RESULT_FOR, task, returns="bytes", read=bytes)

    def address(self, signature: str) -> Query[Address]:
        """One of the addresses that the hub keeps, for example `contracts.TOKEN`."""
        return query(self.hub, signature, returns="address", read=Address)

    def domain_separator(self) -> Query[Hash]:
        """What the hub mixes into every order's hash."""
        return query(self.hub, contracts.DOMAIN_SEPARATOR, returns="bytes32", read=Hash)

    def number(self, signature: str) -> Query[int]:
        """The answer of a function that takes nothing and gives a whole number."""
        return query(self.hub, signature, returns="uint256", read=int)


def token_balance(token: Address, owner: Address) -> Query[Nrlc]:
    """RLC in a wallet, outside the hub."""
    return query(token, contracts.BALANCE_OF, owner, returns="uint256", read=int)


def registered(registry: Address, asset: Address) -> Query[bool]:
    """Whether the registry made this asset."""
    return query(registry, contracts.IS_REGISTERED, asset, returns="bool", read=bool)


def read_head(block: Any) -> Head:
    """The header of a node's block. Raises `BadAnswer`."""
    if not isinstance(block, dict):
        raise BadAnswer("the node does not have the block it was asked about")
    try:
        return Head(
            number=quantity(block["number"]),
            hash=Hash(block["hash"]),
            parent=Hash(block["parentHash"]),
            timestamp=quantity(block["timestamp"]),
            bloom=_bloom(block.get("logsBloom")),
        )
    except (KeyError, TypeError, ValueError) as trouble:
        raise BadAnswer(f"the node tells a block without its parts: {trouble}") from trouble


def _bloom(told: Any) -> int:
    """0 where a node tells none, or something else."""
    if not isinstance(told, str) or len(told) != _BLOOM:
        return 0
    return int(told, 16)


def _deal(id: DealId, told: Any) -> Deal | None:
    app, dataset, pool, trust, category, tag, requester, beneficiary, callback = told[:9]
    params, start, bot_first, bot_size, worker_stake, reward_ratio, sponsor = told[9:]
    if Address(requester) == ZERO_ADDRESS:
        return None
    return Deal(
        id=id,
        start=start,
        time_unit=0,
        trust=trust,
        category=category,
        tag=Tag(tag),
        app=_asset(app),
        dataset=_asset(dataset),
        workerpool=_asset(pool),
        requester=Address(requester),
        beneficiary=Address(beneficiary),
        callback=Address(callback),
        params=params,
        bot_first=bot_first,
        bot_size=bot_size,
        worker_stake=worker_stake,
        scheduler_reward_ratio=reward_ratio,
        sponsor=Address(sponsor),
    )


def _asset(told: tuple[str, str, int]) -> Asset:
    pointer, owner, price = told
    return Asset(Address(pointer), Address(owner), price)


def _task(id: TaskId, told: Any) -> ChainTask | None:
    state, deal, index, time_unit, contribution, reveal, final, consensus = told[:8]
    reveals, winners, contributors, digest, results, _, callback = told[8:]
    if state == TaskState.UNSET:
        return None
    return ChainTask(
        id=id,
        state=TaskState(state),
        deal=DealId(deal),
        index=index,
        time_unit=time_unit,
        contribution_deadline=contribution,
        reveal_deadline=reveal,
        final_deadline=final,
        consensus=Hash(consensus),
        reveals=reveals,
        winners=winners,
        contributors=tuple(map(Address, contributors)),
        digest=Digest(digest),
        results=results,
        callback=callback,
    )


def _contribution(told: Any) -> ChainContribution | None:
    state, result_hash, seal, enclave, log_weight = told
    if state == ContributionState.UNSET:
        return None
    return ChainContribution(
        state=ContributionState(state),
        result_hash=Hash(result_hash),
        seal=Hash(seal),
        enclave=Address(enclave),
        log_weight=log_weight,
    )


def _category(id: int, told: tuple[str, str, int]) -> Category:
    name, description, time_unit = told
    return Category(id=id, name=name, description=description, time_unit=time_unit)


def _app(told: Any) -> App:
    owner, name, kind, multiaddr, checksum, enclave = told
    return App(
        owner=Address(owner),
        name=name,
        type=kind,
        multiaddr=multiaddr,
        checksum=Hash(checksum),
        enclave=enclave,
    )


def _dataset(told: Any) -> Dataset:
    owner, name, multiaddr, checksum = told
    return Dataset(
        owner=Address(owner), name=name, multiaddr=multiaddr, checksum=Hash(checksum)
    )


def _workerpool(told: Any) -> WorkerpoolInfo:
    owner, description, stake_ratio, reward_ratio = told
    return WorkerpoolInfo(
        owner=Address(owner),
        description=description,
        stake_ratio=stake_ratio,
        reward_ratio=reward_ratio,
    )
