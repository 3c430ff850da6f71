"""How a pool's answers read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tallystick.cli.worker_words import age, amount, clock, ether, short, span

WORKER_HEADS = ("wallet", "name", "slots", "heard", "audits", "state")
TASK_HEADS = ("task", "deal", "index", "status", "trust", "replicates", "ends at the latest")
DEAL_HEADS = ("deal", "tasks", "price", "stake locked", "reward", "lost", "gas", "profit")
ORDER_HEADS = ("order", "category", "price", "left", "trust", "tag", "for", "standing")

_NOBODY = "0x" + "00" * 20


def status_fields(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of `tally pool status`."""
    yield "state", _state(told)
    yield (
        "name",
        f"{told['name']} (process {told['pid']}, up {span(told['now'] - told['began'])})",
    )
    yield "workerpool", told["workerpool"]
    yield "owner's wallet", told["wallet"]
    yield "address", told["url"]
    if told.get("others"):
        yield "beside it", f"{told['others']} other schedulers of the pool"
    block = told["block_age"]
    seen = "never seen" if block is None else f"a block {age(block)}"
    yield "chain", f"{told['chain_id']}, {seen}"
    blocked = f", {told['blocked']} wallets blocked" if told["blocked"] else ""
    yield "workers", f"{told['workers']['alive']} of {told['workers']['known']} here{blocked}"
    yield "slots", f"{told['slots']['busy']} of {told['slots']['total']} busy"
    tasks = ", ".join(f"{count} {name}" for name, count in sorted(told["tasks"].items()))
    yield "tasks", tasks or "none yet"
    yield "orders", f"{told['orders']} on offer"
    money = told["money"]
    known = f" (known {age(told['now'] - money['at'])})" if money["at"] else ""
    yield "deposit, free", f"{amount(money['free_nrlc'])}{known}"
    yield "deposit, locked", amount(money["locked_nrlc"])
    yield "for gas", ether(money["balance_wei"])
    for cover in money["covers"]:
        yield f"  category {cover['category']}", _cover(cover)
    yield "earned", _earned(told["earned"])


def _state(told: Mapping[str, Any]) -> str:
    if told["state"] == "working":
        return "working"
    return f"{told['state']}, waits for {told['waits_for']} tasks and ends then"


def _cover(cover: Mapping[str, Any]) -> str:
    left = f"the order sells {cover['remaining']} more at {amount(cover['price_nrlc'])}"
    if cover["tasks"] is None:
        return f"locks nothing; {left}"
    return f"the free deposit is good for {cover['tasks']} tasks; {left}"


def _earned(sum: Mapping[str, Any]) -> str:
    profit = "" if sum["profit_nrlc"] is None else f", profit {amount(sum['profit_nrlc'])}"
    return (
        f"{amount(sum['reward_nrlc'])} with {sum['completed']} of {sum['settled']} tasks, less"
        f" {amount(sum['seized_nrlc'])} of stake and {ether(sum['gas_wei'])} for gas{profit}"
    )


def warnings(told: Mapping[str, Any]) -> list[str]:
    """What the operator should do something about."""
    refused = [each["why"] for each in told["refused_orders"]]
    return [*told["money"]["warnings"], *refused]


def worker_row(row: Mapping[str, Any]) -> tuple[object, ...]:
    """One line of `tally pool workers`."""
    state = "here" if row["alive"] else "lost"
    if row["blocked"]:
        state = f"blocked: {row['why_blocked']}" if row["why_blocked"] else "blocked"
    slots = f"{row['busy']}/{row['slots']}"
    heard = age(row["heard_seconds_ago"])
    return row["wallet"], row["name"] or "-", slots, heard, _audits(row), state


def _audits(row: Mapping[str, Any]) -> str:
    """How many there were, and what follows from them."""
    if not row["belief"]:
        return "-"
    wrong = f", {row['audits_differed']} wrong" if row["audits_differed"] else ""
    return f"{row['audits']}{wrong}: {row['belief']}"


def task_row(row: Mapping[str, Any]) -> tuple[object, ...]:
    """One line of `tally pool tasks`."""
    votes = f"{row['replicates']}, {row['votes']} voted"
    ends = clock(row["final_deadline"])
    place = (short(row["task"]), short(row["deal"]), row["index"])
    return *place, row["status"], row["trust"], votes, ends


def deal_row(row: Mapping[str, Any]) -> tuple[object, ...]:
    """One line of `tally pool deals`."""
    price, locked = row.get("price_nrlc"), row.get("stake_locked_nrlc", 0)
    return (
        short(row["deal"]),
        f"{row['settled']} of {row['tasks']} over",
        amount(price),
        amount(locked),
        *_moved(row),
    )


def total_row(sum: Mapping[str, Any]) -> tuple[object, ...]:
    """The last line of `tally pool deals`."""
    return "in all", f"{sum['settled']} over", "", "", *_moved(sum)


def _moved(row: Mapping[str, Any]) -> tuple[str, ...]:
    profit = row["profit_nrlc"]
    return (
        amount(row["reward_nrlc"]),
        amount(row["seized_nrlc"]),
        ether(row["gas_wei"]),
        "unknown" if profit is None else amount(profit),
    )


def order_row(row: Mapping[str, Any]) -> tuple[object, ...]:
    """One line of `tally pool orders list`."""
    only = [f"{name} {row[name]}" for name in ("app", "dataset", "requester")]
    restricted = [each for each in only if not each.endswith(_NOBODY)]
    return (
        row["hash"],
        row["category"],
        amount(row["price_nrlc"]),
        f"{row['remaining']} of {row['volume']}",
        row["trust"],
        ",".join(row["tag"]) or "-",
        ", ".join(restricted) or "anybody",
        row["standing"],
    )


def refusals(told: Iterable[Mapping[str, Any]]) -> list[str]:
    """Why some terms are not on offer."""
    return [each["why"] for each in told]
