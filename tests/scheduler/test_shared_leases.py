"""Two processes and one database: who may write and send, and who may not any more."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from postgres_lab import ready_postgres
from shared_lab import DEALS, Process, both, expire

from tallystick.engine.fence import SHARDS, Fenced, shard_of
from tallystick.engine.journal import ChainRef
from tallystick.engine.postgres_link import Link
from tallystick.lifecycle.facts import Initialized, Ordered
from tallystick.poco.values import Hash
from tallystick.scheduler.shared.bell import Bell
from tallystick.scheduler.shared.cursors import ShardCursors, parsed, thinned
from tallystick.scheduler.shared.inbox import Inbox, NoAnswer
from tallystick.scheduler.shared.keys import SharedChallenges, shared_secret
from tallystick.wire.auth import Unauthorized, login_digest

__all__ = ["both", "ready_postgres"]


def test_shards_are_shared_out_and_handed_over(both: tuple[Process, Process]) -> None:
    a, b = both
    a.comes()
    assert a.holds() == SHARDS
    b.comes()
    assert b.holds() == 0  # nothing is free yet
    a.comes()
    b.comes()
    assert (a.holds(), b.holds()) == (SHARDS // 2, SHARDS // 2)
    b.member.leave()
    a.comes()
    assert a.holds() == SHARDS


def test_who_slept_past_its_lease_cannot_write(both: tuple[Process, Process]) -> None:
    a, b = both
    a.comes()
    task = a.born(DEALS[0])
    ShardCursors(a.link, a.member.rights).save([(5, Hash(bytes(32)))])
    expire(a)
    b.comes()
    assert b.holds() == SHARDS
    with pytest.raises(Fenced):
        a.journal.append(task, Initialized(), at=1.0, ref=ChainRef(6, "0x6", 1))
    assert a.holds() == SHARDS - 1  # the shard for which it was told
    b.engine.record(task, Initialized(), ChainRef(6, "0x6", 1))
    kinds = [type(entry.fact) for entry in b.journal.read(stream=task)]
    assert kinds == [Ordered, Initialized]
    a.member.beat()
    assert a.holds() == 0
    assert not a.member.owns(task)


def test_a_refused_fact_ends_the_right_even_if_nobody_took_the_shard(
    both: tuple[Process, Process],
) -> None:
    """Else the chain's cursor would go past a fact that was never recorded."""
    a, _ = both
    a.comes()
    task = a.born(DEALS[0])
    shard = shard_of(task)
    a.link.rows("UPDATE shard SET until = '-infinity' WHERE number = %s", (shard,))
    with pytest.raises(Fenced):
        a.engine.record(task, Initialized(), ChainRef(6, "0x6", 1))
    cursor = ShardCursors(a.link, a.member.rights)
    cursor.save([(6, Hash(bytes(32)))])
    saved = dict(a.link.rows("SELECT number, cursor FROM shard"))
    assert saved[shard] is None
    assert all(parsed(text)[-1][0] == 6 for n, text in saved.items() if n != shard)
    assert a.comes(known=6) == []  # it is read again from the start, with another epoch
    assert a.holds() == SHARDS


def test_each_knows_what_the_other_records(both: tuple[Process, Process]) -> None:
    a, b = both
    for process in (a, b, a, b):
        process.comes()
    tasks = {}
    for bought in DEALS:
        owner = a if a.member.owns(str(bought.task_id(0))) else b
        tasks[owner.born(bought)] = owner
    assert len({id(owner) for owner in tasks.values()}) == 2
    for process in (a, b):
        assert process.member.replica is not None
        process.member.replica.refresh()
        assert process.engine.states.keys() == tasks.keys()
    assert a.engine.states == b.engine.states


def test_a_shard_that_comes_is_read_again_from_where_it_was(
    both: tuple[Process, Process],
) -> None:
    """Also what a reorg has taken away while nobody had it."""
    a, b = both
    a.comes()
    task = a.born(DEALS[0], block=5)
    ShardCursors(a.link, a.member.rights).save([(5, Hash(bytes(32)))])
    a.engine.record(task, Initialized(), ChainRef(7, "0x7", 1))  # above the cursor
    expire(a)
    assert b.comes(known=9)[-1][0] == 5
    assert [type(e.fact) for e in b.journal.read(stream=task)] == [Ordered]
    b.engine.record(task, Initialized(), ChainRef(7, "0x7b", 1))
    assert [type(e.fact) for e in b.journal.read(stream=task)] == [Ordered, Initialized]


def test_one_process_sends(both: tuple[Process, Process]) -> None:
    a, b = both
    a.comes()
    b.comes()
    assert a.member.leases.sends
    assert b.member.leases.sends is None
    expire(a)
    b.comes()
    assert b.member.leases.sends
    a.comes()
    assert a.member.leases.sends is None


@pytest.mark.anyio
async def test_the_owner_answers_what_comes_to_others(ready_postgres: str) -> None:
    link, bells = Link(ready_postgres), [Bell(ready_postgres) for _ in range(2)]
    asker = Inbox(link, bells[0], lambda: [1])
    owner = Inbox(link, bells[1], lambda: [2])

    async def double(body: Any) -> Any:
        return {"twice": 2 * body["number"]}

    owner.does("double", double)
    async with anyio.create_task_group() as tasks:
        for service in (asker.run, owner.run, bells[0].run, bells[1].run):
            tasks.start_soon(service)
        assert await asker.ask(2, "double", {"number": 21}) == {"twice": 42}
        with pytest.raises(NoAnswer):
            await asker.ask(3, "double", {"number": 1}, patience=0.05)
        tasks.cancel_scope.cancel()
    assert link.rows("SELECT count(*) FROM inbox") == [(0,)]
    link.close()


def test_any_process_settles_a_challenge_once(ready_postgres: str) -> None:
    from tallystick.chain.wallet import Wallet

    wallet, links = Wallet(b"\1" * 32), [Link(ready_postgres) for _ in range(2)]
    first, second = (SharedChallenges(link) for link in links)
    text = first.issue(wallet.address)
    assert second.issue(wallet.address) == text
    signature = wallet.sign_hash(login_digest(text))
    second.settle(wallet.address, signature)
    with pytest.raises(Unauthorized):
        first.settle(wallet.address, signature)
    assert shared_secret(links[0], "key") == shared_secret(links[1], "key")
    for link in links:
        link.close()


def test_a_cursor_keeps_few_blocks() -> None:
    blocks = [(number, Hash(bytes(32))) for number in range(1, 200)]
    few = thinned(blocks)
    assert few[-1] == blocks[-1]
    assert few[0] == blocks[0]
    assert len(few) <= 40
    assert few == sorted(few)
