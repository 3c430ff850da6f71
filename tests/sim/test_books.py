"""The second books of a world: they agree with the ledger, and with nothing else."""

from __future__ import annotations

from dataclasses import replace

from tallystick.lifecycle.facts import ChainFact, ConsensusReached, Contributed
from tallystick.poco.ledger import ChainStatus
from tallystick.poco.rewards import KITTY
from tallystick.sim.accounts import worker_address
from tallystick.sim.blocks import Block
from tallystick.sim.books import earnings, misbooked, reread
from tallystick.sim.odds import Character, Machine, Plan, Purchase
from tallystick.sim.scenarios import live
from tallystick.sim.world import World

PLAN = Plan(
    seed=4,
    purchases=(Purchase(at=1, time_unit=60, trust=5, price=1_000_003),),
    machines=(Machine(character=Character.LIAR), Machine(score=12), *(Machine(),) * 3),
)


def lived() -> World:
    return live(PLAN)


def test_a_pot_is_divided_to_the_last_unit() -> None:
    (task,) = lived().chain.ledger.tasks.values()
    assert task.status is ChainStatus.COMPLETED
    liar, honest = worker_address(1), task.contributions.keys() - {worker_address(1)}
    paid, stake = earnings(task), 1_000_003 * 30 // 100
    assert liar in task.contributions
    assert len(honest) >= 3
    split = (1_000_003 + stake) * 99 // 100
    assert paid[liar] == -stake
    assert {paid[worker] for worker in honest} == {split // len(honest)}
    assert sum(paid.values()) == 0


def test_a_unit_too_much_is_seen() -> None:
    ledger = lived().chain.ledger
    assert not list(misbooked(ledger, PLAN))
    ledger.escrow.balances[worker_address(2)] += 1
    (told,) = misbooked(ledger, PLAN)
    assert str(worker_address(2)) in told


def test_what_the_kitty_has_is_the_schedulers() -> None:
    nobody = replace(PLAN, machines=())
    ledger = live(nobody).chain.ledger
    assert ledger.escrow.stake(KITTY) > 0
    assert not list(misbooked(ledger, nobody))


def test_scores_and_consensus_are_recounted() -> None:
    chain = lived().chain
    assert not list(reread(chain.blocks, chain.ledger, PLAN))
    chain.ledger.scores[worker_address(3)] += 1
    assert list(reread(chain.blocks, chain.ledger, PLAN)) == [
        "the scores are not what the tasks have made of them"
    ]


def without(blocks: list[Block], kind: type[ChainFact]) -> list[Block]:
    """The same blocks, in which the last fact of a kind is missing."""
    place = max(n for n, b in enumerate(blocks) if any(isinstance(f, kind) for _, f in b.facts))
    facts = tuple(told for told in blocks[place].facts if not isinstance(told[1], kind))
    return [*blocks[:place], replace(blocks[place], facts=facts), *blocks[place + 1 :]]


def test_a_consensus_that_comes_too_early_or_not_at_all_is_seen() -> None:
    chain = lived().chain
    early = list(reread(without(chain.blocks, Contributed), chain.ledger, PLAN))
    assert any("has a consensus that no votes carry" in told for told in early)
    late = list(reread(without(chain.blocks, ConsensusReached), chain.ledger, PLAN))
    assert any("has votes enough and no consensus" in told for told in late)


def test_a_wrong_weight_is_seen() -> None:
    chain = lived().chain
    stranger = replace(PLAN, machines=(Machine(),) * 5)
    told = list(reread(chain.blocks, chain.ledger, stranger))
    assert any("with weight 3, not 2" in each for each in told)
