"""Second opinions: who is asked for one, what it decides, and who may vote. Pure.

A worker that hands in its digest first gets its authorization when nothing speaks against
it. What a trusted worker computed decides; else what two workers of different owners computed
alike. Of a worker that held its authorization from the start, the vote is compared, and a task
that it decided wrongly is not finalized.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tallystick.lifecycle.facts import Audit, Lost
from tallystick.lifecycle.margins import headroom, last_call, waited_enough
from tallystick.lifecycle.replicate import BEFORE_VOTE, Replicate, Status
from tallystick.poco.contribution import result_hash
from tallystick.poco.values import Address, Hash, Instant, TaskId

if TYPE_CHECKING:
    from tallystick.lifecycle.task import Task

OPINIONS: Final = 2
"""Second opinions after which nobody else is asked: three executions that all differ say that
the app does not always compute the same, and nothing about who is right."""
_HAS_COMPUTED: Final = (
    *(Status.COMPUTED, Status.CHECKED, Status.PUBLISHED, Status.CONTRIBUTED),
    *(Status.REVEALED, Status.UPLOAD_REQUESTED, Status.UPLOADED),
)


@dataclass(frozen=True, slots=True)
class Conclude:
    """Note what the comparison says about a worker, before anything is done about it."""

    task: TaskId
    worker: Address
    agreed: bool
    owner: str = ""
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Authorize:
    """Let a worker that has handed in its digest vote for it."""

    task: TaskId
    worker: Address


def goes_on(task: Task, worker: Address) -> bool:
    """Whether this worker has to compute though others may have decided the task: it is told
    so where the one that it is compared with may vote at any time."""
    mine = task.replicates.get(worker)
    asked = mine is not None and mine.scrutiny is not None and mine.scrutiny.audits
    return asked and any(not r.digest_first for r in _watched(task))


def waits(mine: Replicate) -> bool:
    """Whether the worker has computed, and may not vote yet."""
    return mine.digest_first and mine.authorization is None and mine.status in _HAS_COMPUTED


def owed_audits(task: Task, now: Instant) -> Iterator[Conclude | Authorize]:
    """What is due for the scheduler: first all that can be said, then who may vote."""
    if all(r.scrutiny is None for r in task.replicates.values()):
        return
    said = list(_conclusions(task))
    yield from said
    soon = now + headroom(task.deal)
    if said or not task.takes_votes or soon >= task.deal.contribution_deadline:
        return
    for each in _electors(task, now):
        yield Authorize(task.id, each.worker)


def wants_opinion(task: Task, now: Instant) -> bool:
    """Whether somebody is to compute again what a worker has computed."""
    if not (task.takes_votes or task.is_decided):
        return False
    doubted = any(_is_doubted(r) and r.status in _HAS_COMPUTED + _GONE for r in _watched(task))
    if not doubted or _right(task) is not None or waited_enough(task.deal, now):
        return False
    return not _is_asked(task) and _opinions(task) < OPINIONS


def is_second_opinion(task: Task) -> bool:
    """Whether whoever gets a replicate of `task` now gives a second opinion."""
    return wants_opinion(task, 0)


def is_refuted(task: Task) -> bool:
    """Whether what won the vote is known to be wrong: nothing of it is to be paid.

    A winner that had handed in something else says nothing for the result, nor against those
    that stand by it: whoever copies a vote can't reveal it, and is not to cost the pool its
    stake. What it had handed in counts as what it computed.
    """
    winners = list(task.winners)
    stand = [r for r in winners if not _broke_word(task, r)]
    if not stand or any(r.refuted for r in stand):
        return bool(winners)
    return len(stand) < len(winners) and _right(task) not in (None, task.consensus)


def withholds(task: Task, now: Instant) -> bool:
    """Whether a task that could be finalized is not to be, or not yet."""
    return is_refuted(task) or any(_holds_up(task, r, now) for r in task.winners)


_GONE: Final = (Status.ABORTED, Status.FAILED)
"""A worker that drops what it has handed in is compared all the same."""


def _watched(task: Task) -> Iterator[Replicate]:
    return (r for r in task.replicates.values() if r.scrutiny is not None)


def _is_doubted(mine: Replicate) -> bool:
    """Whether it is to be compared, and was not yet."""
    terms = mine.scrutiny
    if terms is None or terms.audit is Audit.NO or mine.agreed is not None:
        return False
    known = mine.digest is not None or mine.vote is not None
    return known or (not mine.digest_first and mine.status is Status.COMPUTED)


def _claim(task: Task, mine: Replicate) -> Hash | None:
    """What the worker says: its vote, before that the digest that it has handed in."""
    if mine.vote is not None or mine.digest is None:
        return mine.vote
    return result_hash(task.id, mine.digest)


def _broke_word(task: Task, mine: Replicate) -> bool:
    """Whether it voted for something else than what it had handed in."""
    if mine.vote is None or mine.digest is None:
        return False
    return mine.digest_first and mine.vote != result_hash(task.id, mine.digest)


def _word(task: Task, mine: Replicate) -> Hash | None:
    """What the worker computed: what it handed in before it saw others' votes, if it did."""
    if mine.digest_first and mine.digest is not None:
        return result_hash(task.id, mine.digest)
    return _claim(task, mine)


def _right(task: Task) -> Hash | None:
    """What is known to be right, if anything is."""
    owners = defaultdict[Hash, set[str]](set)
    for each in _watched(task):
        claim, terms = _word(task, each), each.scrutiny
        if claim is None or terms is None:
            continue
        if terms.trusted:
            return claim
        owners[claim].add(terms.owner or str(each.worker))
    return next((claim for claim, who in owners.items() if len(who) > 1), None)


def _conclusions(task: Task) -> Iterator[Conclude]:
    right = _right(task)
    for each in _watched(task):
        claim, terms = _claim(task, each), each.scrutiny
        assert terms is not None
        if _broke_word(task, each):
            if not each.refuted:
                yield Conclude(task.id, each.worker, agreed=False, owner=terms.owner)
        elif right is not None and claim is not None and _is_compared(each):
            audited = terms.audit is not Audit.NO
            yield Conclude(task.id, each.worker, claim == right, terms.owner, audited)


def _is_compared(mine: Replicate) -> bool:
    terms = mine.scrutiny
    if terms is None or terms.trusted or mine.agreed is not None:
        return False
    return terms.audits or terms.audit is not Audit.NO


def _electors(task: Task, now: Instant) -> Iterator[Replicate]:
    """Who may vote, and has no authorization yet."""
    ready = [r for r in _watched(task) if waits(r) and r.digest is not None]
    compared = [r for r in ready if r.scrutiny and (r.scrutiny.audits or _was_doubted(r))]
    yield from (r for r in ready if r not in compared)
    right = _right(task)
    if right is None:
        over = waited_enough(task.deal, now) or _opinions(task) >= OPINIONS
        yield from (r for r in compared if r.agreed or (over and _was_drawn(r)))
        return
    good = [r for r in compared if _claim(task, r) == right and not isinstance(r.away, Lost)]
    good.sort(key=lambda mine: not _goes_ahead(mine))
    if task.deal.trust <= 1:
        voter = any(_votes_for(task, r, right) for r in task.replicates.values())
        yield from () if voter else good[:1]
    elif _is_ahead_of_others(task, right) and not waited_enough(task.deal, now):
        yield from filter(_goes_ahead, good)
    else:
        yield from good


def _was_doubted(mine: Replicate) -> bool:
    return mine.scrutiny is not None and mine.scrutiny.audit is not Audit.NO


def _was_drawn(mine: Replicate) -> bool:
    return mine.scrutiny is not None and mine.scrutiny.audit is Audit.DRAWN


def _goes_ahead(mine: Replicate) -> bool:
    return mine.scrutiny is not None and mine.scrutiny.ahead


def _is_ahead_of_others(task: Task, right: Hash) -> bool:
    """Whether the vote of somebody who votes first is still to come."""
    return any(
        _goes_ahead(r)
        and r.vote is None
        and r.status in BEFORE_VOTE
        and _claim(task, r) == right
        and not isinstance(r.away, Lost)
        for r in _watched(task)
    )


def _votes_for(task: Task, mine: Replicate, right: Hash) -> bool:
    """Whether somebody who may vote is there, and will vote for this."""
    if mine.authorization is None or _claim(task, mine) != right:
        return False
    coming = mine.status in BEFORE_VOTE and not isinstance(mine.away, Lost)
    return coming or mine.vote is not None


def _is_asked(task: Task) -> bool:
    """Whether somebody computes a second opinion."""
    return any(
        r.scrutiny
        and r.scrutiny.audits
        and _claim(task, r) is None
        and r.status in BEFORE_VOTE
        and not isinstance(r.away, Lost)
        for r in _watched(task)
    )


def _opinions(task: Task) -> int:
    """Second opinions that were given."""
    return sum(
        r.scrutiny is not None and r.scrutiny.audits and _claim(task, r) is not None
        for r in _watched(task)
    )


def _holds_up(task: Task, mine: Replicate, now: Instant) -> bool:
    """Whether a winner's result is still to be compared, and there is time for it."""
    terms = mine.scrutiny
    if not _is_doubted(mine) or terms is None or mine.digest_first:
        return False
    if _right(task) is not None:
        return True
    if _is_asked(task):
        over = last_call(task.deal, now)
    else:
        over = waited_enough(task.deal, now) or _opinions(task) >= OPINIONS
    return not over or terms.audit is Audit.NEEDED
