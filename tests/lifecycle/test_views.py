"""Whatever a replicate lives through, both vocabularies tell it as a walk of their graph."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from lifecycle_lives import DEAL, PERMIT, journals

from tallystick.lifecycle import facts as f
from tallystick.lifecycle.history import Row, history, names
from tallystick.lifecycle.replicate import OVER, Replicate, advance
from tallystick.lifecycle.views import modern, seed, seed_names
from tallystick.lifecycle.vocabulary import (
    DONE,
    GRAPHS,
    LADDERS,
    SHORTCUT,
    UNDONE,
    Vocabulary,
    way,
)
from tallystick.poco.values import Address, Digest, Hash

SPEC = json.loads((Path(__file__).parent / "transitions.json").read_text())
MODERN = {name: set(after) for name, after in SPEC["8.1-9.x"].items()}
MODERN["RESULT_UPLOAD_REQUESTED"].add("RESULT_UPLOAD_FAILED")
SEED = {
    name: set(SPEC["3.0"].get(name, ())) | set(SPEC["3.1"].get(name, ()))
    for name in SPEC["3.0"].keys() | SPEC["3.1"].keys()
}
WALKS: Mapping[Vocabulary, Mapping[str, set[str]]] = {"seed": SEED, "modern": MODERN}

ME, DIGEST, VOTE = Address(bytes(20)), Digest(bytes(32)), Hash(bytes(32))
CAUSES = [
    *("CONSENSUS_REACHED", "CONTRIBUTION_TIMEOUT", "OUT_OF_GAS", "OTHER", "STAKE_TOO_LOW"),
    *("TASK_NOT_ACTIVE", "CONTRIBUTION_ALREADY_SET", "CANNOT_REVEAL", "CHAIN_UNREACHABLE"),
    *("DETERMINISM_HASH_NOT_FOUND", "TEE_EXECUTION_NOT_VERIFIED", "REVEAL_TIMEOUT"),
]
EVERYTHING: list[f.ReplicateFact] = [
    *(f.Began(ME, step) for step in f.Step),
    *(
        f.Failed(ME, step, cause, d)
        for step in f.Step
        for cause in CAUSES
        for d in (None, DIGEST)
    ),
    *(f.Aborted(ME, cause) for cause in CAUSES),
    f.Started(ME),
    f.AppFetched(ME),
    f.DataFetched(ME),
    f.Computed(ME, DIGEST),
    f.Checked(ME),
    f.Published(ME, "ipfs://"),
    f.Contributed(ME, VOTE, 2),
    f.Revealed(ME, DIGEST),
    f.UploadRequested(ME, 10),
    f.UploadOverdue(ME),
    f.Uploaded(ME, "ipfs://"),
    f.Completed(ME),
    f.RevealOverdue(ME),
    f.Held(ME, f.Step.REVEAL, "OUT_OF_GAS"),
    f.Resumed(ME),
    f.Lost(ME),
    f.Recovering(ME),
    f.Authorized(ME, PERMIT),
    f.Audited(ME, agreed=True),
    f.Audited(ME, agreed=False),
]


CLASSIC = [step for step in f.Step if step not in (f.Step.PUBLISH, f.Step.FINISH)]
FEW = [
    fact
    for fact in EVERYTHING
    if getattr(fact, "cause", "OTHER") in ("OTHER", "STAKE_TOO_LOW", "OUT_OF_GAS")
]
"""For a vote that finalizes: the other causes have no other names there."""
MANY = [
    fact
    for fact in EVERYTHING
    if not isinstance(fact, f.Published) and getattr(fact, "step", f.Step.START) in CLASSIC
]
"""For every other: nobody else publishes and finalizes."""


def followers(now: Replicate) -> Iterator[Replicate]:
    for fact in FEW if now.alone else MANY:
        with suppress(f.IllegalFact):
            after = advance(now, fact)
            # No name depends on these.
            yield replace(after, published=None, authorization=None, agreed=None)


@cache
def everything_reachable() -> Mapping[Replicate, tuple[Replicate, ...]]:
    """Every replicate that any facts lead to, and its followers: few enough to see them all."""
    seen = dict[Replicate, tuple[Replicate, ...]]()
    ahead = [Replicate(ME, weight=2), Replicate(ME, weight=2, alone=True)]
    while ahead:
        now = ahead.pop()
        if now not in seen:
            seen[now] = tuple(set(followers(now)))
            ahead.extend(seen[now])
    return seen


def test_the_graphs_are_those_of_the_peers() -> None:
    assert {name: set(after) for name, after in GRAPHS["seed"].items()} == SEED
    assert {name: set(after) for name, after in GRAPHS["modern"].items()} == MODERN
    assert (len(SEED), len(MODERN)) == (39, 33)


@pytest.mark.parametrize("vocabulary", ["seed", "modern"])
def test_a_replicate_that_goes_well_walks_up_the_ladder(vocabulary: Vocabulary) -> None:
    for one, other in pairwise(LADDERS[vocabulary]):
        assert way(vocabulary, one, other) == ()


def test_every_modern_name_is_reached() -> None:
    assert {modern(r) for r in everything_reachable()} == MODERN.keys()


def test_every_name_of_the_seed_is_reached() -> None:
    assert {seed(r) for r in everything_reachable()} == SEED.keys()


def told(vocabulary: Vocabulary, state: Replicate) -> tuple[str, ...]:
    return seed_names(state) if vocabulary == "seed" else (modern(state),)


@pytest.mark.parametrize("vocabulary", ["seed", "modern"])
def test_from_every_state_to_the_next_there_is_a_way(vocabulary: Vocabulary) -> None:
    """Every legal step of the machine, not a sample of them."""
    for before, all_after in everything_reachable().items():
        for after in all_after:
            reborn = before.status in OVER
            aside = vocabulary == "seed" and (before.held or after.held)
            if not (reborn or aside):
                *_, last = told(vocabulary, before)
                assert_leads_on(vocabulary, last, told(vocabulary, after))


def assert_leads_on(vocabulary: Vocabulary, last: str, coming: tuple[str, ...]) -> None:
    for name in coming:
        if name != last:
            between = way(vocabulary, last, name)
            assert between is not None, f"{vocabulary}: {last} -> {name}"
            last = name


@dataclass(frozen=True)
class Entry:
    fact: f.Fact
    at: float
    ref: None = None


def rows_of(facts: Iterable[f.Fact]) -> Mapping[Address, tuple[Row, ...]]:
    return history(Entry(fact, float(at)) for at, fact in enumerate(facts))


@settings(max_examples=300, deadline=None)
@given(journals())
def test_both_histories_of_any_life_are_walks(facts: list[f.Fact]) -> None:
    for rows in rows_of(facts).values():
        for vocabulary, graph in WALKS.items():
            for walk in walks(rows, vocabulary):
                for one, other in pairwise(walk):
                    assert other in graph[one], f"{vocabulary}: {one} -> {other}"


def walks(rows: Iterable[Row], vocabulary: Vocabulary) -> Iterator[list[str]]:
    """The names, cut where the chain proved what had seemed too late."""
    part = list[Row]()
    for row in rows:
        if row.reborn:
            yield list(names(part, vocabulary))
            part = []
        part.append(row)
    yield list(names(part, vocabulary))


@settings(max_examples=100, deadline=None)
@given(journals())
def test_a_history_only_grows(facts: list[f.Fact]) -> None:
    """What was told once is never told otherwise."""
    whole = rows_of(facts)
    for worker, rows in rows_of(facts[: len(facts) // 2]).items():
        assert whole[worker][: len(rows)] == rows


HAPPY: list[f.Fact] = [
    f.Ordered(DEAL, 0),
    f.Initialized(),
    f.Assigned(ME, 4),
    *(
        fact
        for step, done in zip(
            CLASSIC,
            [
                *(f.Started(ME), f.AppFetched(ME), f.DataFetched(ME), f.Computed(ME, DIGEST)),
                *(f.Checked(ME), f.Contributed(ME, VOTE, 4), f.Revealed(ME, DIGEST)),
                *(f.Uploaded(ME, "ipfs://"), f.Completed(ME)),
            ],
            strict=True,
        )
        for fact in (
            *([f.ConsensusReached(VOTE, 99)] if step is f.Step.REVEAL else []),
            *([f.UploadRequested(ME, 9)] if step is f.Step.UPLOAD else []),
            *([f.Finalized()] if step is f.Step.COMPLETE else []),
            f.Began(ME, step),
            done,
        )
    ),
]


def test_the_happy_path_reads_as_everyone_knows_it() -> None:
    rows = rows_of(HAPPY)[ME]
    assert tuple(names(rows, "modern")) == LADDERS["modern"]
    assert tuple(names(rows, "seed")) == LADDERS["seed"]
    assert {row.by for row in rows} == {"worker", "chain", "pool manager"}
    assert not any(row.reborn or row.aside for row in rows)


SHORT: list[f.Fact] = [
    f.Ordered(DEAL, 0),
    f.Initialized(),
    f.Assigned(ME, 4, alone=True),
    *HAPPY[3 : HAPPY.index(f.Checked(ME)) + 1],
    f.Began(ME, f.Step.PUBLISH),
    f.Published(ME, "ipfs://"),
    f.Began(ME, f.Step.FINISH),
    f.Contributed(ME, VOTE, 4),
    f.ConsensusReached(VOTE, 99),
    f.Revealed(ME, DIGEST),
    f.Finalized(),
    f.Began(ME, f.Step.COMPLETE),
    f.Completed(ME),
]


def test_contributing_and_finalizing_at_once_reads_as_v9_has_it() -> None:
    rows = rows_of(SHORT)[ME]
    assert tuple(names(rows, "modern")) == SHORTCUT
    ladder = LADDERS["seed"]
    without = [name for name in ladder if not name.startswith("RESULT_UPLOAD")]
    assert list(names(rows, "seed")) == without, "the seed vocabulary has no name for it"


def test_a_peer_that_only_voted_at_once_is_told_of_without_a_gap() -> None:
    silent = [fact for fact in SHORT if not isinstance(fact, f.WorkerFact)]
    rows = rows_of(silent)[ME]
    assert tuple(names(rows, "modern")) == SHORTCUT[: SHORTCUT.index(DONE) + 1]


@pytest.mark.parametrize("step", [f.Step.CHECK, f.Step.PUBLISH, f.Step.FINISH])
def test_a_vote_at_once_that_fails_has_a_name_of_its_own(step: f.Step) -> None:
    upto = SHORT.index(f.Began(ME, step)) + 1
    row = rows_of([*SHORT[:upto], f.Failed(ME, step, "RESULT_LINK_MISSING")])[ME][-1]
    assert row.modern[-1] == UNDONE
    assert row.seed[-1] == "CONTRIBUTE_FAILED"


def test_what_a_silent_peer_does_not_tell_is_filled_in() -> None:
    silent = [fact for fact in HAPPY if not isinstance(fact, f.WorkerFact)]
    rows = rows_of(silent)[ME]
    upto = LADDERS["seed"].index("RESULT_UPLOAD_REQUESTED") + 1
    assert tuple(names(rows, "seed")) == LADDERS["seed"][:upto]


def test_an_empty_wallet_before_a_reveal_is_a_state_beside_the_walk() -> None:
    upto = HAPPY.index(f.Began(ME, f.Step.REVEAL)) + 1
    poor = [
        *HAPPY[:upto],
        f.Held(ME, f.Step.REVEAL, "OUT_OF_GAS"),
        f.Resumed(ME),
        *HAPPY[upto:],
    ]
    rows = rows_of(poor)[ME]
    assert [row.seed for row in rows if row.aside] == [("OUT_OF_GAS",), ("REVEALING",)]
    assert tuple(names(rows, "seed")) == LADDERS["seed"]


def test_a_check_that_fails_has_its_own_name_and_the_stage_is_implied() -> None:
    upto = HAPPY.index(f.Began(ME, f.Step.CHECK)) + 1
    poor = [*HAPPY[:upto], f.Failed(ME, f.Step.CHECK, "STAKE_TOO_LOW")]
    row = rows_of(poor)[ME][-1]
    assert row.seed == ("CANT_CONTRIBUTE_SINCE_STAKE_TOO_LOW",)
    assert row.modern == ("CONTRIBUTING", "CONTRIBUTE_FAILED")
    assert row.cause == "STAKE_TOO_LOW"
