"""What a worker earned, lost and paid: by task, by day, and in all. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from tallystick.poco.values import Nrlc, Wei

LAST_LINES = "last lines "
"""Before a task's name: the note of a journal that keeps the end of what its app printed."""
SETTLED = "settled "
"""Before a task's name: the note of a journal that tells what its end moved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What the chain says that the end of a task moved for us."""

    reward: Nrlc
    lost: Nrlc
    """Stake that was taken from us."""
    at: float
    """Of the block; seconds since the epoch."""
    block_hash: str
    """Which block said so: when a reorg takes it away, this is void."""

    def written(self) -> str:
        """As it is noted."""
        return json.dumps(asdict(self))


def settled(text: str) -> Settled | None:
    """What `written` wrote; None for what cannot be read."""
    try:
        return Settled(**json.loads(text))
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """One task's part in the earnings."""

    task: str
    status: str
    """As versions 3.2 to 9 call it. COMPLETED alone earns nothing."""
    at: float
    """When its end was mined, else when we heard of it last; seconds since the epoch."""
    reward: Nrlc = 0
    lost: Nrlc = 0
    locked: Nrlc = 0
    """Stake that is inside the task now."""
    gas: Wei = 0
    """What our transactions for it cost."""
    paid: bool = False
    """Whether the chain has paid us for it."""

    @property
    def net(self) -> Nrlc:
        """Without the gas, which is paid in another coin."""
        return self.reward - self.lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """Some tasks together."""

    day: str
    """YYYY-MM-DD in UTC; `total` for all of them."""
    tasks: int
    paid: int
    reward: Nrlc
    lost: Nrlc
    gas: Wei
    net: Nrlc


def by_day(earned: Iterable[Earned], other_gas: Mapping[str, Wei]) -> list[Sum]:
    """The sum of each day on which something happened, oldest first. `other_gas`: what
    transactions cost on each day that belong to no task of these."""
    days: dict[str, list[Earned]] = {day: [] for day in other_gas}
    for each in earned:
        days.setdefault(day_of(each.at), []).append(each)
    return [_sum(day, days[day], other_gas.get(day, 0)) for day in sorted(days)]


def total(earned: Sequence[Earned], other_gas: Mapping[str, Wei]) -> Sum:
    """All of it."""
    return _sum("total", earned, sum(other_gas.values()))


def day_of(at: float) -> str:
    """The day of an instant, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}"


def as_csv(earned: Iterable[Earned]) -> str:
    """One line a task: amounts in nRLC and wei, so that nothing is rounded."""
    out = io.StringIO()
    names = [each.name for each in fields(Earned)]
    units = {"reward": "_nrlc", "lost": "_nrlc", "locked": "_nrlc", "gas": "_wei"}
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*(name + units.get(name, "") for name in names), "net_nrlc"])
    for each in earned:
        values = asdict(each) | {"at": _iso(each.at), "paid": str(each.paid).lower()}
        writer.writerow([*(values[name] for name in names), each.net])
    return out.getvalue()


def as_json(earned: Sequence[Earned], other_gas: Mapping[str, Wei]) -> dict[str, Any]:
    """Everything: tasks, days and the total."""
    return {
        "tasks": [asdict(each) | {"net": each.net} for each in earned],
        "days": [asdict(each) for each in by_day(earned, other_gas)],
        "total": asdict(total(earned, other_gas)),
    }


def _sum(day: str, earned: Iterable[Earned], gas: Wei) -> Sum:
    earned = list(earned)
    return Sum(
        day=day,
        tasks=len(earned),
        paid=sum(each.paid for each in earned),
        reward=sum(each.reward for each in earned),
        lost=sum(each.lost for each in earned),
        gas=gas + sum(each.gas for each in earned),
        net=sum(each.net for each in earned),
    )


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
