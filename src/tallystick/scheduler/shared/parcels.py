"""What v9 workers send to a process without their session: handed to the one that has it.

A worker receives over one connection and sends over others, and a proxy in front may bring
these to another process. (What the scheduler tells needs no such way: every process knows all
facts, and tells its own listeners.)

Needs the extra `tallystick[postgres]`: load it through `engine.databases` only.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from tallystick.engine.errors import Unavailable
from tallystick.scheduler.channel.sessions import address_of

if TYPE_CHECKING:
    from tallystick.scheduler.channel import Switch
    from tallystick.scheduler.shared.inbox import Inbox

_KIND: Final = "parcel"
_PATIENCE: Final = 3.0
"""Seconds in which the process that has a session takes what is for it."""
_MOST: Final = 20
"""Parcels on their way at once: names of sessions that nobody has are anybody's to invent."""


class Parcels:
    """Both ends of it, of one process."""

    def __init__(self) -> None:
        self._switch: Switch | None = None
        self._inbox: Inbox | None = None
        self._sent = 0

    def addresses(self) -> Collection[int]:
        """Whose parcels this process takes: those of its sessions."""
        return self._switch.sessions.addresses() if self._switch is not None else ()

    def open(self, switch: Switch, inbox: Inbox) -> None:
        """Carry parcels from and to this process."""
        self._switch, self._inbox = switch, inbox
        switch.elsewhere = self._send
        inbox.does(_KIND, self._take)

    async def _send(self, session: str, messages: list[str]) -> bool:
        if self._inbox is None or self._sent >= _MOST:
            return False
        asked = {"session": session, "messages": messages}
        self._sent += 1
        try:
            return bool(
                await self._inbox.ask(address_of(session), _KIND, asked, patience=_PATIENCE)
            )
        except Unavailable:
            return False
        finally:
            self._sent -= 1

    async def _take(self, asked: Any) -> Any:
        """True when it was for us; else it stays for another process with the same address."""
        assert self._switch is not None
        return True if self._switch.deliver_here(asked["session"], asked["messages"]) else None
