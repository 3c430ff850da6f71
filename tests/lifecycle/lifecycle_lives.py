"""Journals of a task as they could be: the chain keeps to its own rules, the rest is chance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import get_args

from hypothesis import strategies as st

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.task import Task, TaskStatus, advance, fold
from tallystick.poco.contribution import result_hash
from tallystick.poco.deal import Deal
from tallystick.poco.values import Address, DealId, Digest, Hash, Signature

WORKERS = tuple(Address(bytes(19) + bytes([n])) for n in (1, 2, 3))
DEAL = Deal(DealId(bytes(32)), start=0, time_unit=60, trust=2)
TASK = DEAL.task_id(0)
DIGESTS = tuple(Digest(bytes([n]) * 32) for n in (1, 2))
VOTES = tuple(result_hash(TASK, digest) for digest in DIGESTS)
PERMIT = Signature(bytes(65))
TERMS = (
    f.Scrutiny(audit=f.Audit.DRAWN),
    f.Scrutiny(audit=f.Audit.NEEDED, digest_first=True),
    f.Scrutiny(audits=True, digest_first=True, ahead=True),
    f.Scrutiny(audits=True, digest_first=True, trusted=True),
)
"""On which a pool that audits gives work away."""
CHAIN_FACTS = get_args(f.ChainFact)


def is_told_by_chain(fact: f.Fact) -> bool:
    return isinstance(fact, CHAIN_FACTS)


def on_chain(task: Task) -> Iterator[f.Fact]:
    """What the contracts could do next. `task` knows all that the chain said."""
    voted = {r.worker for r in task.replicates.values() if r.vote}
    revealed = [r for r in task.winners if r.revealed]
    match task.status:
        case TaskStatus.UNSET:
            yield f.Initialized()
        case TaskStatus.ACTIVE:
            yield from (
                f.Contributed(w, vote, 2) for w in WORKERS if w not in voted for vote in VOTES
            )
            yield from (f.ConsensusReached(vote, 300) for vote in task.tally.groups)
            yield f.Claimed()
        case TaskStatus.REVEALING:
            yield from (
                f.Revealed(r.worker, _digest_of(r.vote))
                for r in task.winners
                if r.vote and not r.revealed
            )
            yield f.Finalized("/ipfs/Qm") if revealed else f.Reopened()
            yield f.Claimed()
        case _:
            return


def audits(task: Task) -> Iterator[f.Fact]:
    """What only a pool that audits asserts."""
    for worker in WORKERS:
        yield from (f.Assigned(worker, 2, scrutiny=terms) for terms in TERMS)
        if worker in task.replicates:
            yield f.Authorized(worker, PERMIT)
            yield from (f.Audited(worker, agreed) for agreed in (True, False))


def off_chain(task: Task) -> Iterator[f.Fact]:
    """What worker and scheduler could assert next, legal or not."""
    for worker in WORKERS:
        yield from (f.Assigned(worker, 2), f.Assigned(worker, 2, alone=True))
        if worker not in task.replicates:
            continue
        yield from (f.Began(worker, step) for step in f.Step)
        yield from (
            f.Failed(worker, step, cause)
            for step in f.Step
            for cause in ("OTHER", "STAKE_TOO_LOW", "OUT_OF_GAS", "CANNOT_REVEAL")
        )
        yield f.Failed(worker, f.Step.FETCH_APP, "NO_APP", DIGESTS[0])
        yield from (f.Started(worker), f.AppFetched(worker), f.DataFetched(worker))
        yield from (f.Computed(worker, digest, 0) for digest in DIGESTS)
        yield from (f.Checked(worker), f.Resumed(worker), f.UploadOverdue(worker))
        yield f.Published(worker, "/ipfs/Qm")
        yield f.Held(worker, f.Step.REVEAL, "OUT_OF_GAS")
        yield from (f.UploadRequested(worker, 400), f.Uploaded(worker, "/ipfs/Qm"))
        yield from (f.Completed(worker), f.Aborted(worker, "CONSENSUS_REACHED"))
        yield from (f.Lost(worker), f.Recovering(worker), f.RevealOverdue(worker))


def legal(task: Task, candidates: Iterator[f.Fact]) -> list[f.Fact]:
    """Those that can follow."""
    found: list[f.Fact] = []
    for fact in candidates:
        with suppress(f.IllegalFact):
            advance(task, fact)
            found.append(fact)
    return found


class Rules:
    """The lifecycle for an engine that performs nothing."""

    def fold(self, facts: Iterable[f.Fact]) -> Task | None:
        return fold(facts)

    def advance(self, state: Task | None, fact: f.Fact) -> Task:
        return advance(state, fact)

    def agenda(self, state: Task) -> Iterable[str]:
        return ()

    def begins(self, state: Task, command: str) -> f.Fact | None:
        return None


async def nothing(command: str) -> f.Fact | None:
    return None


_DEAD_ENDS = (f.Claimed, f.Failed, f.Aborted, f.Lost, f.RevealOverdue)


@st.composite
def journals(draw: st.DrawFn) -> list[f.Fact]:
    """Facts that were accepted one after the other, from the purchase on, also of a pool that
    audits."""
    facts: list[f.Fact] = [f.Ordered(DEAL, 0)]
    task = advance(None, facts[0])
    for _ in range(draw(st.integers(5, 40))):
        sources = (on_chain, off_chain, off_chain, audits)
        source = sources[draw(st.integers(0, 3))]
        possible = legal(task, source(task))
        hopeful = [fact for fact in possible if not _ends(fact)]
        careful: int = draw(st.integers(0, 5)) if hopeful else 0
        if careful:
            possible = hopeful
        if possible:
            facts.append(draw(st.sampled_from(possible)))
            task = advance(task, facts[-1])
    return facts


def _ends(fact: f.Fact) -> bool:
    """Whether a replicate hardly gets any further after this."""
    return isinstance(fact, _DEAD_ENDS) or (isinstance(fact, f.Audited) and not fact.agreed)


def _digest_of(vote: Hash) -> Digest:
    return DIGESTS[VOTES.index(vote)]
