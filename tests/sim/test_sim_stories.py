"""Worlds in which one particular thing happens, and what it costs whom."""

from dataclasses import replace
from random import Random

import pytest

from tallystick.lifecycle.facts import Contributed, Reopened, UploadRequested
from tallystick.poco.ledger import ChainStatus
from tallystick.poco.rewards import KITTY
from tallystick.poco.values import Address, Nrlc
from tallystick.sim.accounts import REQUESTER, RICH, SCHEDULER, worker_address
from tallystick.sim.blocks import Block
from tallystick.sim.invariants import Invariants
from tallystick.sim.odds import Character, Machine, Nature, Odds, Plan, Purchase
from tallystick.sim.scenarios import live
from tallystick.sim.world import World

POOL_PRICE = 10_000_000_007
STAKE = POOL_PRICE * 30 // 100
HONEST, LIAR = Machine(), Machine(character=Character.LIAR)
SHY = Machine(character=Character.SHY)


def plan(*machines: Machine, trust: int, nature: Nature = Nature.WORKS, seed: int = 1) -> Plan:
    """One task at the price of the contracts' own example."""
    purchase = Purchase(at=1, time_unit=60, trust=trust, price=POOL_PRICE, natures=(nature,))
    return Plan(seed=seed, purchases=(purchase,), machines=machines)


def gained(world: World, account: Address, had: Nrlc) -> Nrlc:
    return world.chain.ledger.escrow.balance(account) - had


def workers_gained(world: World) -> list[Nrlc]:
    return sorted(
        gained(world, worker_address(n), machine.deposit)
        for n, machine in enumerate(world.plan.machines, start=1)
    )


def names(world: World) -> list[str]:
    return [type(fact).__name__ for block in world.chain.blocks for _, fact in block.facts]


def test_three_agree_and_share() -> None:
    world = live(plan(HONEST, HONEST, HONEST, trust=5))
    assert workers_gained(world) == [3_300_000_002] * 3
    assert gained(world, SCHEDULER, RICH) == 100_000_001
    assert names(world).count("Contributed") == 3


def test_no_more_workers_are_asked_than_can_settle() -> None:
    world = live(plan(*[HONEST] * 9, trust=5))
    assert names(world).count("Contributed") == 3


AT_ONCE = Machine(at_once=True)


def calls(world: World) -> list[str]:
    mined = (sent.call.action for block in world.chain.mined for sent in block)
    return [type(action).__name__ for action in mined]


def test_one_vote_that_decides_finalizes_at_once_and_locks_nothing() -> None:
    penniless = replace(AT_ONCE, deposit=0)
    world = live(plan(penniless, trust=1))
    assert workers_gained(world) == [9_900_000_006]
    assert gained(world, SCHEDULER, RICH) == 100_000_001
    assert calls(world) == ["Match", "Initialize", "Finish"]


def test_where_several_have_to_agree_everybody_votes_in_the_classic_way() -> None:
    world = live(plan(AT_ONCE, AT_ONCE, trust=3))
    assert "Finish" not in calls(world)
    assert names(world)[-1] == "Finalized"


def test_after_a_vote_that_was_never_revealed_nobody_finalizes_at_once() -> None:
    world = live(plan(SHY, replace(AT_ONCE, slots=1), trust=1))
    assert "Reopened" in names(world)
    assert "Finish" not in calls(world)
    assert names(world)[-1] == "Finalized"


def test_one_of_five_is_wrong_and_pays_the_others() -> None:
    world = live(plan(LIAR, *[HONEST] * 4, trust=5))
    assert workers_gained(world) == [-STAKE, *[3_217_500_002] * 4]
    assert gained(world, SCHEDULER, RICH) == 130_000_001


def test_who_does_not_reveal_loses_its_stake_when_the_task_is_reopened() -> None:
    world = live(plan(SHY, HONEST, trust=1))
    assert Reopened in {type(f) for block in world.chain.blocks for _, f in block.facts}
    assert workers_gained(world) == [-STAKE, 12_870_000_008]


def test_nobody_is_left_so_the_requester_is_refunded_and_the_kitty_grows() -> None:
    world = live(plan(HONEST, HONEST, trust=5))
    escrow = world.chain.ledger.escrow
    assert escrow.balance(REQUESTER) == RICH
    assert workers_gained(world) == [0, 0]
    assert gained(world, SCHEDULER, RICH) == -STAKE
    assert escrow.stake(KITTY) == STAKE


@pytest.mark.parametrize("nature", [Nature.NO_APP, Nature.NO_DATA, Nature.CRASHES])
def test_a_failing_app_is_a_result_like_any_other(nature: Nature) -> None:
    world = live(plan(HONEST, HONEST, HONEST, trust=5, nature=nature))
    assert names(world).count("Contributed") == 3
    assert names(world)[-1] == "Finalized"


def test_an_app_that_gives_everybody_something_else_is_never_believed() -> None:
    world = live(plan(*[HONEST] * 5, trust=3, nature=Nature.ERRATIC))
    assert names(world)[-1] == "Claimed"
    assert workers_gained(world) == [0] * 5


def test_enough_conspirators_are_believed() -> None:
    """The protocol counts votes; nothing off chain may think otherwise."""
    friends = [Machine(character=Character.CONSPIRATOR)] * 3
    world = live(plan(*friends, trust=5))
    assert names(world)[-1] == "Finalized"


def test_a_score_is_a_weight() -> None:
    world = live(plan(Machine(score=30), HONEST, HONEST, trust=9))
    assert names(world).count("Contributed") == 1


def test_whoever_cannot_pay_the_stake_is_replaced() -> None:
    poor = replace(HONEST, deposit=STAKE - 1)
    world = live(plan(poor, poor, HONEST, trust=1))
    assert names(world)[-1] == "Finalized"
    assert workers_gained(world)[:2] == [0, 0]


def run_until_uploading(world: World, watch: Invariants) -> Address:
    while True:
        world.second()
        watch.check()
        for _, who, what in world.told:
            if isinstance(what, UploadRequested) and who == "scheduler":
                return what.worker


def test_another_winner_uploads_when_the_chosen_one_is_gone() -> None:
    world = World(plan(HONEST, HONEST, HONEST, trust=5))
    watch = Invariants(world)
    world.kill(world.workers[run_until_uploading(world, watch)])
    world.run(400)
    watch.check()
    assert names(world)[-1] == "Finalized"
    assert workers_gained(world) == [3_300_000_002] * 3


def test_a_worker_that_voted_and_crashed_comes_back_and_reveals() -> None:
    world = World(plan(HONEST, trust=1))
    watch, voter = Invariants(world), world.workers[worker_address(1)]
    seen = world.on_block

    def crash_the_voter(block: Block) -> None:
        seen(block)
        if any(isinstance(fact, Contributed) for _, fact in block.facts):
            voter.crash(world.now)
            voter.gone = True

    world.on_block = crash_the_voter
    world.run(100)
    voter.gone = False
    voter.restart(world.now, forgotten=3)
    world.run(200)
    watch.check_end()
    assert names(world)[-1] == "Finalized"


def test_a_scheduler_restored_from_before_the_deal_still_finalizes_it() -> None:
    world = World(plan(HONEST, HONEST, trust=3))
    watch = Invariants(world)
    world.scheduler.back_up()
    run_until_uploading(world, watch)
    world.scheduler.restore(world.now)
    world.run(200)
    watch.check_end()
    assert names(world)[-1] == "Finalized"


def test_a_deal_taken_back_and_bought_later_has_later_deadlines() -> None:
    world = World(replace(plan(HONEST, trust=1), odds=Odds(latency=1)))
    watch = Invariants(world)
    world.run(12)
    world.chain.reorg(11, now=world.now, latency=8)
    world.run(400)
    watch.check_end()
    (task,) = world.scheduler.tasks
    (chain,) = world.chain.ledger.tasks.values()
    assert task.deal == chain.deal
    assert chain.status is ChainStatus.COMPLETED


@pytest.mark.parametrize("first", [0, 10])
def test_with_enough_honest_workers_everything_is_completed(first: int) -> None:
    """Crashes, reorgs, losses and restores only cost time."""
    for seed in range(first, first + 10):
        random = Random(seed)
        trouble = Odds(
            crash=random.choice((0, 0.01)),
            outage=10,
            loss=random.choice((0, 0.3)),
            delay=random.choice((0, 0.02)),
            reorg=random.choice((0, 0.05)),
            depth=6,
            flake=random.choice((0, 0.2)),
            restore=random.choice((0, 0.003)),
        )
        trust = random.choice((1, 2, 3, 5, 7))
        purchase = Purchase(at=5, time_unit=60, trust=trust, lots=(2, 1))
        world = live(
            Plan(seed=seed, purchases=(purchase,), machines=(HONEST,) * 8, odds=trouble)
        )
        statuses = {task.status for task in world.chain.ledger.tasks.values()}
        assert statuses == {ChainStatus.COMPLETED}, f"seed {seed}\n{world.story()}"
