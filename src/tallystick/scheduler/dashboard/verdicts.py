"""What a replicate came to: its vote, and the money. As the chain has it, once it is over."""

from __future__ import annotations

from dataclasses import dataclass

from tallystick.lifecycle.replicate import OVER, Replicate, Status
from tallystick.lifecycle.task import Task, TaskStatus
from tallystick.scheduler.money import TaskMoney


@dataclass(frozen=True, slots=True)
class Verdict:
    """In a sentence, and in nRLC where the chain was asked already."""

    text: str
    good: bool = False
    bad: bool = False
    paid: int | None = None
    lost: int | None = None


def verdict(task: Task, replicate: Replicate, money: TaskMoney | None) -> Verdict:
    """What is known now."""
    who = str(replicate.worker)
    paid = money.paid.get(who, 0) if money and money.paid is not None else None
    lost = money.forfeited.get(who, 0) if money and money.forfeited is not None else None
    text, good, bad = _sentence(task, replicate)
    return Verdict(text, good, bad, paid, lost)


def _sentence(task: Task, replicate: Replicate) -> tuple[str, bool, bool]:
    if replicate.vote is None:
        if replicate.status in OVER or task.status.over:
            return "It did not vote: no stake was locked, and nothing is paid.", False, False
        return "It has not voted yet.", False, False
    if task.status is TaskStatus.FAILED:
        return "The task failed: its stake came back, and nothing is paid.", False, False
    if task.consensus is None:
        if replicate.status is Status.REJECTED:
            return "Its vote is void: it did not prove it in time.", False, True
        return "It voted; there is no consensus yet.", False, False
    if replicate.vote != task.consensus:
        over = task.status.over
        told = "it lost its stake" if over else "its stake is lost when the task ends"
        return f"It voted for another result than the consensus: {told}.", False, True
    if task.status is TaskStatus.COMPLETED:
        if replicate.revealed:
            return "It voted with the consensus and proved it: it is paid.", True, False
        return "It voted with the consensus and did not prove it: no pay.", False, True
    if replicate.revealed:
        return "It voted with the consensus and proved it.", True, False
    return "It voted with the consensus and has to prove it.", False, False
