"""A pool under crashes, reorgs, losses and lies: what never happens, and what always does."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.lifecycle.task import TaskStatus
from tallystick.poco.ledger import ChainStatus
from tallystick.sim.invariants import Broken, Invariants
from tallystick.sim.odds import Character, Machine, Nature, Odds, Plan, Purchase
from tallystick.sim.scenarios import live, random_plan, replay
from tallystick.sim.world import World

SEEDS = 20
"""Worlds a test: small enough that a broken one is named soon."""


@pytest.mark.parametrize("first", range(0, 100, SEEDS))
def test_random_worlds_keep_every_promise(first: int) -> None:
    """The seed and the story of a world that does not are in the failure."""
    for seed in range(first, first + SEEDS):
        replay(seed)


SHARE = st.sampled_from
PURCHASES = st.builds(
    Purchase,
    at=st.integers(1, 60),
    time_unit=SHARE((16, 30, 60)),
    trust=st.integers(1, 10),
    price=SHARE((0, 3, 10**9, 10_000_000_007)),
    lots=st.lists(st.integers(1, 3), min_size=1, max_size=2).map(tuple),
    natures=st.lists(SHARE(list(Nature)), max_size=6).map(tuple),
)
MACHINES = st.builds(
    Machine,
    character=SHARE(list(Character)),
    score=st.integers(0, 36),
    deposit=SHARE((10**9, 4 * 10**9, 10**12)),
    slots=st.integers(1, 4),
    at_once=st.booleans(),
)
ODDS = st.builds(
    Odds,
    crash=SHARE((0, 0.01, 0.03)),
    outage=SHARE((2, 20, 150)),
    death=SHARE((0, 0.1)),
    restore=SHARE((0, 0.005)),
    loss=SHARE((0, 0.3)),
    delay=SHARE((0, 0.02)),
    reorg=SHARE((0, 0.05)),
    depth=st.integers(1, 6),
    flake=SHARE((0, 0.2)),
    fail=SHARE((0, 0.02)),
    latency=st.just(1),
    block_time=st.just(1),
)
PLANS = st.builds(
    Plan,
    seed=st.integers(0, 10**6),
    purchases=st.lists(PURCHASES, min_size=1, max_size=2).map(tuple),
    machines=st.lists(MACHINES, min_size=1, max_size=7).map(tuple),
    odds=ODDS,
)


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(PLANS)
def test_worlds_that_hypothesis_makes_up_do_too(plan: Plan) -> None:
    """A broken one is made as small as it can be."""
    live(plan)


@pytest.mark.parametrize("seed", [202604, 203869, 204465])
def test_what_a_crook_does_is_nobody_elses_mistake(seed: int) -> None:
    """It opened a task before the scheduler could, after a reorg; and it asked for what a wrong
    result would be paid."""
    replay(seed)


def test_a_vote_that_comes_again_after_its_worker_gave_up_is_revealed() -> None:
    """Mined in the last seconds, taken back by a reorg, and mined again in time."""
    replay(209872)


@pytest.mark.parametrize("seed", [213733, 215188, 215490])
def test_what_the_last_of_twenty_thousand_worlds_showed(seed: int) -> None:
    """A wrong result is not wasted; a second upload may fail where the first did not; a copycat
    that is set back copies another vote, too."""
    replay(seed)


@pytest.mark.long
@pytest.mark.parametrize("first", range(1_000, 2_000, SEEDS))
def test_many_more(first: int) -> None:
    for seed in range(first, first + SEEDS):
        replay(seed)


def quiet(**changes: object) -> Plan:
    """A world in which nothing bad happens, unless `changes` say so."""
    plan: dict[str, object] = {
        "seed": 1,
        "purchases": (Purchase(at=1, time_unit=60, trust=3, lots=(3, 2)),),
        "machines": (Machine(),) * 4,
        "odds": Odds(),
    }
    return Plan(**{**plan, **changes})  # type: ignore[arg-type]


def test_a_quiet_world_finishes_everything_without_a_refusal() -> None:
    world = live(quiet())
    assert {t.status for t in world.scheduler.tasks} == {TaskStatus.COMPLETED}
    assert len(world.scheduler.tasks) == 5
    assert world.chain.refusals == []


def test_the_same_seed_lives_the_same_life() -> None:
    assert life(11).story() == life(11).story()


def life(seed: int) -> World:
    return replay(seed)


def test_a_world_that_breaks_tells_its_seed_and_its_story(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lose_money(invariants: Invariants) -> None:
        world = invariants._world
        if world.now == 100:
            raise Broken("a nRLC is missing")

    monkeypatch.setattr(Invariants, "check", lose_money)
    with pytest.raises(Broken, match="seed 5, second 100: a nRLC is missing") as broken:
        live(random_plan(5))
    assert "Initialize(" in str(broken.value)
    assert "worker 1" in str(broken.value)


def test_nobody_computes_so_everything_is_claimed() -> None:
    world = live(quiet(machines=()))
    assert {t.status for t in world.chain.ledger.tasks.values()} == {ChainStatus.FAILED}


def test_a_task_that_was_never_opened_is_claimed_all_the_same() -> None:
    world = World(quiet())
    watch = Invariants(world)
    world.kill(world.scheduler)
    world.run(700)
    world.scheduler.gone = False
    world.scheduler.restart(world.now, forgotten=0)
    for _ in range(60):
        world.second()
        watch.check()
    assert {t.status for t in world.chain.ledger.tasks.values()} == {ChainStatus.FAILED}
    assert "ClaimUnopened" in world.story()
    watch.check_end()
