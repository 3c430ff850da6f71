"""Many worlds at once, and the smallest of those that break."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tallystick.sim import scenarios
from tallystick.sim.invariants import Broken, Invariants
from tallystick.sim.odds import Machine, Nature, Odds, Plan, Purchase
from tallystick.sim.scenarios import fate, random_plan, smallest
from tallystick.sim.shrink import shrink
from tallystick.sim.voyage import voyage


def test_worlds_come_in_the_order_of_their_seeds_whoever_lives_them():
    alone = list(voyage(fate, 300, 30, processes=1))
    assert [each.seed for each in alone] == list(range(300, 330))
    assert list(voyage(fate, 300, 30, processes=2)) == alone
    assert all(each.seconds > 0 and not each.broken for each in alone)
    assert sum(each.completed + each.failed for each in alone) >= 30


def endless(place: Path) -> str:
    """A world that takes longer than anybody waits, except the first; says who lives it."""
    place.write_text(str(os.getpid()))
    if place.name != "0":
        time.sleep(600)
    return place.name


def alive(process: str) -> bool:
    """Whether it is there, and not only because nobody has asked how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def wait_for(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 100
    while not met():
        assert time.monotonic() < end
        time.sleep(0.05)


def busy(folder: Path) -> set[str]:
    """The worlds that somebody lives, or has lived."""
    return {each.name for each in folder.iterdir() if each.read_text()}


def test_whoever_has_seen_enough_does_not_wait_for_the_rest(tmp_path: Path):
    places = [tmp_path / str(n) for n in range(9)]
    fates = voyage(endless, 0, 9, processes=2, of=places, chunk=1)
    assert next(fates) == "0"
    wait_for(lambda: {"1", "2"} <= busy(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        cast("Generator[str]", fates).throw(KeyboardInterrupt())  # without an end: ten minutes
    assert not any(alive(each.read_text()) for each in tmp_path.iterdir())


PROGRAM = """
import sys
from pathlib import Path
from tallystick.sim.voyage import voyage
sys.path.insert(0, sys.argv[1])
from test_voyage import endless
places = [Path(sys.argv[2]) / str(n) for n in range(9)]
for name in voyage(endless, 0, 9, processes=2, of=places, chunk=1):
    print(name, flush=True)
"""


def test_nobody_stays_behind_when_the_program_is_killed(tmp_path: Path):
    words = (sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(tmp_path))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as program:
        try:
            wait_for(lambda: {"1", "2"} <= busy(tmp_path))
            living = {(tmp_path / name).read_text() for name in "12"}
            assert all(map(alive, living))
        finally:
            program.kill()
    assert len(living) == 2
    wait_for(lambda: not any(map(alive, living)))


def test_what_does_not_matter_is_left_out():
    plan = Plan(
        seed=1,
        purchases=(
            Purchase(at=1, time_unit=60, lots=(2, 2)),
            Purchase(at=9, time_unit=60, trust=5, natures=(Nature.ERRATIC,)),
        ),
        machines=(Machine(), Machine(score=30), Machine(slots=1)),
        odds=Odds(crash=0.01, reorg=0.05, depth=6),
    )
    left = shrink(plan, lambda p: p.odds.reorg > 0 and any(m.score == 30 for m in p.machines))
    assert left.machines == (Machine(score=30),)
    assert left.odds == Odds(reorg=0.05)
    assert left.purchases in (
        (replace(plan.purchases[0], lots=(1,)),),
        (replace(plan.purchases[1], trust=1, natures=()),),
    )


def test_a_broken_world_tells_its_seed_and_is_made_smaller(monkeypatch: pytest.MonkeyPatch):
    def check(self: Invariants) -> None:
        if any(who == "worker 1" for _, who, _ in self._world.told):
            raise Broken("worker 1 was seen")

    monkeypatch.setattr(scenarios.Invariants, "check", check)
    seed = next(s for s in range(50) if fate(s).broken)
    assert f"seed {seed}, second" in fate(seed).broken
    plan, story = smallest(seed, tries=40)
    assert len(plan.machines) <= len(random_plan(seed).machines)
    assert "worker 1 was seen" in story
