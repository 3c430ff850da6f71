"""What a task cost, where a transaction did several at once."""

from __future__ import annotations

from tallystick.chain.logs import Ref, Reward, Seize, TaskInitialize
from tallystick.chain.receipts import Mined
from tallystick.lifecycle.replicate import Replicate
from tallystick.lifecycle.task import Task
from tallystick.poco.deal import Asset, Deal
from tallystick.poco.values import Address, DealId, Hash, TaskId
from tallystick.scheduler.money_book import _by_worker, _part

ME, OTHER = Address(b"\x01" * 20), Address(b"\x02" * 20)
TASKS = [TaskId(bytes([n]) * 32) for n in range(1, 4)]
REF = Ref(1, Hash(bytes(32)), 0, 0)


def opened(*tasks: TaskId, sender: Address = ME, fee: int) -> Mined:
    logs = tuple(TaskInitialize(task, OTHER, REF) for task in tasks)
    return Mined(sender=sender, fee=fee, logs=logs)


def test_tasks_that_share_a_transaction_share_its_fee_to_the_last_wei() -> None:
    mined = opened(*TASKS, fee=1_000)
    parts = [_part(mined, ME, task) for task in TASKS]
    assert parts == [334, 333, 333]
    assert sum(parts) == mined.fee


def test_what_others_sent_cost_us_nothing() -> None:
    assert _part(opened(*TASKS, sender=OTHER, fee=1_000), ME, TASKS[0]) == 0


def test_a_task_that_is_named_twice_pays_once() -> None:
    """`initializeAndClaimArray` opens and claims it in one transaction."""
    assert _part(opened(TASKS[0], TASKS[0], fee=1_000), ME, TASKS[0]) == 1_000


def test_what_workers_got_is_told_apart_from_what_others_did() -> None:
    """The logs of one end tell of the app's owner, the requester and the pool's owner too."""
    owner, app, worker, liar = (Address(bytes([n]) * 20) for n in (8, 9, 10, 11))
    pool = Asset(Address(b"\x06" * 20), owner)
    deal = Deal(DealId(b"\x05" * 32), start=1, time_unit=1, trust=1, workerpool=pool)
    replicates = {each: Replicate(each, 2) for each in (worker, liar, owner)}
    task = Task(deal.task_id(0), 0, deal, replicates=replicates)
    logs = (
        Reward(worker, 70, task.id, REF),
        Reward(worker, 5, task.id, REF),
        Reward(app, 10, task.id, REF),
        Reward(owner, 20, task.id, REF),
        Reward(worker, 99, TASKS[0], REF),
        Seize(liar, 30, task.id, REF),
    )
    mined = Mined(sender=ME, fee=1, logs=logs)
    assert _by_worker(mined, Reward, task) == {str(worker): 75}
    assert _by_worker(mined, Seize, task) == {str(liar): 30}
    assert _by_worker(None, Reward, task) == {}
