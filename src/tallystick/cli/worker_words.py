"""How a worker's answers read: times, ages, amounts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any


def amount(nrlc: int | None) -> str:
    """nRLC in RLC, without the zeros that tell nothing."""
    return "unknown" if nrlc is None else f"{_decimal(nrlc, 9)} RLC"


def ether(wei: int | None) -> str:
    """wei in ETH."""
    return "unknown" if wei is None else f"{_decimal(wei, 18)} ETH"


def age(seconds: float | None) -> str:
    """How long ago something was."""
    return "never" if seconds is None else f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    whole = max(0, int(seconds))
    for size, name, small, part in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // small
            return (
                f"{whole // size} {name} {rest} {part}" if rest else f"{whole // size} {name}"
            )
    return f"{whole} s"


def clock(at: float | None) -> str:
    """An instant, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC" if at else "-"


def size(count: float) -> str:
    """Bytes in a unit that fits."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def short(task: str) -> str:
    """A task's id as it is told in a table; ten digits are enough to ask for it."""
    return f"{task[:12]}…"


def status_fields(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of `tally worker status`."""
    now = told["now"]
    yield "state", told["state"]
    yield "name", f"{told['name']} (process {told['pid']}, up {span(now - told['began'])})"
    yield "scheduler", told["scheduler_url"]
    if told["state"] == "starting":
        yield "waits for", "the scheduler, the chain and the container runtime"
        return
    yield "pool", told["pool"] or "unknown"
    yield "wallet", told["wallet"]
    yield from _money_fields(told["money"])
    yield from _pending_fields(told["money"], now)
    yield "slots", f"{told['slots']['busy']} of {told['slots']['total']} busy"
    yield from _contact_fields(told["scheduler"], now)
    chain = told["chain"]
    yield "chain", f"{told['chain_id']}, block {chain['block']}, seen {age(chain['age'])}"
    yield "waits for", waits_for(told)


def waits_for(told: Mapping[str, Any]) -> str:
    """What the worker waits for, in one sentence."""
    if told["closed"]:
        return str(told["closed"][0]["sentence"])
    if told["scheduler"]["broken"]:
        return "the scheduler, which cannot be talked to"
    if told["scheduler"]["answer_sentence"]:
        return f"work. {told['scheduler']['answer_sentence']}"
    return "work: the scheduler is asked for it"


def _money_fields(money: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = f" (known {age(money['age'])})"
    gas = "gas is free here" if money["free_gas"] else ether(money["eth"])
    more = (
        "" if money["more_tasks"] is None else f", enough for {money['more_tasks']} more tasks"
    )
    yield "ETH", gas + known
    yield "deposit", amount(money["stake"]) + more + known
    yield "stake locked", amount(money["locked"]) + known


def _pending_fields(money: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    """What is signed and not mined, and for how long."""
    for each in money.get("pending", ()):
        why = f", its cap of {each['cap'] / 10**9:g} gwei is too low now" * each["capped"]
        yield "waits to be mined", f"{each['what']}, signed {age(now - each['since'])}{why}"


def _contact_fields(told: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    heard = told["heard_at"]
    yield "last ping", age(None if heard is None else now - heard)
    if told["trouble"]:
        yield "last error", f"{age(now - told['trouble_at'])}: {told['trouble']}"
    else:
        yield "last error", "none"


def running_rows(told: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """A row for each task that is worked on."""
    return [
        (
            short(each["task"]),
            each["step"],
            "-" if not each["since"] else span(told["now"] - each["since"]),
            "-" if each["seconds_left"] is None else span(each["seconds_left"]),
        )
        for each in told.get("running", ())
    ]


def task_row(row: Mapping[str, Any]) -> tuple[object, ...]:
    """One line of `tally worker tasks`."""
    return (
        short(row["task"]),
        row["status"] or "-",
        row["seed_status"] or "-",
        row["cause"] or "-",
        "-" if row["exit_code"] is None else row["exit_code"],
        clock(row["began"]),
        earned(row),
    )


def earned(row: Mapping[str, Any]) -> str:
    """What a task brought, honestly: COMPLETED is not paid."""
    if row["lost"]:
        return f"-{amount(row['lost'])}"
    if row["settled"]:
        return amount(row["reward"])
    return "not yet" if row["voted"] and not row["over"] else "-"


def _decimal(value: int, digits: int) -> str:
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), 10**digits)
    return f"{sign}{whole}.{f'{rest:0{digits}d}'.rstrip('0').ljust(2, '0')}"
