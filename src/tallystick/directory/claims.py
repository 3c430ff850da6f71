"""What a pool tells of itself, read with care: it may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tallystick.poco.values import Address, Nrlc

_LARGEST: Final = 10**12
"""No pool has more of anything."""
_DEAREST: Final = 10**18
"""nRLC: more than there are."""
_LONGEST: Final = 80


class Nonsense(Exception):
    """An answer is not what a pool answers; the sentence says what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What `/pool` says."""

    name: str
    workerpool: Address
    chain_id: int
    version: str
    workers: int
    workers_alive: int
    slots: int
    slots_busy: int
    deals: int
    completed: int
    """Tasks that were paid."""
    failed: int

    @property
    def success(self) -> float | None:
        """The share of tasks paid, of those that ended; None when none has."""
        ended = self.completed + self.failed
        return self.completed / ended if ended else None


@dataclass(frozen=True, slots=True)
class Offer:
    """The cheapest order of one category."""

    category: int
    price: Nrlc
    """For a task."""
    trust: int


def read_pool(told: Any) -> Claims:
    """The claims in the answer of `/pool`. Raises Nonsense."""
    body, tasks = _mapping(told, "the pool"), _mapping(_get(told, "tasks"), "tasks")
    try:
        workerpool = Address(str(body.get("workerpool")))
    except ValueError as wrong:
        raise Nonsense("it does not say which workerpool it is") from wrong
    return Claims(
        name=words(body.get("name", "")),
        workerpool=workerpool,
        chain_id=_count(body, "chainId"),
        version=words(body.get("version", "")),
        workers=_count(body, "workers"),
        workers_alive=_count(body, "workersAlive"),
        slots=_count(body, "slots"),
        slots_busy=_count(body, "slotsBusy"),
        deals=_count(body, "deals"),
        completed=_count(tasks, "COMPLETED", 0),
        failed=_count(tasks, "FAILED", 0),
    )


def read_orders(told: Any) -> tuple[Offer, ...]:
    """The cheapest offer of each category in the answer of `/orders`. Raises Nonsense."""
    if not isinstance(told, list):
        raise Nonsense("its orders are no list")
    best: dict[int, Offer] = {}
    for each in told:
        order = _mapping(_get(each, "order"), "an order")
        offer = Offer(
            _number(order.get("category"), "category"),
            _number(order.get("workerpoolprice"), "workerpoolprice", _DEAREST),
            _number(order.get("trust", 0), "trust"),
        )
        known = best.get(offer.category)
        if known is None or offer.price < known.price:
            best[offer.category] = offer
    return tuple(best[category] for category in sorted(best))


def words(text: Any) -> str:
    """A short text of one line, without anything that cannot be seen."""
    # What is nested may be nested deeper than can be written.
    said = f"a {type(text).__name__}" if isinstance(text, dict | list) else str(text)
    seen = "".join(each if each.isprintable() else " " for each in said[: 4 * _LONGEST])
    line = " ".join(seen.split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _get(told: Any, name: str) -> Any:
    return _mapping(told, "an answer").get(name)


def _mapping(told: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(told, dict):
        raise Nonsense(f"{what} is no object")
    return told


def _count(body: Mapping[str, Any], name: str, absent: int | None = None) -> int:
    return _number(body.get(name, absent), name)


def _number(told: Any, what: str, largest: int = _LARGEST) -> int:
    """A number, also as text: as the official tools write amounts."""
    if isinstance(told, str) and told.isascii() and told.isdigit() and len(told) < 20:
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= largest:
        raise Nonsense(f"{what} is {words(told)!r}")
    return told
