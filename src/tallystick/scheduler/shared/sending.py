"""One process sends what the pool's wallet signs; the others have it sent.

Two who give nonces away would fight over them, so a lease says who does; the book checks it in
the transaction that reserves a nonce. A call that another process wants sent is a row: when the
sender dies the next one finds it, and the book tells what had been signed.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from tallystick.chain.call import Call
from tallystick.chain.sender import Receipt, Sender
from tallystick.engine.errors import Refused, Unavailable
from tallystick.engine.pulse import Pulse
from tallystick.poco.values import Address, Hash, Wei

log = logging.getLogger(__name__)

KIND: Final = "send"
_LONGEST: Final = 600.0
"""Seconds until a call that nobody has answered is asked for again."""

Ask = Callable[[str, Any, float], Awaitable[Any]]
"""Has the process that sends do something of a kind, within so many seconds."""


class SharedSender(Sender):
    """Sends by itself while the lease is ours, else by the process that has it."""

    def share(self, *, ours: Callable[[], bool], changed: Pulse, ask: Ask) -> None:
        """Must be called first. `changed` beats when `ours` may be another answer."""
        self._ours, self._changed, self._ask = ours, changed, ask

    async def send(self, call: Call, *, cap: Wei | None = None) -> Receipt:
        """As Sender does it; the receipt from another process comes without logs."""
        if self._ours():
            return await super().send(call, cap=cap)
        answer = await self._ask(KIND, {**_written(call), "cap": cap}, _LONGEST)
        if "refused" in answer:
            raise Refused(answer["refused"])
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        return Receipt(
            hash=Hash(answer["hash"]),
            block=answer["block"],
            block_hash=Hash(answer["block_hash"]),
            gas_used=answer["gas_used"],
            status=1,
            logs=(),
        )

    async def answer(self, body: Any) -> Any:
        """What came of the call that another process wants sent; None: it is not ours."""
        if not self._ours():
            return None
        try:
            receipt = await super().send(_read(body), cap=body["cap"])
        except Refused as refusal:
            return {"refused": str(refusal)}
        except Unavailable as trouble:
            return {"unavailable": str(trouble)} if self._ours() else None
        return {
            "hash": str(receipt.hash),
            "block": receipt.block,
            "block_hash": str(receipt.block_hash),
            "gas_used": receipt.gas_used,
        }

    async def run(self) -> None:
        """Look after what waits, while that is ours to do, until cancelled."""
        while True:
            await self._until(self._ours)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(super().run)
                await self._until(lambda: not self._ours())
                tasks.cancel_scope.cancel()

    async def _until(self, met: Callable[[], bool]) -> None:
        seen = self._changed.count
        while not met():
            seen = await self._changed.next(seen, 1.0)


def _written(call: Call) -> dict[str, Any]:
    return {
        "to": str(call.to),
        "data": call.data.hex(),
        "what": call.what,
        "value": str(call.value),
    }


def _read(body: Any) -> Call:
    data = bytes.fromhex(body["data"])
    return Call(Address(body["to"]), data, body["what"], int(body["value"]))
