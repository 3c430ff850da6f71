"""What one process of a pool has found by an audit, the others know."""

from __future__ import annotations

import pytest
from postgres_lab import ready_postgres
from shared_lab import DEALS, Process, both

from tallystick.engine import postgres
from tallystick.lifecycle.facts import Assigned, Audited
from tallystick.poco.values import Address
from tallystick.scheduler.audits import Audits
from tallystick.scheduler.shared import guests, leases
from tallystick.scheduler.shared.guests import SharedRoster

__all__ = ["both", "ready_postgres"]

CHEAT = Address(b"\x01" * 20)


@pytest.fixture(autouse=True)
def long_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease ends when a test says so, however slow the machine is."""
    for module in (leases, guests, postgres):
        monkeypatch.setattr(module, "LEASE", 3_600.0)


def audits(process: Process) -> Audits:
    """As a pool of this process keeps them."""
    member = process.member
    roster = SharedRoster(member.journal, process.link, member.bell, member.leases.life)
    made = Audits(roster)
    for entry in process.journal.read():
        made.keep(entry, None)
    made.open(process.journal, None)
    process.engine.listen(lambda entry: made.keep(entry, None))
    return made


def test_a_cheat_that_one_process_has_found_is_known_to_all_and_so_is_its_pardon(
    both: tuple[Process, Process],
) -> None:
    a, b = both
    a.comes()
    b.comes()
    here, there = audits(a), audits(b)
    owner = next(p for p in both if p.holds())
    task = next(owner.born(deal) for deal in DEALS if owner.engine.owns(str(deal.task_id(0))))
    owner.engine.record(task, Assigned(CHEAT, 2))
    owner.engine.record(task, Audited(CHEAT, agreed=False))
    for process in both:
        process.member.replica.refresh()
    assert here.distrusts(CHEAT)
    assert there.distrusts(CHEAT)
    assert audits(b).distrusts(CHEAT), "and to a process that starts later"
    here.pardon(CHEAT)
    assert there.read_again() == [CHEAT]
    assert not there.distrusts(CHEAT)
