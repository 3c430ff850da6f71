"""Who holds which shard: each process decides alone, and still nobody holds one twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tallystick.engine.fence import SHARDS
from tallystick.scheduler.shared.shares import Share, plan, quota

LEASE, NAMES = 6, [f"process-{n}" for n in range(5)]


class Pool(RuleBasedStateMachine):
    """A table of shards, its clock, and processes that look at it in any order.

    A process acts on what it saw, which may be old; the database does what its statements say.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.rows = [Share(n, None, expired=True) for n in range(SHARDS)]
        self.until = [0] * SHARDS
        self.epochs = [0] * SHARDS
        self.beats: dict[str, int] = {}
        self.seen: dict[str, tuple[list[Share], list[str]]] = {}
        self.rights: dict[str, dict[int, tuple[int, int]]] = {name: {} for name in NAMES}

    def look(self, name: str) -> None:
        self.beats[name] = self.now
        alive = [who for who, at in self.beats.items() if at > self.now - LEASE]
        rows = [replace(row, expired=self.until[row.number] < self.now) for row in self.rows]
        self.seen[name] = (rows, alive)

    def act(self, name: str) -> None:
        rows, alive = self.seen.pop(name)
        decided = plan(rows, name, alive)
        for n in decided.renew:
            if self.rows[n].holder == name and self.until[n] > self.now:
                self.grant(name, n, self.epochs[n])
        for n in decided.take:
            if self.rows[n].holder is None or self.until[n] < self.now:
                self.epochs[n] += 1
                self.grant(name, n, self.epochs[n])
        for n in decided.give:
            if self.rows[n].holder == name:
                self.rows[n], self.until[n] = replace(self.rows[n], holder=None), 0
                self.rights[name].pop(n, None)

    def grant(self, name: str, n: int, epoch: int) -> None:
        self.rows[n] = replace(self.rows[n], holder=name)
        self.until[n] = self.now + LEASE
        self.rights[name][n] = (epoch, self.until[n])

    @rule(name=st.sampled_from(NAMES))
    def looks(self, name: str) -> None:
        self.look(name)

    @precondition(lambda self: self.seen)
    @rule(data=st.data())
    def acts(self, data: st.DataObject) -> None:
        self.act(data.draw(st.sampled_from(sorted(self.seen))))

    @rule(seconds=st.integers(1, 2 * LEASE))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(alive=st.sets(st.sampled_from(NAMES), min_size=1))
    def some_live_on_and_the_others_are_gone(self, alive: set[str]) -> None:
        """In a few beats all shards are theirs, in about equal numbers."""
        self.seen.clear()
        self.now += LEASE + 1
        for _ in range(3):
            for name in sorted(alive):
                self.look(name)
                self.act(name)
            self.now += 1
        held = Counter(row.holder for row in self.rows)
        assert set(held) <= alive
        assert held == {name: quota(SHARDS, name, alive) for name in alive}
        assert max(held.values()) - min(held.values()) <= 1

    @invariant()
    def nobody_holds_a_shard_that_another_one_holds(self) -> None:
        good = Counter(
            n
            for name in NAMES
            for n, (epoch, until) in self.rights[name].items()
            if until > self.now and epoch == self.epochs[n]
        )
        assert max(good.values(), default=0) <= 1

    @invariant()
    def an_epoch_is_good_for_one_process_only(self) -> None:
        holders = Counter(
            (n, epoch) for name in NAMES for n, (epoch, _) in self.rights[name].items()
        )
        assert max(holders.values(), default=0) <= 1


Pool.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestPool = Pool.TestCase


def test_the_first_takes_all_of_them_and_gives_half_to_the_second() -> None:
    free = [Share(n, None, expired=True) for n in range(SHARDS)]
    assert len(plan(free, "a", ["a"]).take) == SHARDS
    held = [Share(n, "a", expired=False) for n in range(SHARDS)]
    first, second = plan(held, "a", ["a", "b"]), plan(held, "b", ["a", "b"])
    assert len(first.give) == len(first.renew) == SHARDS // 2
    assert second.take == ()  # not before they are given


def test_a_dead_ones_shards_are_taken_when_the_lease_is_over() -> None:
    before = [Share(n, "dead", expired=False) for n in range(SHARDS)]
    assert plan(before, "a", ["a"]).take == ()
    after = [replace(share, expired=True) for share in before]
    assert len(plan(after, "a", ["a"]).take) == SHARDS
