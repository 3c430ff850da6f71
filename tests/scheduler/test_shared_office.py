"""What an operator tells one process of several, and what may be noted beside the facts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from postgres_lab import ready_postgres
from shared_lab import DEALS, Process, both, expire

from tallystick.engine import postgres
from tallystick.engine.fence import Fenced
from tallystick.lifecycle.task import Task
from tallystick.poco.values import Address
from tallystick.scheduler.logs import LogBook
from tallystick.scheduler.shared import guests, leases
from tallystick.scheduler.shared.guests import SharedRoster
from tallystick.scheduler.window import Window
from tallystick.wire.scheduler import WorkerModel

__all__ = ["both", "ready_postgres"]

ONE, TWO = (Address(bytes([number]) * 20) for number in (1, 2))
MODEL = WorkerModel(name="w", cpu_nb=2, os="Linux")


@pytest.fixture(autouse=True)
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease ends when a test says so (`expire`), however slow the machine is."""
    for module in (leases, guests, postgres):
        monkeypatch.setattr(module, "LEASE", 3_600.0)


def roster(process: Process) -> SharedRoster:
    member = process.member
    return SharedRoster(member.journal, process.link, member.bell, member.leases.life)


def test_who_slept_past_its_lease_notes_nothing(both: tuple[Process, Process]) -> None:
    a, b = both
    with pytest.raises(Fenced):
        a.journal.note("order 1", "before it was ever heard of")
    a.comes()
    b.comes()
    a.journal.note("order 1", "offered")
    expire(a)
    b.journal.note("order 1", "closed")
    with pytest.raises(Fenced):
        a.journal.note("order 1", "offered")
    with pytest.raises(Fenced):
        a.journal.forget("order 1")
    assert b.journal.noted("order 1") == "closed"
    a.comes()
    a.journal.note("order 2", "offered")
    a.journal.forget("order 2")
    assert b.journal.noted("order 2") is None


def test_a_right_from_before_a_sleep_is_none_after_it(both: tuple[Process, Process]) -> None:
    """Also when the process was heard of again, or was forgotten for its long silence."""
    a, _ = both
    a.comes()
    before = a.member.leases.life()
    a.comes()
    assert a.member.leases.life() == before
    expire(a)
    a.comes()
    slept = a.member.leases.life()
    a.link.rows("DELETE FROM process WHERE id = 'a'")
    with pytest.raises(Fenced):
        a.journal.note("key", "value")
    a.comes()
    assert len({before.epoch, slept.epoch, a.member.leases.life().epoch}) == 3
    a.member.leave()
    with pytest.raises(Fenced):
        a.journal.note("key", "value")


def test_who_slept_past_its_lease_registers_and_hears_nobody(
    both: tuple[Process, Process],
) -> None:
    a, b = both
    a.comes()
    mine = roster(a)
    mine.register(ONE, MODEL)
    a.link.rows("UPDATE worker SET seen = '2001-01-01'")
    expire(a)
    mine.heard(ONE)
    for act in (mine._exchange, lambda: mine.register(TWO, MODEL), lambda: mine.left(ONE)):
        with pytest.raises(Fenced):
            act()
    b.comes()
    rows = b.link.rows("SELECT wallet, seen < now() - interval '1 year' FROM worker")
    assert rows == [(str(ONE), True)]
    a.comes()
    mine._exchange()
    assert b.link.rows("SELECT seen > now() - interval '1 hour' FROM worker") == [(True,)]


def test_who_owns_a_worker_is_known_to_all(both: tuple[Process, Process]) -> None:
    a, b = both
    a.comes()
    b.comes()
    here, there = roster(a), roster(b)
    here.owned(ONE, "somebody")
    there.owned(TWO, "somebody")
    for each in (here, there):
        each.read_again()
        assert each.kin(ONE) == {TWO}
    here.owned(ONE, "")
    there.read_again()
    assert there.kin(TWO) == frozenset()


def test_workers_behind_one_address_are_kin_whichever_process_they_spoke_to(
    both: tuple[Process, Process],
) -> None:
    a, b = both
    a.comes()
    b.comes()
    here, there = roster(a), roster(b)
    here.calls_from(ONE, "192.0.2.7")
    there.calls_from(TWO, "192.0.2.7")
    for each in (here, there, roster(a)):
        each.read_again()
        assert each.kin(ONE) == {TWO}
    there.calls_from(TWO, "192.0.2.8")
    here.read_again()
    assert here.kin(ONE) == frozenset()


def test_all_that_live_take_a_course_and_so_does_who_comes_meanwhile(
    both: tuple[Process, Process],
) -> None:
    a, b = both
    told: list[tuple[str, str]] = []
    a.member.steered = lambda course: told.append(("a", course))
    b.member.steered = lambda course: told.append(("b", course))
    a.comes()
    a.member.steer("draining")
    a.comes()
    b.comes()
    b.comes()
    assert told == [("a", "draining"), ("b", "draining")]
    b.member.steer("")
    a.comes()
    b.comes()
    assert told[2:] == [("a", ""), ("b", "")]


def test_who_slept_when_all_were_told_to_end_ends_too(both: tuple[Process, Process]) -> None:
    a, b = both
    a.comes()
    b.comes()
    expire(a)
    b.member.steer("draining")
    a.comes()
    assert a.member.leases.course == "draining"
    expire(a)
    b.member.leave()
    a.comes()
    assert a.member.leases.course == "draining", "also when nobody is left who was told"


def test_a_course_ends_with_those_who_took_it(both: tuple[Process, Process]) -> None:
    """A pool that was drained and is started again works."""
    a, b = both
    a.comes()
    a.member.steer("draining")
    a.comes()
    a.member.leave()
    b.comes()
    assert b.member.leases.course == ""
    b.member.steer("draining")
    expire(b)
    a.comes()
    assert a.member.leases.course == ""


class Lookout:
    """What of a pool a window looks at."""

    def __init__(self, process: Process) -> None:
        self.engine = process.engine

    def tasks(self) -> Iterable[Task]:
        return self.engine.states.values()


def window(process: Process) -> Window:
    pool: Any = Lookout(process)
    made = Window(
        pool=pool,
        journal=process.journal,
        logs=LogBook(Path(":memory:")),
        workerpool=ONE,
        chain_id=1,
        lost_after=30,
    )
    made.watch()
    return made


def test_each_lists_the_deals_and_tasks_of_all_in_the_same_order(
    both: tuple[Process, Process],
) -> None:
    """A next page may be asked of another process."""
    a, b = both
    windows = {}
    for process in (a, b, a, b):
        process.comes()
    for process in (a, b):
        windows[id(process)] = window(process)
    for bought in DEALS:
        owner = a if a.member.owns(str(bought.task_id(0))) else b
        owner.born(bought)
    for process in (a, b):
        assert process.member.replica is not None
        process.member.replica.refresh()
    here, there = windows[id(a)], windows[id(b)]
    assert len(here.deals()) == len(DEALS)
    assert here.deals() == there.deals()
    tasks = [each.newest_first(each.pool.tasks()) for each in (here, there)]
    assert len(tasks[0]) == len(DEALS)
    assert tasks[0] == tasks[1]
    late = [deal.id for deal in DEALS]
    assert here.deals() == late[::-1]


def test_a_deal_that_a_reorg_undid_is_listed_nowhere(both: tuple[Process, Process]) -> None:
    a, b = both
    a.comes()
    b.comes()
    here, there = window(a), window(b)
    a.born(DEALS[0], block=5)
    assert b.member.replica is not None
    b.member.replica.refresh()
    assert len(there.deals()) == 1
    a.engine.roll_back(4)
    b.member.replica._called("")
    b.member.replica.refresh()
    assert (here.deals(), there.deals()) == ([], [])
