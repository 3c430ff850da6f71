"""What a wallet has, and how it stands with a task: everything a vote depends on, asked in one
round trip and so of one block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tallystick.chain.abi import BadAnswer, quantity, unhex
from tallystick.chain.answers import RpcError
from tallystick.chain.queries import Query, read_head
from tallystick.chain.records import Account, ChainContribution, ChainTask, Head
from tallystick.chain.rpc import Request
from tallystick.poco.values import Address, TaskId, Wei

if TYPE_CHECKING:
    from tallystick.chain.hub import Hub

A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What a wallet has; None where no node told it, which is not zero."""

    account: Account | None
    """Inside the hub."""
    balance: Wei | None
    """Pays for gas."""
    gas_price: Wei | None
    """What the chain asks for a unit of gas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What decides whether a vote would count."""

    head: Head
    task: ChainTask | None
    """None before it is initialized."""
    contribution: ChainContribution | None
    """The wallet's own; None while there is none."""
    purse: Purse
    sent: int
    """The wallet's transactions in the chain ..."""
    pending: int
    """... and with those that wait in the node."""


async def purse(hub: Hub, owner: Address) -> Purse:
    """What `owner` has. Raises `Unavailable` when no node answers at all."""
    return _purse(hub, owner, await hub.rpc.batch(_purse_questions(hub, owner)))


async def standing(hub: Hub, owner: Address, task: TaskId) -> Standing:
    """How `owner` stands with `task`. Raises `Unavailable`."""
    ask = hub.queries
    about_task, about_vote = ask.task(task), ask.contribution(task, owner)
    head, vote, mine, sent, pending, *rest = await hub.rpc.batch(
        [
            ("eth_getBlockByNumber", ("latest", False)),
            about_task.request,
            about_vote.request,
            ("eth_getTransactionCount", (str(owner), "latest")),
            ("eth_getTransactionCount", (str(owner), "pending")),
            *_purse_questions(hub, owner),
        ]
    )
    return Standing(
        head=read_head(_good(head)),
        task=about_task.read(unhex(_good(vote))),
        contribution=about_vote.read(unhex(_good(mine))),
        purse=_purse(hub, owner, rest),
        sent=quantity(_good(sent)),
        pending=quantity(_good(pending)),
    )


def _purse_questions(hub: Hub, owner: Address) -> list[Request]:
    return [
        hub.queries.account(owner).request,
        ("eth_getBalance", (str(owner), "latest")),
        ("eth_gasPrice", ()),
    ]


def _purse(hub: Hub, owner: Address, answers: list[Any]) -> Purse:
    account, balance, price = answers
    return Purse(
        account=_known(hub.queries.account(owner), account),
        balance=None if isinstance(balance, RpcError) else quantity(balance),
        gas_price=None if isinstance(price, RpcError) else quantity(price),
    )


def _known(question: Query[A], answer: Any) -> A | None:
    """None for what a node answers that knows nothing: a lagging one says "0x"."""
    if isinstance(answer, RpcError):
        return None
    try:
        return question.read(unhex(answer))
    except BadAnswer:
        return None


def answered(question: Query[A], answer: Any) -> A:
    """What a node answered in a batch; raises its error."""
    return question.read(unhex(_good(answer)))


def counted(answer: Any) -> int:
    """The same for a number that a node told by itself."""
    return quantity(_good(answer))


def _good(answer: Any) -> Any:
    if isinstance(answer, RpcError):
        raise answer
    return answer
