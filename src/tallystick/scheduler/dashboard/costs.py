"""What transactions cost, asked of the chain once: a page does not wait long for it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import anyio

from tallystick.chain.hub import Hub
from tallystick.chain.receipts import Mined, receipts
from tallystick.engine.errors import Unavailable

_MOST: Final = 5_000
"""Receipts that are remembered; each takes 1 KiB or so."""
_AT_ONCE: Final = 50
_PATIENCE: Final = 2.0
"""Seconds after which the page is shown without what is not known yet."""


@dataclass(slots=True)
class Costs:
    """The receipts of one chain. A reorg gives a transaction another block, hence `block`."""

    hub: Hub
    _known: OrderedDict[tuple[str, int], Mined] = field(
        default_factory=OrderedDict[tuple[str, int], Mined]
    )

    async def of(self, wanted: Iterable[tuple[str, int]]) -> Mapping[str, Mined]:
        """What is known of these transactions, each with its block."""
        asked = list(dict.fromkeys(wanted))
        missing = [each for each in asked if each not in self._known][:_AT_ONCE]
        if missing:
            await self._ask(missing)
        return {each[0]: self._known[each] for each in asked if each in self._known}

    async def _ask(self, missing: list[tuple[str, int]]) -> None:
        try:
            with anyio.move_on_after(_PATIENCE):
                found = await receipts(self.hub, (tx for tx, _ in missing))
                for each in missing:
                    if each[0] in found:
                        self._known[each] = found[each[0]]
        except Unavailable:
            return
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
