"""Facts of one transaction that go to the server together, however many they are.

A round trip for each would take longer than everything else that is done for it; on a machine
that is busy with other things many times longer. The numbers come first, since whoever records
a fact wants to know its number, and the rows of the leases are locked with the same statement;
the facts follow before anything else is asked, or at the end.

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString

from tallystick.engine.fence import Fence
from tallystick.engine.postgres_statements import CARRY, OURS

Row = tuple[Any, ...]
Timing = tuple[str, str, float, float]
"""What was done, for which stream, when it was due and when it left."""
Rows = Callable[[LiteralString, Mapping[str, Any]], list[Row]]
"""Runs a statement in the transaction."""

_AT_ONCE: Final = 64
"""Numbers that are drawn at once; those that are not used are nobody's."""
_MOST: Final = 1_000
"""Facts that are sent at once."""

_NUMBERS: Final = """ARRAY(SELECT nextval(pg_get_serial_sequence('facts', 'seq'))
    FROM generate_series(1, %(most)s::integer))"""
_DRAW: Final = f"SELECT NULL::smallint[], {_NUMBERS}"
_DRAW_FENCED: Final = f"WITH {OURS} SELECT ARRAY(SELECT number FROM held), {_NUMBERS}"
_ADD_TIMED: Final = f"""WITH carried AS ({CARRY})
INSERT INTO facts (seq, shard, stream, kind, body, at)
SELECT * FROM unnest(%(seq)s::bigint[], %(shard)s::smallint[], %(stream)s::text[],
    %(kind)s::text[], %(body)s::text[], %(at)s::float8[])"""
_COLUMNS: Final = ("seq", "shard", "stream", "kind", "body", "at")


@dataclass(slots=True)
class Batch:
    """What one transaction writes."""

    rows: Rows
    rights: Sequence[Fence] | None
    """Those of this process; None: it may write all."""
    written: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    """Every fact, in order: what is in doubt when nobody knows how the transaction ended."""
    timed: list[Timing] = field(default_factory=list[Timing])
    """What rides with the facts that wait."""
    _waiting: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    _numbers: deque[int] = field(default_factory=deque[int])
    _held: frozenset[int] | None = None

    def add(self, values: Mapping[str, Any]) -> Row:
        """Whether its shard is ours, and then the number of a fact, which will be written."""
        if not self._numbers:
            self._draw()
        if self._held is not None and values["shard"] not in self._held:
            return (False, None)
        number = self._numbers.popleft()
        self._waiting.append({**values, "seq": number})
        self.written.append(values)
        if len(self._waiting) >= _MOST:
            self.send()
        return (True, number)

    def send(self) -> None:
        """Write what waits, and what was timed with it; whatever is written next gets later
        numbers."""
        waiting, self._waiting = self._waiting, []
        timed, self.timed = self.timed, []
        if waiting or timed:
            facts = {name: [each[name] for each in waiting] for name in _COLUMNS}
            self.rows(_ADD_TIMED, {**facts, **timings_as(timed)})

    def forget_numbers(self) -> None:
        """Something else draws its own: those that were drawn before come too late."""
        self._numbers.clear()

    def _draw(self) -> None:
        statement, values = _DRAW, {"most": _AT_ONCE}
        if self.rights is not None:
            statement, values = _DRAW_FENCED, values | columns(self.rights)
        ((held, numbers),) = self.rows(statement, values)
        self._numbers.extend(numbers)
        self._held = None if held is None else frozenset(held)


def columns(rights: Iterable[Fence]) -> dict[str, Any]:
    """Rights as a statement takes them."""
    known = list(rights)
    return {
        "shards": [right.shard for right in known],
        "epochs": [right.epoch for right in known],
        "holders": [right.holder for right in known],
    }


def timings_as(timings: Sequence[Timing]) -> dict[str, list[Any]]:
    """Timings as a statement takes them."""
    return {
        "what": [what for what, _, _, _ in timings],
        "of": [stream for _, stream, _, _ in timings],
        "due": [float(due) for _, _, due, _ in timings],
        "sent": [float(sent) for _, _, _, sent in timings],
    }
