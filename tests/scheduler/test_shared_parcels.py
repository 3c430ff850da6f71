"""A v9 worker whose requests reach any process of the pool: its session is at one of them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from postgres_lab import ready_postgres
from shared_lab import Process, both

from tallystick.poco.values import Address, TaskId
from tallystick.scheduler.channel import Switch
from tallystick.scheduler.shared import parcels
from tallystick.scheduler.shared.guests import SharedRoster
from tallystick.scheduler.shared.inbox import Inbox
from tallystick.scheduler.shared.parcels import Parcels
from tallystick.wire.scheduler import WorkerModel

__all__ = ["both", "ready_postgres"]

pytestmark = pytest.mark.anyio

CONNECT = "CONNECT\naccept-version:1.2\n\n\0"


class NoBooks:
    """Nobody is owed anything."""

    def owed(self, task: TaskId) -> tuple[()]:
        return ()

    def written(self, *_: object) -> str:
        raise AssertionError("there is nothing to write")


def channel(process: Process) -> tuple[Switch, Inbox]:
    switch, mine = Switch(NoBooks()), Parcels()
    member = process.member
    where = lambda: [*member.addresses(), *mine.addresses()]  # noqa: E731
    inbox = Inbox(process.link, member.bell, where)
    mine.open(switch, inbox)
    return switch, inbox


@asynccontextmanager
async def talking(both: tuple[Process, Process]) -> AsyncIterator[tuple[Switch, Switch]]:
    a, b = both
    (first, post), (second, other) = channel(a), channel(b)
    async with anyio.create_task_group() as tasks:
        for service in (a.member.bell.run, b.member.bell.run, post.run, other.run):
            tasks.start_soon(service)
        yield first, second
        tasks.cancel_scope.cancel()


async def test_what_is_sent_to_another_process_arrives(both: tuple[Process, Process]) -> None:
    async with talking(both) as (first, second):
        session = first.join("5f", "")
        assert session is not None
        assert await session.frame() == "o"
        with anyio.fail_after(60):
            assert await second.deliver("5f", [CONNECT])
            assert "CONNECTED" in await session.frame()


async def test_a_session_of_nobody_is_found_nowhere(
    both: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "_PATIENCE", 0.5)
    async with talking(both) as (first, second):
        assert not await first.deliver("60", [CONNECT])
        monkeypatch.setattr(parcels, "_MOST", 0)
        began = time.monotonic()
        assert not await second.deliver("61", [CONNECT])
        assert time.monotonic() - began < 60
    ((left,),) = both[0].link.rows("SELECT count(*) FROM inbox")
    assert left == 0, "questions are taken back"


async def test_two_sessions_with_one_number_are_told_apart(
    both: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers by which processes ask are few; names decide."""
    monkeypatch.setattr(parcels, "address_of", lambda session: -7)
    monkeypatch.setattr("tallystick.scheduler.channel.sessions.address_of", lambda session: -7)
    async with talking(both) as (first, second):
        mine, other = first.join("aa", ""), second.join("bb", "")
        assert mine is not None
        assert other is not None
        await mine.frame()
        await other.frame()
        with anyio.fail_after(60):
            assert await first.deliver("bb", [CONNECT])
            assert "CONNECTED" in await other.frame()
            assert await second.deliver("aa", [CONNECT])
            assert "CONNECTED" in await mine.frame()


async def test_a_v9_worker_that_starts_again_is_welcomed_by_all(
    both: tuple[Process, Process],
) -> None:
    """It names no instance, so only that it registered tells of a new start."""
    a, b = both
    a.comes()
    b.comes()
    worker = Address(b"\x01" * 20)
    mine, others = (
        SharedRoster(p.member.journal, p.link, p.member.bell, p.member.leases.life)
        for p in both
    )
    back: list[Address] = []
    others.returned = back.append
    async with anyio.create_task_group() as tasks:
        for service in (a.member.bell.run, b.member.bell.run):
            tasks.start_soon(service)
        with anyio.fail_after(60):
            while not back:  # the ears of the other one may not be open yet
                mine.register(worker, WorkerModel(name="java"))
                await anyio.sleep(0.2)
        tasks.cancel_scope.cancel()
    assert set(back) == {worker}
