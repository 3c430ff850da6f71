"""Why a worker earns nothing, in the order of what matters; and what one task came to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

REMEDIES = {
    "PAUSED": "`tally worker resume`.",
    "DRAINING": "`tally worker resume` takes it back; else start the worker again later.",
    "STOPPING": "Start the worker again.",
    "NOT_RUNNING": "Start it: `tally worker start`.",
    "STARTING": "It registers when the scheduler answers; `tally worker logs` tells more.",
    "SCHEDULER_AWAY": "`tally worker doctor` finds out where the connection breaks.",
    "CHAIN_AWAY": "Name another node in rpc_urls, or wait until this one answers.",
    "SLOTS_FULL": "Nothing: the machine works. More slots need more processors.",
    "STAKE_TOO_LOW": "Deposit more: `tally account deposit`.",
    "OUT_OF_GAS": "Send ETH to the wallet; the worker goes on by itself.",
    "GAS_PRICE_CAP": "Raise gas_price_cap, or wait until gas is cheaper.",
    "WALLET_SHARED": "Stop the other program that uses this wallet.",
    "JOURNAL_UNWRITABLE": "Make room on the disk of base_dir.",
    "DISK_FULL": "Make room on the disks of base_dir and image_cache, or lower min_free_disk.",
    "BAD_POLICIES": "Correct the settings file; it is read again at once.",
    "NO_TASK": "Wait, or join a pool that sells more work.",
    "ENOUGH_WORKERS": "Wait for the next task; a faster answer is all there is to win.",
    "ALREADY_HAD": "Wait for the next task.",
    "NEEDS_ENCLAVE": "Only a machine with a trusted enclave can take these tasks.",
    "NEEDS_GPU": "Only a machine with a GPU can take these tasks: `gpu` in the settings.",
    "NEEDS_MEMORY": "Raise max_memory, or wait for smaller tasks.",
    "TOO_LATE": "Wait for the next task.",
    "BLOCKED": "Ask the operator of the pool why, or join another one.",
    "DISTRUSTED": "Ask the operator of the pool, who can pardon it: tally pool pardon.",
    "NOT_REGISTERED": "Nothing: the worker registers again by itself.",
    "LOST_VOTES": "See `tally worker why TASK`: other workers agreed on another result.",
    "NOT_REVEALED": "Keep the worker running until its votes are revealed.",
    "FAILED_TASKS": "See `tally worker tasks` for their causes and last log lines.",
    "BAD_VERSION": "Install the version that the pool asks for.",
    "WALLET_TAKEN_OVER": "One of the two workers has to get another wallet.",
    "NETWORK_IMPOSSIBLE": "Give the app another network, or the worker another executor.",
    "DENIED": "Let the app have it in app_networks, or deny the app in [policies].",
    "LOW_PROFIT": "Lower min_profit, or gas_price_cap, or wait for cheaper gas.",
}
"""What to do, by the code of a reason. Codes of policies name their own setting."""
POLICY = "Change [policies] in the settings file; it holds at once."

_STALE = 120.0
"""Seconds without a new block after which a chain counts as away."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason."""

    weight: str
    """`stops`: no work at all; `limits`: less of it; `note`: good to know."""
    code: str
    sentence: str
    remedy: str
    at: float | None = None
    """Since when, or when last; seconds since the epoch."""


def causes(status: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Cause]:
    """Everything that speaks against earning, the gravest first. `status` is what
    `tally worker status` tells, `rows` the worker's tasks."""
    found = [
        *_gates(status),
        *_scheduler(status["scheduler"]),
        *_chain(status["chain"]),
        *_declined(status["decisions"]),
        *_no_answer(status),
        *_losses(rows),
        *_failures(rows),
        *_assumptions(status["assumptions"]),
    ]
    order = {"stops": 0, "limits": 1, "note": 2}
    return sorted(found, key=lambda cause: order[cause.weight])


def remedy(code: str) -> str:
    """What to do about a reason of this code."""
    if code.endswith(("_DENIED", "_NOT_ALLOWED")) or code in _OF_POLICIES:
        return POLICY
    return REMEDIES.get(code, "")


_OF_POLICIES = (
    "PRICE_TOO_LOW",
    "OUT_OF_HOURS",
    "USER_ACTIVE",
    "LOAD_TOO_HIGH",
    "ON_BATTERY",
    "SHARE_USED",
    "SHARE_TOO_SMALL",
)


def _gates(status: Mapping[str, Any]) -> Iterator[Cause]:
    for each in status["closed"]:
        full = each["code"] == "SLOTS_FULL"
        yield _cause("note" if full else "stops", each["code"], each["sentence"])
    if trouble := status["policies_trouble"]:
        yield _cause("limits", trouble["code"], trouble["sentence"])


def _scheduler(told: Mapping[str, Any]) -> Iterator[Cause]:
    if told["broken"]:
        sentence = f"The scheduler cannot be talked to: {told['trouble']}"
        yield _cause("stops", "SCHEDULER_AWAY", sentence, told["trouble_at"])
    elif told["heard_at"] is None:
        yield _cause("stops", "STARTING", "The scheduler has not answered yet.")


def _chain(told: Mapping[str, Any]) -> Iterator[Cause]:
    age = told["age"]
    if age is None:
        yield _cause("stops", "CHAIN_AWAY", "No block of the chain was seen yet.")
    elif age > _STALE:
        sentence = f"No block of the chain was seen for {age:.0f} s: the node is away or lags."
        yield _cause("stops", "CHAIN_AWAY", sentence)


def _declined(decisions: Iterable[Mapping[str, Any]]) -> Iterator[Cause]:
    """Tasks that were handed back, and apps that the sandbox denied something."""
    about = [each for each in decisions if each["kind"] in ("declined", "failed", "denied")]
    last = {(each["kind"], each["code"]): each for each in about}
    count = Counter((each["kind"], each["code"]) for each in about)
    for (kind, code), each in last.items():
        sentence = each["sentence"]
        if kind == "declined":
            many = count[kind, code] > 1
            times = f"{count[kind, code]} tasks were" if many else "A task was"
            sentence = f"{times} not taken, the last for this reason: {sentence}"
        yield _cause("note" if kind == "denied" else "limits", code, sentence, each["at"])


def _no_answer(status: Mapping[str, Any]) -> Iterator[Cause]:
    told = status["scheduler"]
    if told["answer"] and not status["closed"] and not told["broken"]:
        yield _cause("limits", told["answer"], told["answer_sentence"], told["answered_at"])


def _losses(rows: Sequence[Mapping[str, Any]]) -> Iterator[Cause]:
    wrong = [row for row in rows if row["in_consensus"] is False]
    silent = [row for row in rows if row["lost"] and row["in_consensus"]]
    for code, group, what in (
        ("LOST_VOTES", wrong, "voted against the result that won"),
        ("NOT_REVEALED", silent, "was not revealed in time"),
    ):
        if group:
            lost = sum(row["lost"] for row in group)
            sentence = (
                f"{len(group)} of the last {len(rows)} tasks: this worker's vote {what};"
                f" {lost} nRLC of stake were lost."
            )
            yield _cause("limits", code, sentence, group[0]["began"])


def _failures(rows: Sequence[Mapping[str, Any]]) -> Iterator[Cause]:
    failed = [row for row in rows if row["cause"] and row["over"] and not row["voted"]]
    mine = [row for row in failed if row["cause"] not in _NOT_OURS]
    if mine:
        common, count = Counter(row["cause"] for row in mine).most_common(1)[0]
        sentence = (
            f"{len(mine)} of the last {len(rows)} tasks ended here before a vote, most often"
            f" with {common} ({count})."
        )
        yield _cause("limits", "FAILED_TASKS", sentence, mine[0]["began"])
    if beaten := [row for row in failed if row["cause"] == "CONSENSUS_REACHED"]:
        sentence = (
            f"{len(beaten)} of the last {len(rows)} tasks were decided by others first. No"
            " stake was locked, nothing was lost."
        )
        yield _cause("note", "CONSENSUS_REACHED", sentence, beaten[0]["began"])


_NOT_OURS = ("CONSENSUS_REACHED", "CONTRIBUTION_TIMEOUT", "ABORTED_BY_WORKER")


def _assumptions(told: Mapping[str, Any]) -> Iterator[Cause]:
    if told["eth_per_rlc"] is None:
        yield _cause(
            "note",
            "PROFIT_UNKNOWN",
            "What a task earns after gas is unknown, since eth_per_rlc is not set; no task is"
            " declined for its profit.",
        )
    elif told["min_profit"]:
        sentence = (
            f"Tasks that bring less than {told['min_profit']} nRLC after gas are declined."
        )
        yield _cause("note", "MIN_PROFIT", sentence)
    if told["network"] == "none":
        yield _cause(
            "note",
            "NETWORK_NONE",
            "Apps get no network here: one that needs it fails. [network] in the settings may"
            " allow hosts.",
        )


def _cause(weight: str, code: str, sentence: str, at: float | None = None) -> Cause:
    return Cause(weight, code, sentence, remedy(code), at)


def upshot(told: Mapping[str, Any], stake_back: float | None = None) -> list[str]:
    """What a task came to for this worker, in sentences; `told` is its history."""
    return [*_outcome(told), *_stake(told, stake_back)]


def _outcome(told: Mapping[str, Any]) -> Iterator[str]:
    decision = told["decision"]
    if decision and decision["kind"] in ("failed", "denied"):
        yield decision["sentence"]
    if decision and decision["kind"] == "declined":
        yield f"This worker handed the task back: {decision['sentence']}"
    elif told["status"] is None:
        yield "This worker has no replicate of the task."
    elif told["settled"] and told["reward"]:
        yield f"It is paid: {told['reward']} nRLC."
    elif (vote := _vote(told)) is not None:
        yield vote
    else:
        yield from _without_verdict(told)


def _vote(told: Mapping[str, Any]) -> str | None:
    """What became of our vote; None while nothing is decided about it."""
    if told["in_consensus"] is False:
        return (
            "Another result won the vote. Ours has another digest: the app is not"
            " deterministic, or was given other data, or this machine computes wrongly."
        )
    if told["task_status"] == "COMPLETED" and told["in_consensus"] and not told["revealed"]:
        return "Our result won, but our vote was not revealed in time."
    if told["task_status"] == "FAILED":
        return "The task failed: nobody is paid, and stakes are given back."
    return None


def _without_verdict(told: Mapping[str, Any]) -> Iterator[str]:
    cause = told["cause"]
    if cause in _ENDS:
        yield _ENDS[cause]
    elif cause:
        yield f"It ended here with {cause}."
        if told["exit_code"]:
            yield f"The app's exit code was {told['exit_code']}."
    elif told["voted"]:
        yield "We voted; it is not decided or not finished yet."
    else:
        yield "It is over." if told["over"] else "It is being worked on."


_ENDS = {
    "CONSENSUS_REACHED": "Others agreed on a result before we voted.",
    "CONTRIBUTION_TIMEOUT": "The time for votes was over before the task was decided.",
}


def _stake(told: Mapping[str, Any], stake_back: float | None) -> Iterator[str]:
    if told["lost"]:
        yield f"A stake of {told['lost']} nRLC was lost."
    elif told["stake_is_locked"]:
        until = told["final_deadline"] if stake_back is None else stake_back
        yield (
            f"A stake of {told['stake']} nRLC is locked. Stake is released at"
            f" {instant(until)} at the latest (final deadline), unless our vote loses."
        )
    elif told["voted"]:
        yield "No stake of ours is in it any more."
    else:
        yield "No stake was locked, nothing was lost."


def instant(seconds: float) -> str:
    """An instant for people."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
