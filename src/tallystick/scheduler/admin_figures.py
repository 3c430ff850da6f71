"""What the operator is told of a pool: values for `--json`, which sentences are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.lifecycle.pool import busy_slots
from tallystick.lifecycle.stages import task_status
from tallystick.lifecycle.task import Task
from tallystick.poco.deal import Deal
from tallystick.poco.rewards import scheduler_stake
from tallystick.poco.tags import names
from tallystick.poco.values import Address
from tallystick.scheduler.money import DealMoney, TaskMoney, total
from tallystick.scheduler.money_watch import MoneyWatch
from tallystick.scheduler.orders import Kept, Orders

if TYPE_CHECKING:
    from tallystick.scheduler.admission import Admission
    from tallystick.scheduler.pool import Pool

Figures = dict[str, Any]


def worker_rows(pool: Pool, admission: Admission, lost_after: float) -> list[Figures]:
    """Every worker that ever registered, and every wallet that is blocked."""
    open_tasks, blocked = list(pool.open_tasks()), {b.wallet: b for b in admission.blocked()}
    rows = []
    for worker, model, silence in pool.roster:
        found = blocked.pop(str(worker), None)
        rows.append(
            {
                "wallet": str(worker),
                "name": model.name,
                "slots": model.slots,
                "busy": busy_slots(worker, open_tasks),
                "heard_seconds_ago": round(silence, 1),
                "alive": silence < lost_after,
                "tee": model.tee_enabled,
                "gpu": model.gpu_enabled,
                "blocked": found is not None,
                "why_blocked": found.why if found else "",
                **pool.audits.told(worker),
            }
        )
    return rows + [
        _stranger(wallet, each.why) | pool.audits.told(Address(wallet))
        for wallet, each in blocked.items()
    ]


def _stranger(wallet: str, why: str) -> Figures:
    return {
        "wallet": wallet,
        "name": "",
        "slots": 0,
        "busy": 0,
        "heard_seconds_ago": None,
        "alive": False,
        "tee": False,
        "gpu": False,
        "blocked": True,
        "why_blocked": why,
    }


def task_rows(tasks: Iterable[Task], *, limit: int, unfinished: bool) -> list[Figures]:
    """The newest tasks, newest first; `limit` 0: all of them."""
    wanted = [task for task in tasks if not (unfinished and task.status.over)]
    return [
        {
            "task": str(task.id),
            "deal": str(task.deal.id),
            "index": task.index,
            "status": task_status(task),
            "trust": task.deal.trust,
            "replicates": len(task.replicates),
            "votes": sum(r.vote is not None for r in task.replicates.values()),
            "final_deadline": task.deal.final_deadline,
        }
        for task in reversed(wanted[-limit:] if limit else wanted)
    ]


def deal_rows(
    tasks: Iterable[Task], money: Mapping[str, list[TaskMoney]], rate: Decimal | None
) -> list[Figures]:
    """Every deal with what it has moved so far, newest first."""
    deals: dict[str, list[Task]] = {}
    for task in tasks:
        deals.setdefault(str(task.deal.id), []).append(task)
    rows = [_deal_row(known, money.get(id, ()), rate) for id, known in deals.items()]
    rows += [
        {"deal": id, "tasks": len(settled)} | _moved(total(settled), rate)
        for id, settled in money.items()
        if id not in deals
    ]
    return rows[::-1]


def _deal_row(tasks: list[Task], settled: Iterable[TaskMoney], rate: Decimal | None) -> Figures:
    deal: Deal = tasks[0].deal
    unfinished = sum(not task.status.over for task in tasks)
    return {
        "deal": str(deal.id),
        "requester": str(deal.requester),
        "app": str(deal.app.pointer),
        "category": deal.category,
        "trust": deal.trust,
        "price_nrlc": deal.workerpool.price,
        "bought": deal.start,
        "tasks": len(tasks),
        "unfinished": unfinished,
        "statuses": dict(Counter(task_status(task) for task in tasks)),
        "stake_locked_nrlc": scheduler_stake(deal.workerpool.price) * unfinished,
        **_moved(total(settled), rate),
    }


def _moved(sum: DealMoney, rate: Decimal | None) -> Figures:
    return {
        "settled": sum.tasks,
        "completed": sum.completed,
        "reward_nrlc": sum.reward,
        "seized_nrlc": sum.seized,
        "gas_wei": sum.gas,
        "profit_nrlc": sum.profit(rate),
    }


def earned(money: Mapping[str, list[TaskMoney]], rate: Decimal | None) -> Figures:
    """All that tasks which ended have moved."""
    return _moved(total(each for settled in money.values() for each in settled), rate)


def order_row(kept: Kept) -> Figures:
    """One order, as the operator sees it."""
    order = kept.order
    return {
        "hash": str(kept.hash),
        "standing": str(kept.standing),
        "category": order.category,
        "price_nrlc": order.price,
        "volume": order.volume,
        "remaining": kept.remaining,
        "trust": order.trust,
        "tag": list(names(order.tag)),
        "app": str(order.app_restrict),
        "dataset": str(order.dataset_restrict),
        "requester": str(order.requester_restrict),
    }


def refused_rows(orders: Orders) -> list[Figures]:
    """Terms for which nothing is signed, and why."""
    return [
        {"category": terms.category, "price_nrlc": terms.price, "why": why}
        for terms, why in orders.refused.items()
    ]


def purse_figures(watch: MoneyWatch) -> Figures:
    """What the owner has, and how far it goes."""
    purse = asdict(watch.purse) if watch.purse else {}
    return {
        "owner": str(watch.owner),
        "free_nrlc": purse.get("free"),
        "locked_nrlc": purse.get("locked"),
        "balance_wei": purse.get("balance"),
        "gas_price_wei": purse.get("gas_price"),
        "at": purse.get("at"),
        "covers": [
            {
                "category": cover.order.category,
                "price_nrlc": cover.order.price,
                "tasks": cover.tasks,
                "remaining": cover.remaining,
                "needed_nrlc": cover.needed,
            }
            for cover in watch.covers()
        ],
        "warnings": watch.warnings(),
    }
