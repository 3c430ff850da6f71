"""The ledger behind the contracts' own encoding: calldata in, logs and return values out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from tallystick.chain import contracts
from tallystick.chain.abi import decode, encode, parameters, selector, topic
from tallystick.poco.escrow import Emit, Event, Revert
from tallystick.poco.ledger import ChainTask, Ledger, Permit, Vote
from tallystick.poco.values import (
    ZERO_ADDRESS,
    ZERO_HASH,
    Address,
    DealId,
    Digest,
    Hash,
    Instant,
    TaskId,
)

IMAGE: Final = b"registry.example/app:1"


@dataclass(frozen=True, slots=True)
class Ask:
    """A call as it reaches the ledger."""

    ledger: Ledger
    sender: Address
    now: Instant


def fork(ledger: Ledger, emit: Emit) -> Ledger:
    """The same state once more: what happens to one is not seen by the other."""
    copy = Ledger(emit, ledger.clerk.domain)
    for mine, theirs in ((copy.escrow, ledger.escrow),):
        mine.balances, mine.locked = dict(theirs.balances), dict(theirs.locked)
        mine.supply = theirs.supply
    clerk, old = copy.clerk, ledger.clerk
    clerk.registries, clerk.categories, clerk.presigned = (
        old.registries,
        old.categories,
        old.presigned,
    )
    clerk.deals, clerk.consumed = dict(old.deals), dict(old.consumed)
    copy.scores = dict(ledger.scores)
    copy.tasks = {
        id: replace(task, contributions=dict(task.contributions))
        for id, task in ledger.tasks.items()
    }
    return copy


def execute(ask: Ask, data: bytes) -> None:
    """Do what the calldata says. Raises Revert."""
    found = _CALLS.get(data[:4])
    if found is None:
        if data:
            raise Revert("The hub has no such function.")
        return
    signature, act = found
    act(ask, decode(parameters(signature), data[4:]))


def _contribute(ask: Ask, args: tuple[Any, ...]) -> None:
    task, choice, seal, enclave, sign, authorization = args
    permit = Permit(authorization=authorization, enclave=Address(enclave), enclave_sign=sign)
    ask.ledger.contribute(
        ask.sender, TaskId(task), Hash(choice), Hash(seal), permit=permit, now=ask.now
    )


def _finish(ask: Ask, args: tuple[Any, ...]) -> None:
    task, digest, results, callback, enclave, sign, authorization = args
    ask.ledger.contribute_and_finalize(
        ask.sender,
        TaskId(task),
        Digest(digest),
        results=results,
        callback=callback,
        permit=Permit(authorization=authorization, enclave=Address(enclave), enclave_sign=sign),
        now=ask.now,
    )


def _finalize(ask: Ask, args: tuple[Any, ...]) -> None:
    task, results, callback = args
    ask.ledger.finalize(
        ask.sender, TaskId(task), results=results, callback=callback, now=ask.now
    )


def _ids(deals: Iterable[bytes]) -> list[DealId]:
    return [DealId(each) for each in deals]


Act = Callable[[Ask, tuple[Any, ...]], object]
_CALLS: Final[Mapping[bytes, tuple[str, Act]]] = {
    selector(signature): (signature, act)
    for signature, act in (
        (contracts.CONTRIBUTE, _contribute),
        (contracts.CONTRIBUTE_AND_FINALIZE, _finish),
        (contracts.FINALIZE, _finalize),
        (
            contracts.REVEAL,
            lambda ask, a: ask.ledger.reveal(
                ask.sender, TaskId(a[0]), Digest(a[1]), now=ask.now
            ),
        ),
        (
            contracts.REOPEN,
            lambda ask, a: ask.ledger.reopen(ask.sender, TaskId(a[0]), now=ask.now),
        ),
        (contracts.CLAIM, lambda ask, a: ask.ledger.claim(TaskId(a[0]), now=ask.now)),
        (
            contracts.CLAIM_ARRAY,
            lambda ask, a: ask.ledger.claim_array([TaskId(t) for t in a[0]], now=ask.now),
        ),
        (contracts.INITIALIZE, lambda ask, a: ask.ledger.initialize(DealId(a[0]), a[1])),
        (
            contracts.INITIALIZE_ARRAY,
            lambda ask, a: ask.ledger.initialize_array(_ids(a[0]), list(a[1])),
        ),
        (
            contracts.INITIALIZE_AND_CLAIM_ARRAY,
            lambda ask, a: ask.ledger.initialize_and_claim_array(
                _ids(a[0]), list(a[1]), now=ask.now
            ),
        ),
    )
}


def view(ledger: Ledger, data: bytes) -> bytes:
    """What a question to the hub, or to an asset of it, is answered. Raises Revert."""
    found = _VIEWS.get(data[:4])
    if found is None:
        raise Revert("There is no such function.")
    signature, returns, read = found
    return encode((returns,), (read(ledger, *decode(parameters(signature), data[4:])),))


def _deal(ledger: Ledger, id: bytes) -> tuple[Any, ...]:
    deal = ledger.clerk.deals.get(DealId(id))
    if deal is None:
        nothing = (ZERO_ADDRESS, ZERO_ADDRESS, 0)
        who = (ZERO_ADDRESS,) * 3
        return (nothing, nothing, nothing, 0, 0, bytes(32), *who, "", *(0,) * 5, ZERO_ADDRESS)
    assets = tuple((a.pointer, a.owner, a.price) for a in (deal.app, deal.dataset))
    pool = deal.workerpool
    return (
        *assets,
        (pool.pointer, pool.owner, pool.price),
        deal.trust,
        deal.category,
        bytes(deal.tag),
        deal.requester,
        deal.beneficiary,
        deal.callback,
        deal.params,
        deal.start,
        deal.bot_first,
        deal.bot_size,
        deal.worker_stake,
        deal.scheduler_reward_ratio,
        deal.sponsor,
    )


def _task(ledger: Ledger, id: bytes) -> tuple[Any, ...]:
    task = ledger.tasks.get(TaskId(id))
    if task is None:
        return (0, bytes(32), *(0,) * 5, bytes(32), 0, 0, (), bytes(32), b"", 0, b"")
    return _known_task(task)


def _known_task(task: ChainTask) -> tuple[Any, ...]:
    deal = task.deal
    won = len(task.winners(Vote.CONTRIBUTED, Vote.PROVED)) if task.consensus else 0
    return (
        task.status.value,
        deal.id,
        task.index,
        deal.time_unit,
        deal.contribution_deadline,
        task.reveal_deadline,
        deal.final_deadline,
        task.consensus or ZERO_HASH,
        len(task.winners(Vote.PROVED)) if task.consensus else 0,
        won,
        tuple(task.contributions),
        task.digest,
        task.results,
        0,
        task.callback,
    )


def _vote(ledger: Ledger, id: bytes, worker: str) -> tuple[Any, ...]:
    task = ledger.tasks.get(TaskId(id))
    mine = task.contributions.get(Address(worker)) if task else None
    if mine is None:
        return (0, bytes(32), bytes(32), ZERO_ADDRESS, 0)
    return (mine.status.value, mine.hash, mine.seal, mine.enclave, mine.share)


def _account(ledger: Ledger, who: str) -> tuple[int, int]:
    owner = Address(who)
    return (ledger.escrow.balance(owner), ledger.escrow.stake(owner))


def _category(ledger: Ledger, id: int) -> tuple[str, str, int]:
    if id >= len(ledger.clerk.categories):
        raise Revert("There is no such category.")
    found = ledger.clerk.categories[id]
    return (found.name, found.description, found.time_unit)


def _app(ledger: Ledger, app: str) -> tuple[Any, ...]:
    owner = ledger.clerk.registries.owner_of(Address(app))
    return (owner, "app", "DOCKER", IMAGE, bytes(32), b"")


_VIEWS: Final[Mapping[bytes, tuple[str, str, Callable[..., Any]]]] = {
    selector(signature): (signature, returns, read)
    for signature, returns, read in (
        (contracts.VIEW_DEAL, contracts.DEAL, _deal),
        (contracts.VIEW_TASK, contracts.TASK, _task),
        (contracts.VIEW_CONTRIBUTION, contracts.CONTRIBUTION, _vote),
        (contracts.VIEW_ACCOUNT, contracts.ACCOUNT, _account),
        (contracts.VIEW_CATEGORY, contracts.CATEGORY, _category),
        (contracts.VIEW_APP, contracts.APP, _app),
        (
            contracts.VIEW_SCORE,
            "uint256",
            lambda ledger, who: ledger.scores.get(Address(who), 0),
        ),
    )
}

_EVENTS: Final[Mapping[str, tuple[str, int]]] = {
    signature.split("(")[0]: (signature, indexed)
    for signature, indexed in (
        (contracts.SCHEDULER_NOTICE, 1),
        (contracts.TASK_INITIALIZE, 2),
        (contracts.TASK_CONTRIBUTE, 2),
        (contracts.TASK_CONSENSUS, 1),
        (contracts.TASK_REVEAL, 2),
        (contracts.TASK_REOPEN, 1),
        (contracts.TASK_FINALIZE, 1),
        (contracts.TASK_CLAIMED, 1),
    )
}


def logs_of(hub: Address, events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """The logs of deals and tasks as a node tells them, without their places. Money is read,
    not followed."""
    for event in events:
        if event.name not in _EVENTS:
            continue
        signature, indexed = _EVENTS[event.name]
        types = parameters(signature)
        words = [encode((kind,), (v,)) for kind, v in zip(types, event.args, strict=True)]
        rest = encode(types[indexed:], event.args[indexed:])
        yield {
            "address": str(hub),
            "topics": [str(topic(signature)), *("0x" + w.hex() for w in words[:indexed])],
            "data": "0x" + rest.hex(),
        }
