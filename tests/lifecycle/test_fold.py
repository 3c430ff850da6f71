"""A chain that takes facts back and tells them again leaves a task as it was."""

from dataclasses import replace
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st
from lifecycle_lives import Rules, is_told_by_chain, journals, nothing

from tallystick.engine.engine import Engine
from tallystick.engine.journal import ChainRef, Journal
from tallystick.lifecycle import facts as f
from tallystick.lifecycle.task import Task, advance, fold

KINDS = f.Fact.__args__  # type: ignore[attr-defined]


def chain_view(task: Task | None) -> object:
    """What the chain alone decides."""
    if task is None:
        return None
    votes = {
        r.worker: (r.vote, r.weight, r.revealed) for r in task.replicates.values() if r.vote
    }
    winners = {r.worker for r in task.winners}
    deal, groups = task.deal, dict(task.tally.groups)
    return task.status, deal, groups, task.consensus, task.reveal_deadline, votes, winners


@settings(max_examples=60, deadline=None)
@given(journals())
def test_folding_what_was_accepted_is_living_it(facts: list[f.Fact]) -> None:
    assert fold(facts) == reduce(advance, facts, None)


@settings(max_examples=60, deadline=None)
@given(journals())
def test_nobody_but_the_chain_changes_what_the_chain_decides(facts: list[f.Fact]) -> None:
    alone = fold(fact for fact in facts if is_told_by_chain(fact))
    assert chain_view(fold(facts)) == chain_view(alone)


@settings(max_examples=60, deadline=None)
@given(journals(), st.data())
def test_void_facts_leave_what_the_chain_still_says(
    facts: list[f.Fact], data: st.DataObject
) -> None:
    kept = _without_tail_of_chain(facts, data.draw(st.integers(0, len(facts))))
    alone = fold(fact for fact in kept if is_told_by_chain(fact))
    assert chain_view(fold(kept)) == chain_view(alone)


@settings(max_examples=60, deadline=None)
@given(journals(), st.data())
def test_told_again_with_other_figures_the_chain_is_believed(
    facts: list[f.Fact], data: st.DataObject
) -> None:
    """The deal starts later, votes weigh more, deadlines move: what was done stays done."""
    cut = data.draw(st.integers(0, len(facts)))
    kept = _without_tail_of_chain(facts, cut)
    again = [_moved(fact) for fact in facts[cut:] if is_told_by_chain(fact)]
    told = [fact for fact in facts[:cut] if is_told_by_chain(fact)]
    assert chain_view(fold(kept + again)) == chain_view(fold(told + again))


@settings(max_examples=60, deadline=None)
@given(journals(), st.data())
def test_the_same_facts_told_again_give_the_same_task(
    facts: list[f.Fact], data: st.DataObject
) -> None:
    """Whatever part of the chain is taken back: journal and engine lose nothing by it."""
    journal = Journal[f.Fact](":memory:", KINDS)
    engine = Engine(journal=journal, rules=Rules(), perform=nothing)
    blocks: list[tuple[int, f.Fact]] = []
    for number, fact in enumerate(facts, start=1):
        if is_told_by_chain(fact):
            blocks.append((number, fact))
            engine.record("task", fact, ChainRef(number, f"old {number}", 0))
        else:
            engine.record("task", fact)
    before = dict(engine.states)
    cut = data.draw(st.integers(0, len(facts)))

    engine.roll_back(cut)
    for number, fact in blocks:
        if number > cut:
            engine.record("task", fact, ChainRef(number + 1, f"new {number}", 0))

    assert engine.states == before
    assert Engine(journal=journal, rules=Rules(), perform=nothing).states == before
    journal.close()


def test_a_journal_without_its_deal_is_no_task() -> None:
    assert fold([f.Initialized(), f.Claimed()]) is None


def _without_tail_of_chain(facts: list[f.Fact], cut: int) -> list[f.Fact]:
    return [fact for n, fact in enumerate(facts) if n < cut or not is_told_by_chain(fact)]


def _moved(fact: f.Fact) -> f.Fact:
    match fact:
        case f.Ordered(deal=deal):
            return replace(fact, deal=replace(deal, start=deal.start + 5))
        case f.Contributed(weight=weight):
            return replace(fact, weight=weight + 1)
        case f.ConsensusReached(reveal_deadline=deadline):
            return replace(fact, reveal_deadline=deadline + 5)
        case _:
            return fact
