"""What the real contracts tell, in the ledger's words."""

from __future__ import annotations

from typing import Any

from eth_hash.auto import keccak

from tallystick.chain.abi import decode, parameters, topic, unhex
from tallystick.poco.deal import Deal
from tallystick.poco.escrow import Event
from tallystick.poco.ledger import ChainTask, Vote
from tallystick.poco.values import ZERO_HASH, Address, Hash

INDEXED = {
    "Transfer(address,address,uint256)": 2,
    "Lock(address,uint256)": 0,
    "Unlock(address,uint256)": 0,
    "Reward(address,uint256,bytes32)": 0,
    "Seize(address,uint256,bytes32)": 0,
    "SchedulerNotice(address,bytes32)": 1,
    "OrdersMatched(bytes32,bytes32,bytes32,bytes32,bytes32,uint256)": 0,
    "DealSponsored(bytes32,address)": 0,
    "TaskInitialize(bytes32,address)": 2,
    "TaskContribute(bytes32,address,bytes32)": 2,
    "TaskConsensus(bytes32,bytes32)": 1,
    "TaskReveal(bytes32,address,bytes32)": 2,
    "TaskReopen(bytes32)": 1,
    "TaskFinalize(bytes32,bytes)": 1,
    "TaskClaimed(bytes32)": 1,
    "AccurateContribution(address,bytes32)": 2,
    "FaultyContribution(address,bytes32)": 2,
    **{
        f"{verb}{kind}(bytes32)": 0
        for verb in ("Signed", "Closed")
        for kind in ("AppOrder", "DatasetOrder", "WorkerpoolOrder", "RequestOrder")
    },
}
BY_TOPIC = {topic(signature): signature for signature in INDEXED}


def typed(kind: str, value: Any) -> Any:
    if kind == "address":
        return Address(value)
    return Hash(value) if kind == "bytes32" else value


def event_of(log: dict[str, Any]) -> Event:
    """A log of the hub in the ledger's words. All indexed arguments come first."""
    signature = BY_TOPIC[Hash(unhex(log["topics"][0]))]
    kinds = parameters(signature)
    told = b"".join(unhex(word) for word in log["topics"][1:])
    count = INDEXED[signature]
    values = (*decode(kinds[:count], told), *decode(kinds[count:], unhex(log["data"])))
    name = signature.partition("(")[0]
    return Event(name, tuple(map(typed, kinds, values)))


def reason_of(data: bytes) -> str:
    """What a contract said when it reverted."""
    if data[:4] == keccak(b"Error(string)")[:4]:
        return str(decode(["string"], data[4:])[0])
    if data[:4] == keccak(b"Panic(uint256)")[:4]:
        return f"Panic 0x{decode(['uint256'], data[4:])[0]:02x}"
    return data.hex()


def viewed_deal(deal: Deal) -> tuple[Any, ...]:
    assets = [
        (str(a.pointer), str(a.owner), a.price)
        for a in (deal.app, deal.dataset, deal.workerpool)
    ]
    return (
        *assets,
        deal.trust,
        deal.category,
        bytes(deal.tag),
        *(str(one) for one in (deal.requester, deal.beneficiary, deal.callback)),
        deal.params,
        deal.start,
        deal.bot_first,
        deal.bot_size,
        deal.worker_stake,
        deal.scheduler_reward_ratio,
        str(deal.sponsor),
    )


def viewed_task(task: ChainTask) -> tuple[Any, ...]:
    proved, waiting = len(task.winners(Vote.PROVED)), len(task.winners(Vote.CONTRIBUTED))
    return (
        task.status.value,
        bytes(task.deal.id),
        task.index,
        task.deal.time_unit,
        task.deal.contribution_deadline,
        task.reveal_deadline,
        task.deal.final_deadline,
        bytes(task.consensus or ZERO_HASH),
        proved,
        proved + waiting,
        tuple(str(worker) for worker in task.contributions),
        bytes(task.digest),
        task.results,
        0,
        task.callback,
    )
