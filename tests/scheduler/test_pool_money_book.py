"""What a task cost, where a transaction did several at once."""

from __future__ import annotations

from tallystick.chain.logs import Ref, TaskInitialize
from tallystick.chain.receipts import Mined
from tallystick.poco.values import Address, Hash, TaskId
from tallystick.scheduler.money_book import _part

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
